"""LoRA files with dotted paths, as diffusers and PEFT save them: read only, for the webuis do not apply them."""

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from limner.container.header import Header, all_finite, read_header, read_tensors
from limner.errors import UserError
from limner.formats.factors import check_factors
from limner.formats.identify import family, kind, naming
from limner.weights import Weights

# PEFT's, diffusers' and its attention processors' spellings, old and new.
_LEAF = re.compile(
    r"(?P<path>.+?)(?:\.lora_(?P<peft>[AB])(?:\.default)?|[._]lora(?:_linear_layer)?\.(?P<side>down|up))\.weight"
)
_LENGTHS = re.compile(r"(?P<path>.+)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?")  # PEFT's DoRA
_SETTINGS = "lora_adapter_metadata"  # JSON of PEFT's configuration, keys prefixed by the network


class Dotted:
    """`unet.<path>.lora_A.weight` and its older spellings."""

    name = "diffusers"

    @staticmethod
    def sniff(header: Header) -> bool:
        return naming(header) == "diffusers"

    @staticmethod
    def load(path: Path) -> Weights:
        """The weights; the alpha comes from PEFT's configuration in the metadata, else it is the rank.

        Raises UserError if it is another kind of adapter, of another family, or damaged.
        """
        header = read_header(path)
        if kind(header) not in ("lora", "dora") or family(header) != "sd1":
            raise UserError(f"{path} is a {family(header)} {kind(header)}, which Limner does not read; use an sd1 LoRA")
        modules: dict[str, dict[str, Tensor]] = {}
        for key, tensor in read_tensors(path).items():
            lengths = _LENGTHS.fullmatch(key)
            if lengths:
                modules.setdefault(_module(lengths["path"]), {})["dora_scale"] = tensor.flatten()
                continue
            match = _LEAF.fullmatch(key)
            if match is None:
                raise UserError(f"{path} holds {key}, which is no part of a plain LoRA; use another file")
            leaf = "lora_down" if match["peft"] == "A" or match["side"] == "down" else "lora_up"
            modules.setdefault(_module(match["path"]), {})[leaf] = tensor
        settings = _settings(header, path)
        for module, factors in modules.items():
            if "lora_down" in factors:
                factors["alpha"] = torch.tensor(_alpha(settings, module, factors["lora_down"].shape[0], path))
            if {"dora_scale", "lora_down"} <= factors.keys():
                ones = [1] * (factors["lora_down"].dim() - 1)
                factors["dora_scale"] = factors["dora_scale"].view(-1, *ones)
            check_factors(factors, module, str(path))
        tensors = {
            f"{module}.{leaf}": tensor for module, factors in modules.items() for leaf, tensor in factors.items()
        }
        if not all_finite(tensors):
            raise UserError(f"{path} holds numbers that are not finite; its training failed, so use another file")
        return Weights("lora", "sd1", tensors, header.metadata)


def _module(path: str) -> str:
    """The neutral name: attention processors' `attn1.processor.to_q` and wrapped text models undone."""
    network, _, inner = path.replace(".processor", "").partition(".")
    if network == "unet":
        return f"unet.{inner}.0" if inner.endswith(".to_out") else f"unet.{inner}"
    inner = re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", inner.removeprefix("text_model."))
    return f"{network}.{inner}"


def _settings(header: Header, path: Path) -> dict[str, object]:
    try:
        settings = json.loads(header.metadata.get(_SETTINGS, "{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} has unreadable {_SETTINGS}, so its strength is unknown; use another file") from error
    return settings if isinstance(settings, dict) else {}


def _alpha(settings: dict[str, object], module: str, rank: int, path: Path) -> float:
    """PEFT's alpha of a module, rank-stabilised scaling folded in: Limner and the webuis know only alpha / rank."""
    network, _, inner = module.partition(".")
    alpha = settings.get(f"{network}.lora_alpha", rank)
    patterns = settings.get(f"{network}.alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        # PEFT matches these as regular expressions; a file from elsewhere gets them compared as text.
        own = str(pattern).removeprefix("^").removeprefix("text_model.")
        if inner == own or inner.endswith(f".{own}"):
            alpha = value
            break
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise UserError(f"{path} gives {alpha!r} as the alpha of {module}, not a number; use another file")
    return float(alpha) * (rank**0.5 if settings.get(f"{network}.use_rslora") else 1.0)
