"""Adapters' files read, whoever wrote them: kohya's names and dotted ones, alone or mixed, and what of a file is not
used. The names are those of formats.keys, the leaves' shapes those of formats.peft."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.base.families import FAMILIES
from limner.base.family import Family
from limner.container.header import Header, all_finite, read_header, read_tensors
from limner.errors import UserError
from limner.formats.bundle import bundled
from limner.formats.factors import check_factors
from limner.formats.identify import ADAPTERS, BUNDLE, judge_family, kind
from limner.formats.keys import Slot, owner_of, split_key
from limner.formats.names import PREFIXES, lacking
from limner.formats.peft import RANKED, Source, in_our_form
from limner.inventory import UNKNOWN, Inventory, named
from limner.texts import display, read_text
from limner.weights import Weights

SETTINGS = "lora_adapter_metadata"  # JSON of PEFT's configuration, keys prefixed by the network
BESIDE = "adapter_config.json"  # PEFT's own place for it
MAX_SETTINGS = 2**20  # bytes
NETWORKS = ("unet", "transformer", "text_encoder", "text_encoder_2")
ONETRAINER = "ot_"  # begins names in OneTrainer's metadata
NO_LAYER = "no Stable Diffusion from 1.x to XL has such layers"
NO_LEAF = "Limner does not know what one of these tensors does in its layer, so the layer is left out"
NO_RANK = "their layers have rank 0 and change nothing"
NO_STRENGTH = "the alpha of their layers is 0, so that they change nothing"
_NUMBERS = {"alpha", "scale", "on_input", "scaled_oft"}  # leaves that may be whole numbers
_EXACT = {torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz}  # in half precision


def is_adapter(header: Header) -> bool:
    """Whether a file holds an adapter, of Stable Diffusion or of another model."""
    return kind(header) in ADAPTERS or any(split_key(key) for key in header.shapes)


def load_adapter(path: Path) -> Weights:
    """The weights of a LoRA's file, or of one of its kin; `Weights.warnings` says what of it is not used.

    Raises UserError if it is of another model, damaged, contradicts itself, or nothing of it can be used.
    """
    weights = of_tensors(read_header(path), read_tensors(path))
    for name, tensor in weights.tensors.items():
        if not all_finite({name: tensor}):
            raise UserError(
                f"{display(path)} holds numbers that are not finite (NaN or infinity), in {name} for one; its training "
                "failed, so use another file"
            )
    return weights


def of_tensors(header: Header, tensors: Mapping[str, Tensor]) -> Weights:
    """As `load_adapter`, of tensors that may be on torch's meta device; their numbers are not looked at."""
    path, judged = header.path, judge_family(header)
    family = FAMILIES.get(judged.family)
    if family is None:
        raise UserError(
            f"{display(path)} is a LoRA for {judged.family}, which Limner does not know; use one for "
            f"{' or '.join(FAMILIES)}"
        )
    if family.denoiser != "unet" and any(key.startswith(tuple(PREFIXES)) for key in tensors):
        raise UserError(
            f"{display(path)} is a LoRA for {family.title} in kohya's names, which Limner does not read; use one in "
            "diffusers' names"
        )
    inventory = Inventory(tensors)
    layers = _layers(path, tensors, inventory, family)
    _check_halves(path, layers)
    settings = _settings(header)
    is_onetrainers = any(name.startswith(ONETRAINER) for name in header.metadata)
    is_pefts = bool(settings) or SETTINGS in header.metadata
    modules: dict[str, dict[str, Tensor]] = {}
    for layer, slots in layers.items():
        origin = next(iter(slots.values()))[1].origin
        origin = "peft" if is_pefts and origin == "diffusers" else origin
        leaves = {leaf: _as_float(tensors[key], leaf, key, path) for leaf, (key, _) in slots.items()}
        keys = [key for key, _ in slots.values()]
        ranked = [leaves[leaf] for leaf in RANKED if leaf in leaves]
        if any(0 in each.shape[:1] for each in ranked):
            inventory.leave(NO_RANK, *keys)
            continue
        if ranked and _is_zero(leaves) and "diff_b" not in leaves:
            inventory.leave(NO_STRENGTH, *keys)
            continue
        source = Source(path, family.name, origin, _of_network(settings, layer.partition(".")[0]), is_onetrainers)
        modules[layer] = in_our_form(leaves, layer, source)
        check_factors(modules[layer], layer, display(path))
        inventory.use(*keys)
    words = bundled(tensors, inventory, family)
    remarks = inventory.remarks(path, "tensor", "tensors")
    if not modules:
        raise UserError(_nothing(path, inventory))
    return Weights(
        "lora",
        family.name,
        {f"{layer}.{leaf}": tensor for layer, leaves in modules.items() for leaf, tensor in leaves.items()},
        judged.believed(header.metadata),
        path.stem,
        words,
        tuple(f"{display(path)} {doubt}" for doubt in judged.doubts) + tuple(remarks),
    )


def _layers(
    path: Path, tensors: Mapping[str, Tensor], inventory: Inventory, family: Family
) -> dict[str, dict[str, tuple[str, Slot]]]:
    """{layer: {leaf: (its tensor's name, what that stands for)}}, of layers that the family has and whose leaves are
    all known. Raises UserError for a leaf that is there twice."""
    layers: dict[str, dict[str, tuple[str, Slot]]] = {}
    unknown: dict[str, list[str]] = {}
    for key in tensors:
        if key.startswith(BUNDLE):
            continue
        slot = split_key(key)
        layer = owner_of(key) if slot is None else slot.layer
        if not layer:
            inventory.leave(NO_LAYER if "." in key else UNKNOWN, key)
        elif lacks := lacking(layer, family):
            inventory.leave(lacks, key)
        elif slot is None:
            unknown.setdefault(layer, []).append(key)
        elif slot.leaf in layers.setdefault(layer, {}):
            other = layers[layer][slot.leaf][0]
            raise UserError(
                f"{display(path)} has {slot.leaf} of the layer {layer} twice, as {display(other)} and {display(key)}; "
                "use another file"
            )
        else:
            layers[layer][slot.leaf] = key, slot
    for layer, keys in unknown.items():
        known = [key for key, _ in layers.pop(layer, {}).values()]
        inventory.leave(NO_LEAF, *keys, *known)
    return {layer: slots for layer, slots in layers.items() if slots}


def _is_zero(leaves: Mapping[str, Tensor]) -> bool:
    """Whether a layer has an alpha that makes its change nothing."""
    alpha = leaves.get("scale", leaves.get("alpha"))
    return alpha is not None and not alpha.is_meta and alpha.numel() == 1 and not bool(alpha)


def _check_halves(path: Path, layers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError, saying what it is, for a file of nothing but halves of LoRAs, all of one side."""
    leaves = {leaf for slots in layers.values() for leaf in slots} - {"alpha"}
    if leaves in ({"lora_up"}, {"lora_down"}):
        (there,), (lacking,) = leaves, {"lora_up", "lora_down"} - leaves
        raise UserError(
            f"{display(path)} is half a LoRA: every layer has {there} and lacks {lacking}; use the whole file"
        )


def _as_float(tensor: Tensor, leaf: str, key: str, path: Path) -> Tensor:
    """A leaf in numbers that can be calculated with; those of one byte in half precision, which holds them all. Raises
    UserError for whole and complex ones, for which there would have to be a scale."""
    if tensor.dtype in _EXACT:
        return tensor.to(torch.float16)
    plain = tensor.is_floating_point() and tensor.dtype.itemsize > 1
    if plain or (leaf in _NUMBERS and not tensor.is_complex()):
        return tensor
    raise UserError(
        f"{display(path)} holds {display(key)} in the number format {str(tensor.dtype).removeprefix('torch.')}, in "
        "which no LoRA can be applied; use a file in fp16, bf16 or fp32"
    )


def _nothing(path: Path, inventory: Inventory) -> str:
    """Why a file is refused of which nothing is used."""
    reasons = "; ".join(f"{named(keys)}: {reason}" for reason, keys in inventory.left.items())
    return f"nothing in {display(path)} can be applied to Stable Diffusion ({reasons}); use another file"


def _of_network(settings: dict[str, Any], network: str) -> dict[str, Any]:
    start = f"{network}."
    return {name.removeprefix(start): value for name, value in settings.items() if name.startswith(start)}


def _settings(header: Header) -> dict[str, Any]:
    """PEFT's configuration with the names of networks before its entries' names: of the metadata, or beside the file,
    where it is for whatever network the file is for."""
    text, beside = header.metadata.get(SETTINGS), header.path.with_name(BESIDE)
    try:
        if text is not None:
            settings = json.loads(text)
            return settings if isinstance(settings, dict) else {}
        if beside.is_file() and beside.stat().st_size <= MAX_SETTINGS:
            settings = json.loads(read_text(beside, is_data=True))
            return {f"{network}.{name}": value for network in NETWORKS for name, value in settings.items()}
    except (ValueError, RecursionError, AttributeError, OSError) as error:
        raise UserError(
            f"{display(header.path)} has unreadable {SETTINGS}, so its strength is unknown; use another file"
        ) from error
    return {}
