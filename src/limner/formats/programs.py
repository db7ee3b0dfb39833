"""What each program is known to make of each form of the LoRA family (interop 1.6, 1.7), in words for people."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from limner.formats.layers import OPEN_CLIP
from limner.formats.webuis import FORGIVEN
from limner.methods.form import form_of, scale
from limner.weights import Weights

WRONG_AXIS = "divides by the lengths of the columns, not the rows, so that its pictures are wrong"
OLD_LENGTHS = "divides by the lengths that the rows had before training, so that its pictures differ somewhat"
NO_LENGTHS = "leaves out the learned lengths, so that its pictures differ"
REFUSES = "refuses the file"
APPLIES_NOTHING = "applies nothing of the file"
IGNORES = "leaves out what it does not know, which is all of it"
NO_ATTENTION = "leaves out the text encoder's attention, of which it changes only all four matrices together"
NO_QKV = "leaves out the text encoder's q, k and v"

# {form: {reader: what it does instead of what was trained}}; who is not named does it right, or the file is not kept.
FAULTS: dict[str, dict[str, str]] = {
    "lora": {},
    "dora": {
        "A1111": WRONG_AXIS,
        "Forge": OLD_LENGTHS,
        "ComfyUI": OLD_LENGTHS,
        "stable-diffusion.cpp": NO_LENGTHS,
        "diffusers": NO_LENGTHS,
    },
    "tucker lora": {"diffusers": REFUSES},
    "loha": {"diffusers": REFUSES},
    "lokr": {"diffusers": REFUSES},
    "tucker lokr": {"stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "oft": {"Forge": APPLIES_NOTHING, "stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "ia3": {
        "Forge": APPLIES_NOTHING,
        "ComfyUI": IGNORES,
        "stable-diffusion.cpp": IGNORES,
        "diffusers": REFUSES,
    },
}
SOME_NAMES = "applies only the layers whose names it knows, without the UNet's attention"
ONLY_UNET = "applies nothing to the text encoders"
NO_ALPHA = ", and takes each rank for the alpha"
QKV = ("q_proj", "k_proj", "v_proj")
READERS = ("A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers")


def faults(form: str, by_column: bool = False) -> dict[str, str]:
    """What the readers do wrongly with a form; with one of a package outside Limner, all of them nothing.

    by_column: whether DoRA's lengths are those of columns, as older trainers have it, which the webuis divide by.
    """
    known = FAULTS.get(form, dict.fromkeys(READERS, IGNORES))
    return {reader: fault for reader, fault in known.items() if not by_column or fault == NO_LENGTHS}


@dataclass(frozen=True)
class Fault:
    """What a program does instead of what was trained, in words, and to which layers it does that: None for any."""

    words: str
    affected: Callable[[str], bool] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is about the whole file."""
        return self.affected is None

    def covers(self, layer: str) -> bool:
        return self.affected is None or self.affected(layer)


def faults_of(weights: Weights) -> dict[str, Fault]:
    """{reader: what it is known to do wrongly with a file of these weights, in kohya's layout}."""
    modules = weights.modules()
    names = dict.fromkeys(name for leaves in modules.values() for name in _kinds(leaves))
    found = {reader: Fault(words) for name in names for reader, words in faults(name).items()}
    if sum(len(vectors) for vectors in weights.words.values()) > FORGIVEN:
        found["Forge"] = Fault(APPLIES_NOTHING)
    for network in ("text_encoder", "text_encoder_2"):
        trained = {name for name in modules if name.startswith(f"{network}.")}
        attention = {name for name in trained if _is_attention(name)}
        is_open = (weights.family, network) in OPEN_CLIP
        if is_open and not _is_whole(attention, (*QKV, "out_proj")):
            found.setdefault("A1111", Fault(NO_ATTENTION, _is_attention))
        # the second encoder's q, k and v it puts together, for the first it knows no way
        if is_open and (network == "text_encoder" or not _is_whole(attention, QKV)) and _has_any(attention, QKV):
            found.setdefault("stable-diffusion.cpp", Fault(NO_QKV, _is_attention))
        # from the output's name it tells whose the names are
        if _has_any(attention, QKV) and not _has_any(attention, ("out_proj",)):
            others = attention < trained
            found.setdefault("diffusers", Fault(NO_QKV, _is_attention) if others else Fault(REFUSES))
    return found


def _kinds(leaves: Collection[str]) -> list[str]:
    """Which entries of FAULTS a layer's leaves come under, the most telling last."""
    form = form_of(leaves)
    cores = {"lora_mid": "tucker lora", "lokr_t2": "tucker lokr"}
    added = {"hada_w1_a": "loha", "lokr_w1": "lokr", "lokr_w1_a": "lokr"} | cores
    return ([] if form is None else [form.name]) + [kind for leaf, kind in added.items() if leaf in leaves]


def dotted_faults_of(weights: Weights) -> dict[str, Fault]:
    """{reader: what it is known to do wrongly with a file of these weights, in diffusers' layout}."""
    if any(name.startswith("transformer.") for name in weights.modules()):
        return {}
    scales = {scale(leaves, len(leaves["lora_down"])) for leaves in weights.modules().values()}
    words = {"A1111": APPLIES_NOTHING, "Forge": SOME_NAMES, "ComfyUI": SOME_NAMES, "stable-diffusion.cpp": ONLY_UNET}
    if scales != {1.0}:
        words = {reader: f"{text}{NO_ALPHA if reader != 'A1111' else ''}" for reader, text in words.items()}
    return {reader: Fault(text) for reader, text in words.items()}


def _is_attention(layer: str) -> bool:
    return layer.startswith("text_encoder") and ".self_attn." in layer


def _is_whole(attention: set[str], parts: tuple[str, ...]) -> bool:
    """Whether of each attention that some of these matrices was trained of, all of them were."""
    groups = {name.rpartition(".")[0] for name in attention if name.endswith(parts)}
    return all(f"{group}.{part}" in attention for group in groups for part in parts)


def _has_any(attention: set[str], parts: tuple[str, ...]) -> bool:
    return any(name.endswith(parts) for name in attention)
