"""How stable-diffusion.cpp finds a LoRA file's layers (interop 1.6), written from its side."""

import re

from limner.formats.layers import Layout
from limner.formats.reading import BIAS, FULL, LOHA, LOKR, LORA, Metadata, Reading, Tensors, by_way, only_together

LEAVES = {*LORA, *LOHA, *LOKR, *FULL, "scale"} - {"lokr_t2"}
_SPELLINGS = {  # other spellings of a LoRA's halves
    f"{before}{half}{after}": leaf
    for half, leaf in (("down", "lora_down.weight"), ("up", "lora_up.weight"))
    for before, after in ((".lora.", ".weight"), ("_lora.", ".weight"))
} | {
    f".lora_{half}{after}": leaf
    for half, leaf in (("A", "lora_down.weight"), ("B", "lora_up.weight"))
    for after in (".weight", ".default.weight", "")
}
# The words in its own names that hold an underscore; any other underscore it takes for a dot.
_WORDS = [
    "self_attn", "out_proj", "q_proj", "k_proj", "v_proj", "to_k", "to_q", "to_v", "to_out", "text_model",
    "down_blocks", "mid_block", "up_block", "proj_in", "proj_out", "transformer_blocks", "conv_in", "conv_out",
    "time_emb_proj", "conv_shortcut", "time_embedding", "conv_norm_out", "input_blocks", "output_blocks",
    "middle_block", "skip_connection", "emb_layers", "in_layers", "out_layers", "lora_down", "lora_up",
    "diffusion_model",
]  # fmt: skip
_TEXT_ROOTS = {"text_encoder": "cond_stage_model.transformer.", "text_encoder_2": "cond_stage_model.1.transformer."}
_TEXT_PREFIXES = {
    "te.": _TEXT_ROOTS["text_encoder"],
    "te1.": _TEXT_ROOTS["text_encoder"],
    "te2.": _TEXT_ROOTS["text_encoder_2"],
}
_NORM = re.compile(r"norm|(in|out)_layers[._]0$|unet_out_0$|[._]out[._]0$")
_QKV = ("q_proj", "k_proj", "v_proj")


def stable_diffusion_cpp(tensors: Tensors, layout: Layout, metadata: Metadata) -> Reading:
    """Turns underscores back into dots, renames diffusers' blocks to the original's, and looks the weight up.

    An OpenCLIP text encoder has q, k and v in one matrix: those of XL's it puts together if all three are there, for
    Stable Diffusion 2's it knows no such way.
    """
    table = {}
    for layer in layout.layers:
        if layer.network == "unet":
            table["model.diffusion_model." + layer.original] = layer.name
        elif layout.family != "sd2" or not layer.name.endswith(_QKV):
            table[_TEXT_ROOTS[layer.network] + layer.diffusers] = layer.name
    found: dict[str, dict[str, str]] = {}
    unmatched: list[str] = []
    unsure: list[str] = []  # names that nobody here has followed through it
    for key in tensors:
        module, leaf = _cut(key)
        name = table.get(_module(module, layout.family)) if leaf in LEAVES else None
        if name is None and (key.startswith("text_encoders.") or (leaf in FULL and _NORM.search(module))):
            unsure.append(key)
        elif name is None:
            unmatched.append(key)
        else:
            found.setdefault(name, {})[leaf] = key
    ways = {"lora": LORA, "full": FULL, "loha": LOHA, "lokr": LOKR, "bias": FULL}
    reading = by_way(found, ways, unmatched, "", beside=(BIAS, "alpha", "scale"))
    reading = Reading(reading.patches, reading.unmatched, (*reading.unsure, *unsure))
    second = {layer.name.rpartition(".")[0] for layer in layout.layers if layer.network == "text_encoder_2"}
    return only_together(reading, _QKV, {group for group in second if group.endswith("self_attn")})


def _cut(key: str) -> tuple[str, str]:
    """A layer's name and the leaf, as kohya's files spell it."""
    for spelled, leaf in _SPELLINGS.items():
        if key.endswith(spelled):
            return key.removesuffix(spelled), leaf
    module, _, leaf = key.partition(".")
    if leaf not in LEAVES:
        ending = next((leaf for leaf in LEAVES if key.endswith(f".{leaf}")), None)
        return (module, leaf) if ending is None else (key.removesuffix(f".{ending}"), ending)
    return module, leaf


def _module(name: str, family: str) -> str:
    """Its own name of a weight's layer."""
    is_dotted = "." in name
    name = re.sub(r"^(lora|lycoris)[_.]", "", name).replace(".processor", "")
    kept = {place for word in _WORDS for hit in re.finditer(word, name) for place in _underscores(hit)}
    cut = "".join("." if letter == "_" and at not in kept else letter for at, letter in enumerate(name))
    path = name if is_dotted else cut
    for prefix, root in _TEXT_PREFIXES.items():
        if path.startswith(prefix):
            return root + path.removeprefix(prefix)
    path = path.removeprefix("unet.").removeprefix("diffusion_model.")
    if ".resnets." in path:
        for ours, theirs in (("conv1", "in_layers.2"), ("conv2", "out_layers.3"), ("time_emb_proj", "emb_layers.1")):
            path = path.replace(ours, theirs)
        path = path.replace("conv_shortcut", "skip_connection")
    for block in range(4):
        for layer in range(3):
            path = path.replace(f"down_blocks.{block}.resnets.{layer}.", f"input_blocks.{3 * block + layer + 1}.0.")
            path = path.replace(f"down_blocks.{block}.attentions.{layer}.", f"input_blocks.{3 * block + layer + 1}.1.")
            path = path.replace(f"up_blocks.{block}.resnets.{layer}.", f"output_blocks.{3 * block + layer}.0.")
            path = path.replace(f"up_blocks.{block}.attentions.{layer}.", f"output_blocks.{3 * block + layer}.1.")
        path = path.replace(f"down_blocks.{block}.downsamplers.0.conv", f"input_blocks.{3 * block + 3}.0.op")
        path = path.replace(f"up_blocks.{block}.upsamplers.0.", f"output_blocks.{3 * block + 2}.{2 if block else 1}.")
    if family == "sdxl":
        path = path.replace("output_blocks.2.1.conv", "output_blocks.2.2.conv")
    for ours, theirs in (("attentions.0.", "1."), ("resnets.0.", "0."), ("resnets.1.", "2.")):
        path = path.replace(f"mid_block.{ours}", f"middle_block.{theirs}")
    path = re.sub(r"\.to_out$", ".to_out.0", path)
    edges = {"conv_in": "input_blocks.0.0", "conv_out": "out.2"}
    return "model.diffusion_model." + edges.get(path, path)


def _underscores(hit: re.Match[str]) -> list[int]:
    return [at for at in range(hit.start(), hit.end()) if hit.string[at] == "_"]
