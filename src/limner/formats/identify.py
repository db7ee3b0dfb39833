"""What a file of tensors is, told from its header: kind, family, whose naming it follows, and how that is known."""

import re
from collections.abc import Iterable, Mapping

from limner.base.identify import TOLD, identify_base
from limner.container.header import Header

# Leaves that only these kinds of adapters have, in the order in which they are looked for.
_ALGORITHMS = {
    "dora": ("dora_scale", "lora_magnitude_vector"),
    "loha": ("hada_w1_a",),
    "lokr": ("lokr_w1", "lokr_w1_a"),
    "oft": ("oft_blocks", "oft_diag", "oft_R", "oft_R.weight"),
    "ia3": ("on_input", "ia3_l"),
    "glora": ("a1.weight",),
    "full": ("diff",),
    "norm": ("w_norm",),
    "tucker lora": ("lora_mid.weight",),
    "lora": (
        "lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_linear_layer.down.weight", "lora_A",
        "lora_A.default.weight",
    ),
}  # fmt: skip
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
_TEXT_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}  # of the states that cross-attention sees
_WORD_WIDTHS = {768: "sd1", 1024: "sd2", 1280: "sdxl", 2048: "sdxl"}  # of an embedding's vectors
BUNDLE = "bundle_emb."  # begins the name of an embedding's tensor that lies in a LoRA's file
_KOHYA = re.compile(r"(lora_unet|lora_te|lora_te1|lora_te2|lora_te3|oft_unet|lycoris)_")
_LATER = {  # families without a UNet, by names of their layers in adapters
    "flux": r"(double_blocks|single_blocks|single_transformer_blocks)[._]\d",
    "sd3": r"(joint_blocks[._]\d|transformer[._]transformer_blocks[._]\d)",
}


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
    """ "sd1", "sd2", "sdxl" or another of limner.base.identify's names: see `family_with_reasons`."""
    return family_with_reasons(header)[0]


def family_with_reasons(header: Header) -> tuple[str, tuple[str, ...]]:
    """The family that a file is for, and how that is known: what the metadata say, else what names and shapes tell.

    Where nothing tells it is the first, as narrow files of tests and experiments are.
    """
    if kind(header) == "checkpoint":
        found = identify_base(header.shapes, header.metadata)
        return found.family, found.reasons
    for key in ("ss_base_model_version", "modelspec.architecture"):
        told = header.metadata.get(key, "")
        known = next((name for start, name in TOLD.items() if told.startswith(start)), None)
        if known is not None:
            return known, (f"its metadata say {key} = {told}",)
    if header.metadata.get("ss_v2") == "True":
        return "sd2", ("its metadata say ss_v2 = True",)
    return _of_embedding(header.shapes) if kind(header) == "embedding" else _of_layers(header.shapes)


def _of_embedding(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[str, ...]]:
    if "clip_g" in shapes:
        return "sdxl", ("it has vectors for XL's second text encoder (clip_g)",)
    width = (1, *next(iter(shapes.values())))[-1]
    known = _WORD_WIDTHS.get(width)
    if known is None:
        return "sd1", (f"its vectors are {width} wide, which no published family has",)
    return known, (f"its vectors are {width} wide",)


def _of_layers(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[str, ...]]:
    """By what an adapter's layers are called, and by the width of the text's states where it changes their keys."""
    for name, pattern in _LATER.items():
        if _has(shapes, rf".*{pattern}"):
            return name, (f"it has layers that only {name} has",)
    for pattern, said in (
        (r"(lora_te2_|text_encoder_2\.)", "it changes XL's second text encoder"),
        (r".*(label_emb|add_embedding)", "it changes how XL is told sizes"),
        (r".*attentions[._]\d+[._]transformer_blocks[._][1-9]", "its blocks hold several transformers, as only XL's"),
        (r"lora_unet_(input|middle|output)_block", "its blocks have the first release's names, as in kohya's XL files"),
    ):
        if _has(shapes, pattern):
            return "sdxl", (said,)
    for name, shape in shapes.items():
        if (
            re.search(r"attn2[._](processor\.)?to_k", name)
            and re.search(r"down\.weight$|lora_A|hada_w1_b|attn2\.to_k\.weight$", name)
            and len(shape) > 1
            and shape[1] in _TEXT_WIDTHS
        ):
            return _TEXT_WIDTHS[shape[1]], (f"the text's states are {shape[1]} wide",)
    return "sd1", ("nothing in it says otherwise",)


def _has(names: Iterable[str], pattern: str) -> bool:
    expression = re.compile(pattern)
    return any(expression.match(name) for name in names)


def _boundary(name: str, leaf: str) -> bool:
    """Whether the leaf stands on its own: after a dot, an underscore, or as the whole name."""
    return len(name) == len(leaf) or name[-len(leaf) - 1] in "._"
