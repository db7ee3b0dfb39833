"""LoRA files with dotted paths, as diffusers and PEFT save them, and ComfyUI: all are read, diffusers' are written too,
for whoever uses diffusers; the webuis apply a part of them or nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.base.families import FAMILIES
from limner.base.family import Family
from limner.base.model import BaseModel
from limner.container.header import Header, all_finite, serialize
from limner.errors import UserError
from limner.formats.adapter import SETTINGS, is_adapter, load_adapter
from limner.formats.dotted_names import dotted_name
from limner.formats.factors import check_factors
from limner.formats.format import Format
from limner.formats.kohya import as_deep
from limner.formats.metadata import complete
from limner.formats.programs import dotted_faults_of
from limner.formats.verify import ReaderReport, verify
from limner.methods.form import scale
from limner.weights import Weights

WRITTEN = {"lora_down": "lora_A.weight", "lora_up": "lora_B.weight", "dora_scale": "lora_magnitude_vector"}


class Dotted(Format):
    """`unet.<path>.lora_A.weight` and its kin."""

    name = "diffusers"

    @staticmethod
    def sniff(header: Header) -> bool:
        return is_adapter(header)

    @staticmethod
    def serialize(weights: Weights, name: str, dtype: torch.dtype = torch.float16) -> bytes:
        """The bytes of diffusers' `pytorch_lora_weights.safetensors`, with PEFT's configuration in the metadata.

        Raises UserError unless the weights are a plain LoRA or DoRA of a known family that fits the dtype.
        """
        known = FAMILIES.get(weights.family)
        if weights.kind != "lora" or known is None:
            raise UserError(f"diffusers' format holds LoRAs of {', '.join(FAMILIES)}, not a {weights.family} file")
        if weights.words:
            raise UserError(f"{name} brings along an embedding, for which diffusers' format has no place; leave it out")
        tensors = {}
        weights = _as_programs_read(weights, known)
        for module, factors in weights.modules().items():
            form = check_factors(factors, module, f"the LoRA to be saved as {name}")
            others = factors.keys() - {"alpha", *WRITTEN}
            if others or "lora_down" not in factors:
                raise UserError(f"diffusers reads no {form.name} with {min(factors)}; write it in kohya's format")
            for leaf, tensor in as_deep(factors, module, known).items():
                if leaf != "alpha":
                    shaped = _lengths(tensor) if leaf == "dora_scale" else tensor
                    tensors[f"{dotted_name(module, known)}.{WRITTEN[leaf]}"] = shaped.detach().to("cpu", dtype)
        if not all_finite(tensors):
            raise UserError(f"the LoRA {name} holds numbers that {dtype} cannot; use a wider one")
        metadata = complete(weights, known, name) | {SETTINGS: json.dumps(_peft_settings(weights, known))}
        return serialize(tensors, metadata)

    load = staticmethod(load_adapter)

    @staticmethod
    def verify(path: Path, model: BaseModel, weights: Weights, name: str | None = None) -> list[ReaderReport]:
        """As of kohya's files, with what programs are known to make of dotted names."""
        weights = _as_programs_read(weights, model.family)
        return verify(path, model, weights, name, dotted_faults_of(weights))


def _as_programs_read(weights: Weights, known: Family) -> Weights:
    """Weights that need no alpha, of a family whose files other programs read in these names too: they do not look into
    PEFT's configuration. The scale is in the factors, and the alpha is the rank."""
    if known.denoiser == "unet":
        return weights
    tensors = dict(weights.tensors)
    for module, leaves in weights.modules().items():
        if "lora_up" in leaves and "lora_down" in leaves:
            rank = leaves["lora_down"].shape[0]
            tensors[f"{module}.lora_up"] = leaves["lora_up"].float() * scale(leaves, rank)
            tensors[f"{module}.alpha"] = torch.tensor(float(rank))
    return replace(weights, tensors=tensors)


def _lengths(tensor: Tensor) -> Tensor:
    """DoRA's lengths as PEFT has them: (out,) of a matrix, (1, out, 1, 1) of a convolution."""
    return tensor.flatten() if tensor.dim() == 2 else tensor.reshape(1, -1, 1, 1)


def _peft_settings(weights: Weights, known: Family) -> dict[str, Any]:
    """PEFT's configuration of each network, from which diffusers takes ranks and alphas."""
    settings: dict[str, Any] = {}
    modules = weights.modules()
    for network in (known.denoiser, *(encoder.name for encoder in known.encoders)):
        own = {name.partition(".")[2]: leaves for name, leaves in modules.items() if name.startswith(f"{network}.")}
        if not own:
            continue
        ranks = {path: leaves["lora_down"].shape[0] for path, leaves in own.items()}
        alphas = {path: _number(leaves["alpha"]) if "alpha" in leaves else ranks[path] for path, leaves in own.items()}
        rank, alpha = _most(list(ranks.values())), _most(list(alphas.values()))
        settings |= {
            f"{network}.r": rank,
            f"{network}.lora_alpha": alpha,
            f"{network}.rank_pattern": {f"^{_root(network)}{p}": each for p, each in ranks.items() if each != rank},
            f"{network}.alpha_pattern": {f"^{_root(network)}{p}": each for p, each in alphas.items() if each != alpha},
            f"{network}.target_modules": sorted(own),
            f"{network}.use_dora": any("dora_scale" in leaves for leaves in own.values()),
        }
    return settings


def _root(network: str) -> str:
    """What may stand before a text encoder's paths, in patterns: it depends on transformers' version."""
    return r"(text_model\.)?" if network.startswith("text_encoder") else ""


def _most(values: list[Any]) -> Any:
    return max(sorted(set(values)), key=values.count)


def _number(alpha: Tensor) -> int | float:
    value = float(alpha)
    return int(value) if value.is_integer() else value
