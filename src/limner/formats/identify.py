"""What a file of tensors is, told from its header: kind, family, and whose naming it follows."""

import re

from limner.container.header import Header

# Leaves that only these kinds of adapters have, in the order in which they are looked for.
_ALGORITHMS = {
    "dora": ("dora_scale", "lora_magnitude_vector"),
    "loha": ("hada_w1_a",),
    "lokr": ("lokr_w1", "lokr_w1_a"),
    "oft": ("oft_blocks", "oft_diag"),
    "ia3": ("on_input",),
    "glora": ("a1.weight",),
    "full": ("diff",),
    "norm": ("w_norm",),
    "tucker lora": ("lora_mid.weight",),
    "lora": ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_linear_layer.down.weight", "lora_A"),
}
_TEXT_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}  # of the states that cross-attention sees
BUNDLE = "bundle_emb."  # begins the name of an embedding's tensor that lies in a LoRA's file
_KOHYA = re.compile(r"(lora_unet|lora_te|lora_te1|lora_te2|lycoris)_")


def kind(header: Header) -> str:
    """ "lora" and its relatives by name, "embedding", "checkpoint", "vae", or "unknown"."""
    names = header.shapes
    for algorithm, leaves in _ALGORITHMS.items():
        if any(name.endswith(leaf) and _boundary(name, leaf) for name in names for leaf in leaves):
            return algorithm
    if "emb_params" in names or {"clip_l", "clip_g"} & names.keys():
        return "embedding"
    if any(name.startswith(("model.diffusion_model.", "down_blocks.")) for name in names):
        return "checkpoint"
    if len(names) == 1 and all(1 <= len(shape) <= 2 for shape in names.values()):
        return "embedding"  # diffusers', under the name of its token
    return "vae" if any(name.startswith(("decoder.", "first_stage_model.")) for name in names) else "unknown"


def naming(header: Header) -> str:
    """ "kohya", "diffusers" (dotted paths, PEFT's too), "original" (Stable Diffusion's first release), or "other"."""
    layers = [name for name in header.shapes if not name.startswith(BUNDLE)]
    if layers and all(_KOHYA.match(name) for name in layers):
        return "kohya"
    if layers and all(name.startswith(("unet.", "text_encoder.", "text_encoder_2.")) for name in layers):
        return "diffusers"
    if any(name.startswith("model.diffusion_model.") for name in layers):
        return "original"
    return "other"


def family(header: Header) -> str:
    """ "sd1", "sd2" or "sdxl": what the metadata say, else by the second text encoder or the text states' width."""
    told = header.metadata.get("ss_base_model_version", "") or header.metadata.get("modelspec.architecture", "")
    for start, name in (("sdxl", "sdxl"), ("stable-diffusion-xl", "sdxl"), ("sd_v2", "sd2"), ("sd_v1", "sd1")):
        if told.startswith(start):
            return name
    if header.metadata.get("ss_v2") == "True" or told.startswith("stable-diffusion-v2"):
        return "sd2"
    if "clip_g" in header.shapes or any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in header.shapes):
        return "sdxl"
    if kind(header) == "embedding":
        return _TEXT_WIDTHS.get((1, *next(iter(header.shapes.values())))[-1], "sd1")
    for name, shape in header.shapes.items():
        if (
            re.search(r"attn2[._](processor\.)?to_k", name)
            and re.search(r"down\.weight$|lora_A|hada_w1_b|attn2\.to_k\.weight$", name)
            and len(shape) > 1
        ):
            return _TEXT_WIDTHS.get(shape[1], "sd1")
    return "sd1"


def _boundary(name: str, leaf: str) -> bool:
    """Whether the leaf stands on its own: after a dot, an underscore, or as the whole name."""
    return len(name) == len(leaf) or name[-len(leaf) - 1] in "._"
