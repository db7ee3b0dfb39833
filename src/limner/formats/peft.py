"""What other trainers keep in their own way, turned into the forms that Limner knows: strengths, shapes, and the leaves
of some kinds. PEFT's are diffusers' too; OneTrainer's OFT is PEFT's but for what is said here of it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import UserError
from limner.formats.names import kernel_of

RANKED = ("lora_down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")  # leaves whose first axis is the rank
_HALVES = [(f"hada_w{number}_{side}", f"hada_t{number}") for number in "12" for side in "ab"]


@dataclass(frozen=True)
class Source:
    """Where a layer of a file comes from. origin: as of limner.formats.keys.Slot, and "peft" too if PEFT's settings are
    there. settings: PEFT's configuration of the
    network, empty if the file has none. is_onetrainers: whether its metadata say that OneTrainer wrote it."""

    path: Path
    family: str
    origin: str
    settings: Mapping[str, Any]
    is_onetrainers: bool = False


def in_our_form(leaves: Mapping[str, Tensor], layer: str, source: Source) -> dict[str, Tensor]:
    """A layer's leaves as Limner's forms have them. layer: its neutral name. Raises UserError if they hide the
    strength, or are of a kind of PEFT's that is not known."""
    found, inner = dict(leaves), layer.partition(".")[2]
    kernel = kernel_of(layer, source.family)
    if "magnitude" in found and "dora_scale" not in found:  # (out,) of a matrix, (1, out, 1, 1) of a convolution
        lengths = found.pop("magnitude")
        found["dora_scale"] = lengths.reshape(-1, *[1] * max(lengths.dim() - 1, 1))
    if "ia3_l" in found:
        return _multipliers(found.pop("ia3_l"), found, inner, source.settings, source.path)
    if "oft_R" in found:
        mark = found.pop("scaled_oft", None)
        is_scaled = mark is not None and mark.numel() == 1 and bool(mark)
        rotations = _rotations(found.pop("oft_R"), source, is_scaled)
        is_inverse = kernel > 0 and (is_scaled or _is_onetrainers(source))
        # OneTrainer turns what a matrix is given, as PEFT does, but a convolution's weight, which is the inverse turn
        found["oft_inputs"] = rotations.transpose(1, 2) if is_inverse else rotations
        return found
    _flatten(found)
    if kernel == 3 and found.get("lora_down", torch.empty(0)).dim() == 2 and not found["lora_down"].shape[1] % 9:
        found["lora_down"] = found["lora_down"].unflatten(1, (-1, 3, 3))  # ComfyUI's trainer keeps all flat
    ranked = next((found[leaf] for leaf in RANKED if leaf in found), None)
    if "scale" in found and ranked is not None and ranked.dim():  # A1111's, in place of alpha / rank
        found["alpha"] = found.pop("scale") * ranked.shape[0]
    if "alpha" not in found and ranked is not None and ranked.dim():
        found["alpha"] = torch.tensor(_alpha(source.settings, inner, ranked.shape[0], source.path))
    elif "alpha" not in found and {"lokr_w1", "lokr_w2"} <= found.keys() and "r" in source.settings:
        # PEFT scales whole factors too, which no other program does
        rank = _by_pattern(source.settings, "rank_pattern", inner, source.settings["r"])
        found["lokr_w1"] = found["lokr_w1"] * (_alpha(source.settings, inner, int(rank), source.path) / int(rank))
    if "alpha" in found and found["alpha"].numel() == 1:
        found["alpha"] = found["alpha"].float().reshape(())
        if "oft_blocks" in found and source.origin == "comfyui":
            _bound(found)
    return found


def _flatten(found: dict[str, Tensor]) -> None:
    """OneTrainer's LoHa of convolutions, whose factors have the kernel's axes: (out, rank, 1, 1), (rank, in, k, k)."""
    for leaf, core in _HALVES:
        if leaf in found and found[leaf].dim() == 4 and core not in found:
            found[leaf] = found[leaf].flatten(1)


def _bound(found: dict[str, Tensor]) -> None:
    """ComfyUI's own OFT, whose alpha is the longest that Q = B - B^T may be, where LyCORIS's and kohya's is that by the
    number of outputs: B made so short that no bound acts any more."""
    blocks, longest = found["oft_blocks"], float(found["alpha"])
    if blocks.dim() < 3 or blocks.is_meta:
        return
    length = float(torch.linalg.vector_norm((blocks - blocks.transpose(-2, -1)).float()))
    if 0 < longest < length:
        found["oft_blocks"] = blocks.float() * (longest / length)
    found["alpha"] = torch.tensor(0.0)


def _is_onetrainers(source: Source) -> bool:
    """Whether an OFT in PEFT's leaves is OneTrainer's. It says so in its metadata; without any, the origin tells: PEFT
    has its configuration beside it, or names without a network or in a wrapper, and neither kohya's nor ComfyUI's."""
    return source.is_onetrainers or source.origin not in ("peft", "bare")


def _alpha(settings: Mapping[str, Any], module: str, rank: int, path: Path) -> float:
    """PEFT's alpha of a layer, rank-stabilised scaling folded in: Limner and the webuis know only alpha / rank."""
    usual = settings.get("lora_alpha", settings.get("alpha", rank))
    alpha = _by_pattern(settings, "alpha_pattern", module, usual)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise UserError(f"{path} gives {alpha!r} as the alpha of {module}, not a number; use another file")
    return float(alpha) * (rank**0.5 if settings.get("use_rslora") else 1.0)


def _by_pattern(settings: Mapping[str, Any], name: str, module: str, usual: Any) -> Any:
    """PEFT matches its patterns as regular expressions; a file from elsewhere gets them compared as text."""
    patterns = settings.get(name)
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        own = re.sub(r"^\^?(\(text_model\\\.\)\?|text_model\.)?", "", str(pattern))
        if module == own or module.endswith(f".{own}"):
            return value
    return usual


def _multipliers(
    factors: Tensor, found: dict[str, Tensor], module: str, settings: Mapping[str, Any], path: Path
) -> dict[str, Tensor]:
    """(IA)^3: PEFT has the factor itself, (out, 1) or (1, in) of a matrix, (1, channels, 1, 1) of a convolution; Limner
    and LyCORIS have what it exceeds 1 by. Of outputs PEFT multiplies the bias too, which the layers that (IA)^3 is for
    have not in a UNet."""
    if factors.dim() == 2:
        on_input = factors.shape[0] == 1 and factors.shape[1] > 1
    else:
        named = settings.get("feedforward_modules") or ()
        named = [named] if isinstance(named, str) else named
        on_input = any(module == each or module.endswith(f".{each}") for each in named)
    if not on_input and not module.endswith((".to_q", ".to_k", ".to_v")):
        raise UserError(
            f"{path} is an (IA)^3 of the outputs of {module}, of which PEFT changes the bias too and Limner only the "
            "weight; use one of attention's to_q, to_k and to_v"
        )
    shape = (-1,) if factors.dim() == 2 else (1, -1, 1, 1)
    return found | {"weight": (factors - 1).reshape(shape), "on_input": torch.tensor(int(on_input))}


def _rotations(packed: Tensor, source: Source, is_scaled: bool) -> Tensor:
    """OFT: the blocks R - I (blocks, size, size) by which PEFT turns a layer's inputs, of the upper triangles (blocks,
    size (size - 1) / 2) of skew matrices Q: by Cayley's (I - Q)(I + Q)^-1, or by its series cut short. is_scaled:
    whether they are OneTrainer's, which are divided by 2 sqrt(size - 1) first."""
    path, settings = source.path, source.settings
    count = packed.shape[-1] if packed.dim() else 0
    size = int((1 + (1 + 8 * count) ** 0.5) / 2)
    if packed.dim() != 2 or not count or size * (size - 1) // 2 != count:
        raise UserError(f"{path} holds an OFT of shape {tuple(packed.shape)}, which is no triangle; use another file")
    if settings.get("coft"):
        raise UserError(f"{path} is an OFT with bounded blocks, which Limner does not read; use another file")
    above = torch.triu_indices(size, size, 1)
    skew = torch.zeros(len(packed), size, size, device=packed.device)
    skew[:, above[0], above[1]] = packed.float() / (2 * math.sqrt(size - 1) if is_scaled else 1)
    skew = skew - skew.transpose(1, 2)
    eye = torch.eye(size, device=packed.device)
    if not settings.get("use_cayley_neumann", True):
        return torch.linalg.solve(eye + skew, eye - skew, left=False) - eye
    terms = settings.get("num_cayley_neumann_terms", 5)
    if isinstance(terms, bool) or not isinstance(terms, int) or not 1 <= terms <= 64:
        raise UserError(f"{path} gives {terms!r} as the number of its OFT's terms; use another file")
    last = min(terms - 1, 1) if terms < 3 else max(3, terms - 1)
    turned, power = torch.zeros_like(skew), skew
    for term in range(1, last + 1):  # 2 Q + 2 Q^2 + ..., and of more than two terms the last power once
        turned = turned + power * (1 if term == last and terms > 2 else 2)
        power = power @ skew
    return turned
