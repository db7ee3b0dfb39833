"""What each program is known to make of each form of the LoRA family (interop 1.6, 1.7), in words for people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

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
STOPS = "stops with an error at a LoKr with a core (lokr_t2)"
NO_CORES = "leaves layers with a LoKr's core (lokr_t2) as they were, and logs an error"
CORES_UNKNOWN = "does not know a LoKr's core (lokr_t2), so that its pictures are wrong or it stops"
NO_BIASES = "leaves out the changes of biases (diff_b)"
NO_RESCALING = "leaves out the rescaling of rows"
OTHER_BOUND = "takes the alpha itself for the rotation's bound, so that its pictures differ where the bound acts"
OLD_ORDER = "multiplies the factors in the order of older files, so that its pictures are wrong or it leaves layers out"
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
    "tucker lokr": {
        "Forge": STOPS,
        "ComfyUI": NO_CORES,
        "stable-diffusion.cpp": CORES_UNKNOWN,
        "diffusers": REFUSES,
    },
    "oft": {"Forge": APPLIES_NOTHING, "stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "boft": {"Forge": APPLIES_NOTHING, "stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "ia3": {
        "Forge": APPLIES_NOTHING,
        "ComfyUI": IGNORES,
        "stable-diffusion.cpp": IGNORES,
        "diffusers": REFUSES,
    },
    "rescaled oft": {"ComfyUI": NO_RESCALING},
    "bounded oft": {"ComfyUI": OTHER_BOUND},
    "biases": {"A1111": NO_BIASES, "diffusers": REFUSES},
    "glora": {"A1111": OLD_ORDER, "stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "old glora": {"stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
    "full": {"diffusers": REFUSES},
    "norm": {"stable-diffusion.cpp": IGNORES, "diffusers": REFUSES},
}
SQUARES = "turns by the square of the strength: 0.5 acts as 0.25"
AUTOCAST = "fails where its model is in half precision and its autocast is off"
# What a program does with a form that it reads as it was trained at strength 1, as it usually runs.
REMARKS: dict[str, dict[str, str]] = {"oft": {"A1111": AUTOCAST, "ComfyUI": SQUARES}}
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
    by_column = by_column and form == "dora"
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


# Which entries of FAULTS a file's leaves come under beside that of its form, the most telling last.
BY_LEAF = {
    "hada_w1_a": "loha",
    "lokr_w1": "lokr",
    "lokr_w1_a": "lokr",
    "lora_mid": "tucker lora",
    "rescale": "rescaled oft",
    "lokr_t2": "tucker lokr",
}


def _kinds(leaves: Mapping[str, Tensor]) -> list[str]:
    """Which entries of FAULTS a layer's leaves come under, the most telling last."""
    form = form_of(leaves)
    found = ["biases"] if "diff_b" in leaves and (form is None or form.name != "full") else []
    found += [] if form is None else [form.name]
    if form is not None and form.name == "oft" and float(leaves.get("alpha", 0.0)) > 0:
        found.append("bounded oft")
    return found + [kind for leaf, kind in BY_LEAF.items() if leaf in leaves]


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
