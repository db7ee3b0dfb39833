"""What PEFT keeps in its own way, turned into the forms that Limner knows: strengths, and the leaves of some kinds."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import UserError

RANKED = ("lora_down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")  # leaves whose first axis is the rank


def in_our_form(
    leaves: Mapping[str, Tensor], module: str, settings: Mapping[str, Any], path: Path
) -> dict[str, Tensor]:
    """A layer's leaves as Limner's forms have them. module: its path in its network. settings: PEFT's configuration of
    the network, empty if the file has none. Raises UserError, naming the file `path`, if they hide the strength."""
    found = dict(leaves)
    if "magnitude" in found and "lora_down" in found:
        found["dora_scale"] = found.pop("magnitude").reshape(-1, *[1] * (found["lora_down"].dim() - 1))
    if "ia3_l" in found:
        return _multipliers(found.pop("ia3_l"), found, module, settings, path)
    if "oft_R" in found:
        found["oft_inputs"] = _rotations(found.pop("oft_R"), settings, path)
        return found
    ranked = next((found[leaf] for leaf in RANKED if leaf in found), None)
    if "alpha" not in found and ranked is not None and ranked.dim():
        found["alpha"] = torch.tensor(_alpha(settings, module, ranked.shape[0], path))
    elif "alpha" not in found and {"lokr_w1", "lokr_w2"} <= found.keys() and "r" in settings:
        # PEFT scales whole factors too, which no other program does
        rank = _by_pattern(settings, "rank_pattern", module, settings["r"])
        found["lokr_w1"] = found["lokr_w1"] * (_alpha(settings, module, int(rank), path) / int(rank))
    if "alpha" in found:
        found["alpha"] = found["alpha"].float().reshape(())
    return found


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


def _rotations(packed: Tensor, settings: Mapping[str, Any], path: Path) -> Tensor:
    """OFT: the blocks R - I (blocks, size, size) by which PEFT turns a layer's inputs, of the upper triangles (blocks,
    size (size - 1) / 2) of skew matrices Q: by Cayley's (I - Q)(I + Q)^-1, or by its series cut short."""
    count = packed.shape[-1]
    size = int((1 + (1 + 8 * count) ** 0.5) / 2)
    if packed.dim() != 2 or size * (size - 1) // 2 != count:
        raise UserError(f"{path} holds an OFT of shape {tuple(packed.shape)}, which is no triangle; use another file")
    if settings.get("block_share") or settings.get("coft"):
        raise UserError(f"{path} is an OFT with shared or bounded blocks, which Limner does not read; use another file")
    above = torch.triu_indices(size, size, 1)
    skew = torch.zeros(len(packed), size, size)
    skew[:, above[0], above[1]] = packed.float()
    skew = skew - skew.transpose(1, 2)
    eye = torch.eye(size)
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
