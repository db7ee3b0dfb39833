"""How A1111, Forge, ComfyUI, stable-diffusion.cpp and diffusers each find a LoRA file's layers (interop 1.6).

Written from their side, sharing nothing with the writer: given a file's tensors and a model's layers, a reader says
which tensors it would apply to which layer and how strongly, and which it would leave lying.
"""

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from diffusers.utils.peft_utils import get_peft_kwargs
from torch import Tensor

from limner.formats.layers import Layer

Tensors = Mapping[str, Tensor]

# Leaves by which readers know a kind of adapter, those first that it must have.
LORA = ("lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha")
LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "alpha")
LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha")
OFT = ("oft_blocks", "rescale", "alpha")
LENGTHS = "dora_scale"
CPP = {*LORA, *LOHA, *LOKR} - {"lokr_t2"}
FORGIVEN = 12  # unmatched tensors at which Forge still applies the rest


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


Reader = Callable[[Tensors, list[Layer]], Reading]


def a1111(tensors: Tensors, layers: list[Layer]) -> Reading:
    """Splits a key at its first dot, rewrites diffusers' block numbers to the original's, and looks that up."""
    roots = {"unet": "diffusion_model", "text_encoder": "transformer"}
    table = {f"{roots[layer.network]}_{layer.original}".replace(".", "_"): layer.name for layer in layers}
    found: dict[str, dict[str, str]] = {}
    unmatched = []
    for key in tensors:
        module, _, leaf = key.partition(".")
        layer = table.get(_a1111_module(module))
        if layer is None:
            unmatched.append(key)
        else:
            found.setdefault(layer, {})[leaf] = key
    # It tries these one after the other, and gives up the whole file at a layer that is none of them.
    ways = {"lora": LORA, "loha": LOHA, "ia3": ("weight", "on_input", "alpha"), "lokr": LOKR, "oft": OFT}
    reading = _by_way(found, ways, unmatched, "dora by column")
    return Reading({}, list(tensors)) if len(reading.patches) < len(found) else reading


def _a1111_module(name: str) -> str:
    """The original's underscored name of a kohya module, with the block numbers of Stable Diffusion 1's layout."""
    for text in ("lora_te_", "lora_te1_"):
        if name.startswith(f"{text}text_model_"):
            return name.replace(text, "transformer_", 1)
    inner = {"conv1": "in_layers_2", "conv2": "out_layers_3", "time_emb_proj": "emb_layers_1"}
    inner["conv_shortcut"] = "skip_connection"
    edges = {"conv_in": "input_blocks_0_0", "conv_out": "out_2"}
    edges |= {"time_embedding_linear_1": "time_embed_0", "time_embedding_linear_2": "time_embed_2"}
    path = name.removeprefix("lora_unet_")
    if match := re.fullmatch(r"(down|up)_blocks_(\d)_(attentions|resnets)_(\d)_(.+)", path):
        side, block, sort, layer, rest = match.groups()
        place = 3 * int(block) + int(layer) + (side == "down")
        half, member = "input" if side == "down" else "output", int(sort == "attentions")
        path = f"{half}_blocks_{place}_{member}_{inner.get(rest, rest)}"
    elif match := re.fullmatch(r"mid_block_(attentions|resnets)_(\d)_(.+)", path):
        sort, layer, rest = match.groups()
        path = f"middle_block_{1 if sort == 'attentions' else 2 * int(layer)}_{inner.get(rest, rest)}"
    elif match := re.fullmatch(r"down_blocks_(\d)_downsamplers_0_conv", path):
        path = f"input_blocks_{3 * int(match[1]) + 3}_0_op"
    elif match := re.fullmatch(r"up_blocks_(\d)_upsamplers_0_conv", path):
        path = f"output_blocks_{3 * int(match[1]) + 2}_{2 if int(match[1]) else 1}_conv"
    return "diffusion_model_" + edges.get(path, path)


def comfyui(tensors: Tensors, layers: list[Layer]) -> Reading:
    """Goes through its model's layers and takes what the file has under any of the spellings that it accepts."""
    table = _by_target(layers)
    for layer in layers:
        if layer.network == "unet":
            table["lycoris_" + layer.diffusers.replace(".", "_")] = layer.name
            table["diffusion_model." + layer.original] = layer.name
        else:
            table["text_encoder." + layer.diffusers] = layer.name
    return _taken(tensors, table, {"lora": LORA, "loha": LOHA, "lokr": LOKR, "oft": OFT})


def forge(tensors: Tensors, layers: list[Layer]) -> Reading:
    """ComfyUI's way with fewer spellings. It forgives twelve unmatched tensors and drops the file at the thirteenth."""
    reading = _taken(tensors, _by_target(layers), {"lora": LORA, "loha": LOHA, "lokr": LOKR})
    return Reading({}, list(tensors)) if len(reading.unmatched) > FORGIVEN else reading


def _by_target(layers: list[Layer]) -> dict[str, str]:
    table = {}
    for layer in layers:
        if layer.network == "unet":
            for path in (layer.original, layer.diffusers):
                table["lora_unet_" + path.replace(".", "_")] = layer.name
        else:
            for prefix in ("lora_te_", "lora_te1_"):
                table[prefix + layer.diffusers.replace(".", "_")] = layer.name
    return table


def _taken(tensors: Tensors, table: dict[str, str], ways: Mapping[str, tuple[str, ...]]) -> Reading:
    """For each layer what the file has under its name, taken leaf by leaf; DoRA's lengths are divided by W's norms."""
    found: dict[str, dict[str, str]] = {}
    known = {leaf for leaves in ways.values() for leaf in leaves} | {LENGTHS}
    for module, layer in table.items():
        present = {leaf: key for leaf in known if (key := f"{module}.{leaf}") in tensors}
        if present:
            found[layer] = present
    used = {key for present in found.values() for key in present.values()}
    return _by_way(found, ways, [key for key in tensors if key not in used], "dora by old row")


def _by_way(
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
    needed = {"lora": LORA[:2], "loha": LOHA[:4], "oft": OFT[:1], "ia3": ("weight", "on_input")}[way]
    return set(needed) <= leaves


# The words in stable-diffusion.cpp's own names that hold an underscore; any other underscore it takes for a dot.
_WORDS = [
    "self_attn", "out_proj", "q_proj", "k_proj", "v_proj", "to_k", "to_q", "to_v", "to_out", "text_model",
    "down_blocks", "mid_block", "up_block", "proj_in", "proj_out", "transformer_blocks", "conv_in", "conv_out",
    "time_emb_proj", "conv_shortcut", "time_embedding", "conv_norm_out", "input_blocks", "output_blocks",
    "middle_block", "skip_connection", "emb_layers", "in_layers", "out_layers", "lora_down", "lora_up",
]  # fmt: skip


def stable_diffusion_cpp(tensors: Tensors, layers: list[Layer]) -> Reading:
    """Turns underscores back into dots, renames diffusers' blocks to the original's, and looks the weight up."""
    table = {}
    for layer in layers:
        root = "model.diffusion_model." if layer.network == "unet" else "cond_stage_model.transformer."
        table[root + layer.original] = layer.name
    found: dict[str, dict[str, str]] = {}
    unmatched = []
    for key in tensors:
        match = re.fullmatch(r"(?:lora|lycoris)[_.]([^.]+)\.(.+)", key)
        name = table.get(_cpp_module(match[1])) if match else None
        if match is None or name is None or match[2] not in CPP:
            unmatched.append(key)
        else:
            found.setdefault(name, {})[match[2]] = key
    return _by_way(found, {"lora": LORA, "loha": LOHA, "lokr": LOKR}, unmatched, "")


def _cpp_module(name: str) -> str:
    kept = {place for word in _WORDS for hit in re.finditer(word, name) for place in _underscores(hit)}
    path = "".join("." if letter == "_" and at not in kept else letter for at, letter in enumerate(name))
    for prefix in ("te.", "te1.", "text_encoder."):
        if path.startswith(prefix):
            return "cond_stage_model.transformer." + path.removeprefix(prefix)
    path = path.removeprefix("unet.")
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
    for ours, theirs in (("attentions.0.", "1."), ("resnets.0.", "0."), ("resnets.1.", "2.")):
        path = path.replace(f"mid_block.{ours}", f"middle_block.{theirs}")
    edges = {"conv_in": "input_blocks.0.0", "conv_out": "out.2"}
    return "model.diffusion_model." + edges.get(path, path)


def _underscores(hit: re.Match[str]) -> list[int]:
    return [at for at in range(hit.start(), hit.end()) if hit.string[at] == "_"]


def diffusers(tensors: Tensors, layers: list[Layer]) -> Reading:
    """Diffusers' own converters, which are installed here, up to the point where it would hand over to PEFT."""
    try:
        # The converter only moves tensors from name to name, so a copy of the dict tells by identity which went where.
        state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(dict(tensors))
    except (ValueError, KeyError):
        return Reading({}, list(tensors))
    patches: dict[str, Patch] = {}
    origin = {id(tensor): key for key, tensor in tensors.items()}
    for network in ("unet", "text_encoder"):
        own = {key.removeprefix(f"{network}."): t for key, t in state.items() if key.startswith(f"{network}.")}
        own_alphas = {
            key.removeprefix(f"{network}."): alpha
            for key, alpha in (alphas or {}).items()
            if key.startswith(f"{network}.")
        }
        if own:
            known = {layer.diffusers.removeprefix("text_model."): layer for layer in layers if layer.network == network}
            patches |= _as_peft(own, own_alphas, known, network == "unet", origin)
    used = {key for patch in patches.values() for _, key in patch.keys}
    used |= {f"{key.partition('.')[0]}.alpha" for key in used}
    return Reading(patches, [key for key in tensors if key not in used])


def _as_peft(
    state: dict[str, Tensor], alphas: dict[str, float], known: dict[str, Layer], is_unet: bool, origin: dict[int, str]
) -> dict[str, Patch]:
    """What PEFT would make of one network's tensors: its patterns decide each layer's rank and alpha."""
    try:
        if is_unet:
            state = convert_unet_state_dict_to_peft(state)
        else:
            state = convert_state_dict_to_peft(convert_state_dict_to_diffusers(state))
            state = {key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    except ValueError:  # diffusers infers the naming from the tensors that it expects in every file
        return {}
    ranks = {f"^{key}": tensor.shape[1] for key, tensor in state.items() if "lora_B" in key}
    config = get_peft_kwargs(ranks, alphas, state, is_unet=is_unet)
    patches = {}
    for path, layer in known.items():
        down, up = (state.get(f"{path}.lora_{side}.weight") for side in "AB")
        if down is None or up is None:
            continue
        rank = _pattern(config["rank_pattern"], path, config["r"])
        alpha = _pattern(config["alpha_pattern"], path, config["lora_alpha"])
        if rank == down.shape[0]:
            keys = (("lora_down.weight", origin[id(down)]), ("lora_up.weight", origin[id(up)]))
            patches[layer.name] = Patch("lora", keys, alpha / rank)
    return patches


def _pattern(patterns: dict[str, float], path: str, default: float) -> float:
    """PEFT's choice: the first pattern that the end of the path matches."""
    return next((value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", path)), default)


READERS: dict[str, Reader] = {
    "A1111": a1111,
    "Forge": forge,
    "ComfyUI": comfyui,
    "stable-diffusion.cpp": stable_diffusion_cpp,
    "diffusers": diffusers,
}
