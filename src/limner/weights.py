"""Weights: what a method learned, in a neutral form that formats/ turn into files and back."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from torch import Tensor

from limner.base import single
from limner.base.model import BaseModel
from limner.base.open import full_precision

KEPT = "original."  # begins the name of a tensor of a single file that no network of diffusers has


@dataclass
class Weights:
    """Learned tensors under neutral names, with the metadata that goes into the file.

    kind: "lora", "embedding" or "checkpoint". family: a base family's name, as in "sd1".
    words: embeddings that a LoRA brings along, {what prompts call it: vectors as of kind "embedding"}.
    name: what prompts call it, an embedding's keyword; of what was read from a file, the file's stem.
    warnings: sentences on what was read: what of the file is not used, and what it says of itself that is not so.
    tensors: for kind "lora", "<network>.<module path>.<leaf>": network "unet", "text_encoder" or, of XL,
    "text_encoder_2" (diffusers' component names), module path as in diffusers and transformers without the
    `text_model.` wrapper, and the leaves of one of the forms of limner.methods, which say what they make of a weight:
    "lora_down" (rank, in[, k, k]), "lora_up" (out, rank[, 1, 1]) and "alpha" (a scalar) of a LoRA. For kind
    "embedding", vectors (n, dim) by each text encoder's component name, of one n. For kind "checkpoint" all weights of
    the base's networks, "<network>.<path>" as in diffusers and transformers without the `text_model.` wrapper, with
    "text_encoder_2.text_projection.weight" among them, and KEPT + its key of what else the base's file held that other
    programs look for; the metadata's entry base.single.ARCHITECTURE says how the networks are made.
    """

    kind: str
    family: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    name: str = ""
    words: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def modules(self) -> dict[str, dict[str, Tensor]]:
        """{"<network>.<module path>": {leaf: tensor}}."""
        grouped: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            module, leaf = name.rsplit(".", 1)
            grouped.setdefault(module, {})[leaf] = tensor
        return grouped


def whole(model: BaseModel, networks: Iterable[str] | None = None) -> Weights:
    """A checkpoint's weights of a model as its file has them, in float32: of all networks, or of some.

    Raises UserError if the file is no longer there.
    """
    tensors = {
        f"{network}.{path}": tensor
        for network in (model.networks if networks is None else networks)
        for path, tensor in full_precision(model, network).items()
    }
    if model.source is not None and model.source.is_file():
        kept = single.kept(model.source, single.configs_of(model))
        tensors |= {f"{KEPT}{key}": tensor for key, tensor in kept.items()}
    return Weights("checkpoint", model.family.name, tensors, {single.ARCHITECTURE: single.describe(model)})


def down_to_noise(weights: Weights) -> Weights:
    """A checkpoint's weights, said to be of a model whose last timestep is pure noise: samplers are to begin there."""
    configs = json.loads(weights.metadata[single.ARCHITECTURE])
    configs["scheduler"]["rescale_betas_zero_snr"] = True
    return replace(weights, metadata=weights.metadata | {single.ARCHITECTURE: json.dumps(configs, sort_keys=True)})
