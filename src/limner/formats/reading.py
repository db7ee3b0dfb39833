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
GLORA = ("a1.weight", "a2.weight", "b1.weight", "b2.weight", "alpha")
FULL = ("diff", "diff_b", "alpha")
NORM = ("w_norm", "b_norm", "alpha")
BIAS = "diff_b"
LENGTHS = "dora_scale"
WITH_LENGTHS = ("lora", "loha", "lokr", "glora", "old glora")  # beside which DoRA's lengths are known to be trained


@dataclass(frozen=True)
class Patch:
    """What one layer would be given: a way of limner.formats.effects, the file's names of its tensors by leaf, and for
    what is scaled by something else than the file's own alpha / rank, by what."""

    way: str
    keys: tuple[tuple[str, str], ...]
    scale: float | None = None


@dataclass(frozen=True)
class Reading:
    """patches: by limner.weights' name of the layer. unmatched: the file's tensors that the program would not use.
    unsure: those of which it is not known whether it uses them. refused: whether it gives up the whole file."""

    patches: dict[str, Patch]
    unmatched: list[str]
    unsure: tuple[str, ...] = ()
    refused: bool = False


Reader = Callable[[Tensors, Layout, Metadata], Reading]


def by_way(
    found: Mapping[str, Mapping[str, str]],
    ways: Mapping[str, tuple[str, ...]],
    unmatched: list[str],
    dora: str,
    beside: tuple[str, ...] = (),
) -> Reading:
    """Patches of the layers that have what a way needs, with or without DoRA's lengths; the first way counts, and what
    it does not use is unmatched. `found`: {layer: {leaf: key}}. beside: leaves that are used with any way."""
    patches, unsure = {}, []
    for layer, leaves in found.items():
        way = next((way for way in ways if _is_whole(way, leaves.keys())), None)
        if way is None:
            unmatched.extend(sorted(leaves.values()))
            continue
        if LENGTHS in leaves and way not in WITH_LENGTHS:
            unsure.extend(sorted(leaves.values()))
            continue
        used = {leaf: key for leaf, key in leaves.items() if leaf in (*ways[way], *beside, LENGTHS)}
        unmatched.extend(key for leaf, key in leaves.items() if leaf not in used)
        patches[layer] = Patch(f"{way}, {dora}" if LENGTHS in leaves else way, tuple(sorted(used.items())))
    return Reading(patches, unmatched, tuple(unsure))


_NEEDED = {
    "lora": LORA[:2],
    "loha": LOHA[:4],
    "oft": OFT[:1],
    "oft by alpha": OFT[:1],
    "ia3": IA3[:2],
    "glora": GLORA[:4],
    "old glora": GLORA,
    "full": FULL[:1],
    "bias": FULL[1:2],
    "norm": NORM[:1],
    "norm and bias": NORM[:2],
}


def _is_whole(way: str, leaves: Set[str]) -> bool:
    pairs = {"lokr_w1": {"lokr_w1_a", "lokr_w1_b"}, "lokr_w2": {"lokr_w2_a", "lokr_w2_b"}}
    if way == "lokr":
        return all(whole in leaves or halves <= leaves for whole, halves in pairs.items())
    return set(_NEEDED[way]) <= leaves


def refusal(tensors: Tensors) -> Reading:
    """Of a file that a program gives up."""
    return Reading({}, list(tensors), refused=True)


def without(reading: Reading, layers: Set[str]) -> Reading:
    """The reading without some layers, whose tensors a program leaves lying."""
    lost = [key for layer in layers for _, key in reading.patches[layer].keys]
    kept = {layer: patch for layer, patch in reading.patches.items() if layer not in layers}
    return Reading(kept, reading.unmatched + lost, reading.unsure)


def only_together(reading: Reading, parts: tuple[str, ...], groups: set[str]) -> Reading:
    """The reading without the layers of the groups of which not all parts are there: what a program that keeps some
    matrices in one, and knows no way to change a part of it, leaves out. A group is a path, its parts end it."""
    patches, unmatched = dict(reading.patches), list(reading.unmatched)
    for group in groups:
        members = [f"{group}.{part}" for part in parts]
        if not all(member in patches for member in members):
            lost = [patches.pop(member) for member in members if member in patches]
            unmatched += [key for patch in lost for _, key in patch.keys]
    return Reading(patches, unmatched, reading.unsure)
