"""The metadata of a LoRA or embedding file: kohya's `ss_*`, the model spec's `modelspec.*`, and Limner's run card."""

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from limner.base.family import Family
from limner.errors import UserError
from limner.methods.form import form_of
from limner.weights import Weights

RUN_CARD = "limner.run_card"
ARCHITECTURES = {"lora": "/lora", "embedding": "/textual-inversion", "checkpoint": ""}  # the model spec's words
IMPLEMENTATIONS = {"sdxl": "https://github.com/Stability-AI/generative-models"}  # whose layout a family's files follow
NETWORKS: dict[str, tuple[str, dict[str, str]]] = {  # kohya's words for a form: the module and its arguments
    "lora": ("networks.lora", {}),
    "dora": ("lycoris.kohya", {"algo": "lora", "dora_wd": "True"}),
    "loha": ("lycoris.kohya", {"algo": "loha"}),
    "lokr": ("lycoris.kohya", {"algo": "lokr"}),
    "oft": ("lycoris.kohya", {"algo": "diag-oft"}),
    "ia3": ("lycoris.kohya", {"algo": "ia3"}),
}


PREDICTS = {"v_prediction": "v"}  # the model spec's words for prediction types, where they are others than diffusers'


@dataclass(frozen=True)
class Description:
    """What a file says about its making; whatever is None stays out of it.

    Fields marked `ss` are written under kohya's name `ss_<that>`, which A1111 and kohya's tools show. `run_card` is
    anything that JSON can hold. No field should carry a folder of the maker's machine.
    """

    title: str
    keyword: str | None = None
    about: str | None = None
    resolution: tuple[int, int] | None = None  # pixels, width and height
    prediction_type: str = "epsilon"
    run_card: dict[str, Any] = field(default_factory=dict)
    base_name: str | None = field(default=None, metadata={"ss": "sd_model_name"})
    seed: int | None = field(default=None, metadata={"ss": "seed"})
    steps: int | None = field(default=None, metadata={"ss": "steps"})
    max_steps: int | None = field(default=None, metadata={"ss": "max_train_steps"})
    learning_rate: float | None = field(default=None, metadata={"ss": "learning_rate"})
    optimizer: str | None = field(default=None, metadata={"ss": "optimizer"})
    schedule: str | None = field(default=None, metadata={"ss": "lr_scheduler"})
    warmup_steps: int | None = field(default=None, metadata={"ss": "lr_warmup_steps"})
    batch_size: int | None = field(default=None, metadata={"ss": "total_batch_size"})
    gradient_accumulation: int | None = field(default=None, metadata={"ss": "gradient_accumulation_steps"})
    gradient_checkpointing: bool | None = field(default=None, metadata={"ss": "gradient_checkpointing"})
    max_grad_norm: float | None = field(default=None, metadata={"ss": "max_grad_norm"})
    min_snr_gamma: float | None = field(default=None, metadata={"ss": "min_snr_gamma"})
    precision: str | None = field(default=None, metadata={"ss": "mixed_precision"})
    clip_skip: int | None = field(default=None, metadata={"ss": "clip_skip"})
    num_images: int | None = field(default=None, metadata={"ss": "num_train_images"})
    num_class_images: int | None = field(default=None, metadata={"ss": "num_reg_images"})

    def metadata(self, family: Family) -> dict[str, str]:
        """The entries for `Weights.metadata`; those that follow from the tensors are added when the file is written."""
        entries = {
            f"ss_{item.metadata['ss']}": str(getattr(self, item.name))
            for item in fields(self)
            if "ss" in item.metadata and getattr(self, item.name) is not None
        }
        entries["ss_base_model_version"] = base_version(family, self.prediction_type == "v_prediction")
        entries["modelspec.prediction_type"] = PREDICTS.get(self.prediction_type, self.prediction_type)
        entries["modelspec.title"] = self.title
        if self.keyword is not None:
            entries["modelspec.trigger_phrase"] = self.keyword
        if self.about is not None:
            entries["modelspec.description"] = self.about
        if self.resolution is not None:
            entries["ss_resolution"] = str(self.resolution)
            entries["modelspec.resolution"] = "x".join(str(side) for side in self.resolution)
        if self.run_card:
            entries[RUN_CARD] = json.dumps(self.run_card, ensure_ascii=False, sort_keys=True, allow_nan=False)
        return entries


def complete(weights: Weights, family: Family, name: str) -> dict[str, str]:
    """The weights' metadata with what every file of its kind must say; `name` is the stem it is saved under."""
    is_v = weights.metadata.get("modelspec.prediction_type") == "v"
    resolution = 512 if family.name == "sd2" and not is_v else family.resolution
    derived = {
        "ss_v2": str(family.name == "sd2"),
        "ss_base_model_version": base_version(family, is_v),
        "ss_output_name": name,
        **(_network(weights) if weights.kind == "lora" else {}),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{_architecture(family, is_v)}{ARCHITECTURES[weights.kind]}",
        "modelspec.implementation": IMPLEMENTATIONS.get(family.name, "diffusers"),
        "modelspec.title": name,
        "modelspec.resolution": f"{resolution}x{resolution}",
        "format": "pt",
    }
    return derived | weights.metadata


def base_version(family: Family, is_v: bool) -> str:
    """kohya's name of a base, which says of Stable Diffusion 1 and 2, but not of XL, if it predicts v."""
    return family.ss_base_model_version + ("_v" if is_v and family.name != "sdxl" else "")


def _architecture(family: Family, is_v: bool) -> str:
    """The model spec's: of Stable Diffusion 2 there are the base, of 512 pixels, and the one that predicts v."""
    if family.name != "sd2":
        return family.modelspec
    return f"{family.modelspec}-{'768-v' if is_v else '512'}"


def run_card(metadata: dict[str, str]) -> dict[str, Any] | None:
    """The run card of a file's metadata, or None if it has none that can be read."""
    try:
        card = json.loads(metadata.get(RUN_CARD, "null"))
    except (ValueError, RecursionError):
        return None
    return card if isinstance(card, dict) else None


def _network(weights: Weights) -> dict[str, str]:
    """kohya's description of the network, or LyCORIS's; "Dynamic" is kohya's word where modules differ."""
    dims: Counter[int] = Counter()
    alphas: Counter[float] = Counter()
    conv_dims: Counter[int] = Counter()
    names: Counter[str] = Counter()
    for module in weights.modules().values():
        form = form_of(module)
        assert form is not None
        names[form.name] += 1
        dim = form.rank(module)
        if dim is not None:
            dims[dim] += 1
        if dim is not None and any(tensor.ndim == 4 and tensor.shape[-1] > 1 for tensor in module.values()):
            conv_dims[dim] += 1
        if "alpha" in module:
            alphas[round(float(module["alpha"]), 6)] += 1
    if not names:
        raise UserError("there is nothing to save: no layer was trained; choose some with layers")
    name = max(names, key=lambda each: names[each])
    module_name, arguments = NETWORKS.get(name, ("limner", {"algo": name}))
    if len(conv_dims) == 1:
        arguments = arguments | {"conv_dim": str(next(iter(conv_dims)))}
    return {
        "ss_network_module": module_name,
        "ss_network_dim": str(next(iter(dims))) if len(dims) == 1 else "Dynamic",
        "ss_network_alpha": str(next(iter(alphas))) if len(alphas) == 1 else "Dynamic",
        "ss_network_args": json.dumps(arguments),
    }
