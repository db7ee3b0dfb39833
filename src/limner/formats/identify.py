"""What a file of tensors is, told from its header: kind, family, whose naming it follows, and how that is known."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from limner.base.identify import TOLD, identify_base
from limner.container.header import Header
from limner.formats.evidence import FAMILIES, Clue, hints, proofs
from limner.texts import display

# Leaves that only these kinds of adapters have, in the order in which they are looked for. Differences come last: files
# of the others have them for normalisations, and biases.
_ALGORITHMS = {
    "dora": ("dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.weight", "magnitude"),
    "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    "lokr": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"),
    "oft": ("oft_blocks", "oft_diag", "oft_R", "oft_R.weight", "oft_R.default.weight"),
    "ia3": ("on_input", "ia3_l"),
    "glora": ("a1.weight",),
    "tucker lora": ("lora_mid.weight",),
    "lora": tuple(
        half
        for down, up in (
            ("lora_down.weight", "lora_up.weight"),
            ("lora_A.weight", "lora_B.weight"),
            ("lora.down.weight", "lora.up.weight"),
            ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
            ("lora_A", "lora_B"),
            ("lora_A.default.weight", "lora_B.default.weight"),
        )
        for half in (down, up)
    ),
    "full": ("diff", "diff_b"),
    "norm": ("w_norm", "b_norm"),
}
ADAPTERS = tuple(_ALGORITHMS)
# Files that no one trains subjects with, by a name that each of them has: what they look like.
_FOREIGN = {
    "controlnet lora": r"lora_controlnet$",
    "ip-adapter": r"(ip_adapter|image_proj)\.",
    "t2i-adapter": r"(adapter\.)?body\.\d+\.(block1|in_conv)\.",
    "upscaler": (
        r"(model\.\d+\.sub\.\d+\.RDB\d|(body|RRDB_trunk)\.\d+\.(rdb|RDB)\d|params(_ema)?\.|conv_first\.weight"
        r"|layers\.\d+\.residual_group\.)"
    ),
    "hypernetwork": r"\d{3,4}\.\d\.linear",
    "motion module": r".*motion_modules?\.",
    "text encoder": (
        r"(text_model|encoder\.layers|transformer\.resblocks|transformer\.text_model|shared\.weight"
        r"|encoder\.block\.\d+\.layer|(cond_stage_model|conditioner)\.)"
    ),
    "image encoder": r"(vision_model|visual)\.",
    "preview decoder": r"(taesd_)?(decoder|encoder)\.layers\.\d+\.",
}
_BASES = {"controlnet": "controlnet", "motion": "motion module", "vae": "vae", "unet": "unet"}
_WORD_WIDTHS = {768: "sd1", 1024: "sd2", 1280: "sdxl", 2048: "sdxl"}  # of an embedding's vectors
BUNDLE = "bundle_emb."  # begins the name of an embedding's tensor that lies in a LoRA's file
_KOHYA = re.compile(r"(lora_unet|lora_te|lora_te1|lora_te2|lora_te3|oft_unet|lycoris)_")


CLAIMS = ("ss_base_model_version", "modelspec.architecture", "ss_v2")  # metadata that say the family


@dataclass(frozen=True)
class Judged:
    """The family that a file is for. reasons: how that is known. doubts: what the metadata say that is not so, to stand
    behind the file's name."""

    family: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    def believed(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The metadata without what they say of the family if it is not so."""
        return {name: text for name, text in metadata.items() if not self.doubts or name not in CLAIMS}


def kind(header: Header) -> str:
    """What a file is: "lora" and its relatives by name, "embedding", "checkpoint", "vae", what else it looks like, or
    "unknown"."""
    names = header.shapes
    for algorithm, leaves in _ALGORITHMS.items():
        if any(name.endswith(leaf) and _boundary(name, leaf) for name in names for leaf in leaves):
            return algorithm
    if "emb_params" in names or {"clip_l", "clip_g"} & names.keys() or _has(names, r"string_to_param\."):
        return "embedding"
    if _has(names, r"model\.diffusion_model\."):
        return "checkpoint"
    base = _BASES.get(identify_base(names, header.metadata).family)
    if base is not None:
        return base
    if len(names) == 1 and all(1 <= len(shape) <= 2 for shape in names.values()):
        return "embedding"  # diffusers', under the name of its token
    return next((sort for sort, pattern in _FOREIGN.items() if _has(names, pattern)), "unknown")


def naming(header: Header) -> str:
    """ "kohya", "diffusers" (dotted paths, PEFT's too), "original" (Stable Diffusion's first release), or "other"."""
    layers = [name for name in header.shapes if not name.startswith(BUNDLE)]
    if layers and all(_KOHYA.match(name) for name in layers):
        return "kohya"
    if layers and all(
        name.startswith(("unet.", "transformer.", "text_encoder.", "text_encoder_2.")) for name in layers
    ):
        return "diffusers"
    if any(name.startswith("model.diffusion_model.") for name in layers):
        return "original"
    if any(name.startswith(("down_blocks.", "encoder.down_blocks.", "decoder.up_blocks.")) for name in layers):
        return "diffusers"
    return "original" if _has(layers, r"(first_stage_model\.|(encoder|decoder)\.(down|up|mid)\.)") else "other"


def family(header: Header) -> str:
    """ "sd1", "sd2", "sdxl" or another of limner.base.identify's names: see `judge_family`."""
    return judge_family(header).family


def judge_family(header: Header) -> Judged:
    """The family that a file is for: what names and shapes prove, then what the metadata say, then what is usual.

    Where nothing tells it is the first, as narrow files of tests and experiments are.
    """
    if kind(header) == "checkpoint":
        found = identify_base(header.shapes, header.metadata)
        return Judged(found.family, found.reasons)
    is_embedding = kind(header) == "embedding"
    possible, reasons = tuple(FAMILIES), []
    for clue in _of_embedding(header.shapes) if is_embedding else proofs(header.shapes):
        left = tuple(name for name in possible if name in clue.families)
        if left and left != possible:
            possible = left
            reasons.append(clue.reason)
    claim = _claimed(header.metadata)
    if claim is not None and (claim[0] in possible or possible == tuple(FAMILIES)):
        return Judged(claim[0], (*reasons, f"its metadata say {claim[1]}"))
    if len(possible) == 1:
        chosen = possible[0]
    else:
        clue = next(each for each in hints(header.shapes) if each.families[0] in possible)
        chosen = clue.families[0]
        if claim is None or not reasons:
            reasons.append(clue.reason)
    if claim is None:
        return Judged(chosen, tuple(reasons))
    doubt = f"says that it is for {claim[0]} ({claim[1]}), but {reasons[0]}: it is taken for {chosen}"
    return Judged(chosen, tuple(reasons), (doubt,))


def _claimed(metadata: Mapping[str, str]) -> tuple[str, str] | None:
    """The family that the metadata say, and how they say it."""
    for key in CLAIMS[:2]:
        told = metadata.get(key, "")
        known = next((name for start, name in TOLD.items() if told.startswith(start)), None)
        if known is not None:
            return known, f"{key} = {display(told)}"
    return ("sd2", "ss_v2 = True") if metadata.get("ss_v2") == "True" else None


def _of_embedding(shapes: Mapping[str, tuple[int, ...]]) -> list[Clue]:
    if "clip_g" in shapes:
        return [Clue(("sdxl",), "it has vectors for XL's second text encoder (clip_g)")]
    width = (1, *next(iter(shapes.values()), ()))[-1]
    known = _WORD_WIDTHS.get(width)
    return [] if known is None else [Clue((known,), f"its vectors are {width} wide")]


def _has(names: Iterable[str], pattern: str) -> bool:
    expression = re.compile(pattern)
    return any(expression.match(name) for name in names)


def _boundary(name: str, leaf: str) -> bool:
    """Whether the leaf stands on its own: after a dot, an underscore, or as the whole name."""
    return len(name) == len(leaf) or name[-len(leaf) - 1] in "._"
