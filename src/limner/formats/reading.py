"""What a program's reading of a LoRA file consists of, and by which leaves programs know a kind of adapter.

Written from the programs' side (interop 1.2, 1.4, 1.6), sharing nothing with the writer.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from torch import Tensor

from limner.formats.layers import Layout

Tensors = Mapping[str, Tensor]
Metadata = Mapping[str, str]

# Leaves by which readers know a kind of adapter, those first that it must have.
LORA = ("lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha")
LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "alpha")
LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha")
OFT = ("oft_blocks", "rescale", "alpha")
IA3 = ("weight", "on_input", "alpha")
LENGTHS = "dora_scale"


@dataclass(frozen=True)
class Patch:
    """What one layer would be given: a way of limner.formats.effects, the file's names of its tensors by leaf, and for
    what is scaled by something else than the file's own alpha / rank, by what."""

    way: str
    keys: tuple[tuple[str, str], ...]
    scale: float | None = None


@dataclass(frozen=True)
class Reading:
    """patches: by limner.weights' name of the layer. unmatched: the file's tensors that the program would not use."""

    patches: dict[str, Patch]
    unmatched: list[str]


Reader = Callable[[Tensors, Layout, Metadata], Reading]


def by_way(
    found: Mapping[str, Mapping[str, str]], ways: Mapping[str, tuple[str, ...]], unmatched: list[str], dora: str
) -> Reading:
    """Patches of the layers whose leaves are a way's, with or without DoRA's lengths. `found`: {layer: {leaf: key}}."""
    patches = {}
    for layer, leaves in found.items():
        plain = leaves.keys() - {LENGTHS}
        way = next((way for way, known in ways.items() if plain <= set(known) and _is_whole(way, plain)), None)
        if way is None or (LENGTHS in leaves and way in ("oft", "ia3")):
            unmatched.extend(leaves.values())
        else:
            patches[layer] = Patch(f"{way}, {dora}" if LENGTHS in leaves else way, tuple(sorted(leaves.items())))
    return Reading(patches, unmatched)


def _is_whole(way: str, leaves: Set[str]) -> bool:
    pairs = {"lokr_w1": {"lokr_w1_a", "lokr_w1_b"}, "lokr_w2": {"lokr_w2_a", "lokr_w2_b"}}
    if way == "lokr":
        return all(whole in leaves or halves <= leaves for whole, halves in pairs.items())
    needed = {"lora": LORA[:2], "loha": LOHA[:4], "oft": OFT[:1], "ia3": IA3[:2]}[way]
    return set(needed) <= leaves


def only_together(reading: Reading, parts: tuple[str, ...], groups: set[str]) -> Reading:
    """The reading without the layers of the groups of which not all parts are there: what a program that keeps some
    matrices in one, and knows no way to change a part of it, leaves out. A group is a path, its parts end it."""
    patches, unmatched = dict(reading.patches), list(reading.unmatched)
    for group in groups:
        members = [f"{group}.{part}" for part in parts]
        if not all(member in patches for member in members):
            lost = [patches.pop(member) for member in members if member in patches]
            unmatched += [key for patch in lost for _, key in patch.keys]
    return Reading(patches, unmatched)
