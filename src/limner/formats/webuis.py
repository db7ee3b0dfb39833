"""How A1111, ComfyUI and Forge each find a LoRA file's layers (interop 1.6), written from their side."""

import re
from collections.abc import Mapping

from limner.formats.layers import OPEN_CLIP, Layout
from limner.formats.reading import (
    BIAS,
    FULL,
    GLORA,
    IA3,
    LENGTHS,
    LOHA,
    LOKR,
    LORA,
    NORM,
    OFT,
    Metadata,
    Reading,
    Tensors,
    by_way,
    only_together,
    refusal,
    without,
)

FORGIVEN = 12  # unmatched tensors at which Forge still applies the rest
OUT_OF_FOUR = ("q_proj", "k_proj", "v_proj", "out_proj")

# What A1111 calls the root of a text encoder, by family and network.
_A1111_ROOTS = {
    ("sd1", "text_encoder"): "transformer_",
    ("sd2", "text_encoder"): "model_",
    ("sdxl", "text_encoder"): "0_transformer_",
    ("sdxl", "text_encoder_2"): "1_model_",
}


def a1111(tensors: Tensors, layout: Layout, metadata: Metadata) -> Reading:
    """Splits a key at its first dot, rewrites diffusers' block numbers to those of Stable Diffusion 1's original, and
    looks that up; then what stands behind the prefix as it is. OpenCLIP's attention it changes as a whole or not."""
    table: dict[str, str] = {}
    for layer in layout.layers + layout.norms:
        root = "diffusion_model_" if layer.network == "unet" else _A1111_ROOTS[layout.family, layer.network]
        table[root + layer.original.replace(".", "_")] = layer.name
    is_sd2 = any(name.startswith("model_transformer_resblocks") for name in table)
    found: dict[str, dict[str, str]] = {}
    unmatched: list[str] = []
    unsure: set[str] = set()
    for key in tensors:
        module, _, leaf = key.partition(".")
        if module == "diffusion_model":  # the name of its whole UNet, of which it knows no such leaves
            return refusal(tensors)
        target = next((table[name] for name in _a1111_modules(module, is_sd2) if name in table), None)
        if target is None:
            unmatched.append(key)
        elif leaf == "oft_diag" or (leaf == "oft_blocks" and tensors[key].dim() == 4):
            unsure.add(target)
            found.setdefault(target, {})[leaf] = key
        else:
            found.setdefault(target, {})[leaf] = key
    doubtful = [key for target in unsure for key in found.pop(target).values()]
    # It tries these one after the other, and gives up the whole file at a layer that has what none of them needs.
    ways = {"lora": LORA, "loha": LOHA, "ia3": IA3, "lokr": LOKR, "full": FULL, "norm and bias": NORM}
    ways |= {"old glora": GLORA, "oft": OFT}
    reading = by_way(found, ways, unmatched, "dora by column", beside=("alpha", "scale"))
    known = {layer for layer, leaves in found.items() if not set(leaves.values()) & set(reading.unsure)}
    if not known <= reading.patches.keys():
        return refusal(tensors)
    reading = Reading(reading.patches, reading.unmatched, (*reading.unsure, *doubtful))
    reading = without(reading, _scaled_outputs(reading, tensors, layout))
    groups = {
        layer.name.rpartition(".")[0]
        for layer in layout.layers
        if (layout.family, layer.network) in OPEN_CLIP and layer.name.endswith(OUT_OF_FOUR)
    }
    return only_together(reading, OUT_OF_FOUR, groups)


def _scaled_outputs(reading: Reading, tensors: Tensors, layout: Layout) -> set[str]:
    """Convolutions with (IA)^3 numbers of their outputs, which it lays along the wrong axis and so fails at."""
    kernels = {layer.name for layer in layout.layers if len(layer.shape) > 2}
    found = set()
    for name, patch in reading.patches.items():
        side = tensors[dict(patch.keys)["on_input"]] if patch.way == "ia3" and name in kernels else None
        if side is not None and not side.is_meta and not bool(side.any()):
            found.add(name)
    return found


_OPEN_CLIP_PARTS = (
    ("mlp_fc1", "mlp_c_fc"),
    ("mlp_fc2", "mlp_c_proj"),
    ("self_attn", "attn"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
)


def _a1111_modules(name: str, is_sd2: bool) -> list[str]:
    """The names under which it looks for a kohya module, one after the other."""
    for prefix, is_open, roots in (
        ("lora_te_text_model_", is_sd2, ("model_" if is_sd2 else "transformer_",)),
        ("lora_te1_text_model_", False, ("0_transformer_", "transformer_")),
        ("lora_te2_text_model_", True, ("1_model_",)),
    ):
        if name.startswith(prefix):
            path = f"text_model_{name.removeprefix(prefix)}"
            if prefix != "lora_te1_text_model_" and not path.startswith("text_model_encoder_layers_"):
                return []
            if is_open:
                path = re.sub(r"^text_model_encoder_layers_", "transformer_resblocks_", path)
                for ours, theirs in _OPEN_CLIP_PARTS:
                    path = path.replace(ours, theirs)
            return [root + path for root in roots]
    if name.startswith("oft_unet_"):
        return [f"diffusion_model_{name.removeprefix('oft_unet_')}"]
    path = name.removeprefix("lora_unet_")
    return [f"diffusion_model_{each}" for each in (_as_sd1(path), path)]


def _as_sd1(path: str) -> str:
    """The original's underscored path of a layer of diffusers' UNet, with the block numbers of Stable Diffusion 1."""
    inner = {"conv1": "in_layers_2", "conv2": "out_layers_3", "time_emb_proj": "emb_layers_1"}
    inner |= {"conv_shortcut": "skip_connection", "norm1": "in_layers_0", "norm2": "out_layers_0"}
    edges = {"conv_in": "input_blocks_0_0", "conv_out": "out_2"}
    edges |= {"time_embedding_linear_1": "time_embed_0", "time_embedding_linear_2": "time_embed_2"}
    if match := re.fullmatch(r"(down|up)_blocks_(\d)_(attentions|resnets)_(\d)_(.+)", path):
        side, block, sort, layer, rest = match.groups()
        place = 3 * int(block) + int(layer) + (side == "down")
        half, member = "input" if side == "down" else "output", int(sort == "attentions")
        return f"{half}_blocks_{place}_{member}_{inner.get(rest, rest)}"
    if match := re.fullmatch(r"mid_block_(attentions|resnets)_(\d)_(.+)", path):
        sort, layer, rest = match.groups()
        return f"middle_block_{1 if sort == 'attentions' else 2 * int(layer)}_{inner.get(rest, rest)}"
    if match := re.fullmatch(r"down_blocks_(\d)_downsamplers_0_conv", path):
        return f"input_blocks_{3 * int(match[1]) + 3}_0_op"
    if match := re.fullmatch(r"up_blocks_(\d)_upsamplers_0_conv", path):
        return f"output_blocks_{3 * int(match[1]) + 2}_{2 if int(match[1]) else 1}_conv"
    return edges.get(path, path)


# How the two spell the two halves of a LoRA: each pair is kohya's and theirs.
_SPELLINGS = [
    {"lora_up.weight": ".lora_up.weight", "lora_down.weight": ".lora_down.weight"},
    {"lora_up.weight": "_lora.up.weight", "lora_down.weight": "_lora.down.weight"},
    {"lora_up.weight": ".lora_B.weight", "lora_down.weight": ".lora_A.weight"},
    {"lora_up.weight": ".lora.up.weight", "lora_down.weight": ".lora.down.weight"},
    {"lora_up.weight": ".lora_linear_layer.up.weight", "lora_down.weight": ".lora_linear_layer.down.weight"},
]
_NEWER = [{"lora_up.weight": ".lora_B.default.weight", "lora_down.weight": ".lora_A.default.weight"}]


_WAYS = {"lora": LORA, "loha": LOHA, "lokr": LOKR, "glora": GLORA, "norm": NORM, "full": FULL, "bias": FULL}
CORE = "lokr_t2"  # which both hand to torch.kron in a form that it refuses


def comfyui(tensors: Tensors, layout: Layout, metadata: Metadata) -> Reading:
    """Goes through its model's layers and takes what the file has under any of the spellings that it accepts. At a LoKr
    with a core it fails, and leaves the layer as it was; an OFT's rescaling it reads and does not apply."""
    turned = tuple(leaf for leaf in OFT if leaf != "rescale")
    table = _targets(layout) | _generic_text(layout)
    reading = _taken(tensors, table, {"oft by alpha": turned} | _WAYS, _NEWER)
    return without(reading, _with_cores(reading))


def forge(tensors: Tensors, layout: Layout, metadata: Metadata) -> Reading:
    """ComfyUI's way of a while ago. It forgives twelve unmatched tensors and drops the file at the thirteenth; at a
    LoKr with a core it stops."""
    reading = _taken(tensors, _targets(layout), _WAYS, [])
    if len(reading.unmatched) > FORGIVEN or _with_cores(reading):
        return refusal(tensors)
    return reading


def _with_cores(reading: Reading) -> set[str]:
    return {layer for layer, patch in reading.patches.items() if CORE in dict(patch.keys)}


def _generic_text(layout: Layout) -> dict[str, str]:
    """ComfyUI's own names of everything in its text encoders, which it calls by what they are."""
    table = {}
    for layer in layout.layers + layout.norms:
        called = _ENCODERS.get((layout.family, layer.network))
        if called is not None:
            table[f"text_encoders.{called}.transformer.{layer.diffusers}"] = layer.name
    if layout.family == "sdxl":
        table["text_encoders.clip_g.transformer.text_projection"] = PROJECTION
    return table


_ENCODERS = {
    ("sd1", "text_encoder"): "clip_l",
    ("sd2", "text_encoder"): "clip_h",
    ("sdxl", "text_encoder"): "clip_l",
    ("sdxl", "text_encoder_2"): "clip_g",
}
PROJECTION = "text_encoder_2.text_projection"  # XL's, which lies outside of the encoder's layers


def _targets(layout: Layout) -> dict[str, str]:
    """{a layer's name in a file: limner.weights' name}. Of diffusers' dotted names both know those of its older
    attention processors, which say `.processor.to_q`, and so miss what PEFT calls `.to_q`."""
    table: dict[str, str] = {}
    for layer in layout.layers + [norm for norm in layout.norms if norm.network == "unet"]:
        if layer.network == "transformer":  # which only diffusers' names are for
            table[f"transformer.{layer.diffusers}"] = layer.name
            continue
        if layer.network != "unet":
            path = layer.diffusers.replace(".", "_")
            prefixes = ("lora_te2_",) if layer.network == "text_encoder_2" else ("lora_te_", "lora_te1_")
            table |= {prefix + path: layer.name for prefix in prefixes}
            table[f"{layer.network}.{layer.diffusers}"] = layer.name
            continue
        table["lora_unet_" + layer.original.replace(".", "_")] = layer.name
        table["diffusion_model." + layer.original] = layer.name
        for prefix in ("lora_unet_", "lycoris_"):
            table[prefix + layer.diffusers.replace(".", "_")] = layer.name
        processor = layer.diffusers.replace(".to_", ".processor.to_")
        processor = processor.removesuffix(".0") if processor.endswith(".to_out.0") else processor
        table |= {prefix + processor: layer.name for prefix in ("", "unet.")}
    if layout.family == "sdxl":
        table["lora_te2_text_projection"] = PROJECTION
    return table


def _taken(
    tensors: Tensors,
    table: Mapping[str, str],
    ways: Mapping[str, tuple[str, ...]],
    more_spellings: list[dict[str, str]],
) -> Reading:
    """For each layer what the file has under its name, taken leaf by leaf; DoRA's lengths are divided by W's norms."""
    found: dict[str, dict[str, str]] = {}
    known = {leaf for leaves in ways.values() for leaf in leaves} | {LENGTHS, BIAS, "alpha"}
    for module, layer in table.items():
        present = {leaf: key for leaf in sorted(known) if (key := f"{module}.{leaf}") in tensors}
        for spelling in _SPELLINGS + more_spellings:
            keys = {leaf: module + spelled for leaf, spelled in spelling.items()}
            if keys["lora_up.weight"] in tensors and keys["lora_down.weight"] in tensors:
                present |= keys
                break
        if present:
            found[layer] = present
    used = {key for present in found.values() for key in present.values()}
    return by_way(found, ways, [key for key in tensors if key not in used], "dora by old row", beside=(BIAS, "alpha"))
