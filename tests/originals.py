"""The tensors of the original releases' single files, named and shaped as their own modules are, without diffusers."""

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def _conv(name: str, into: int, out: int, kernel: int = 3) -> Shapes:
    return {f"{name}.weight": (out, into, kernel, kernel), f"{name}.bias": (out,)}


def _linear(name: str, into: int, out: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _resblock(name: str, into: int, out: int, told: int) -> Shapes:
    found = _norm(f"{name}.in_layers.0", into) | _conv(f"{name}.in_layers.2", into, out)
    found |= _linear(f"{name}.emb_layers.1", told, out)
    found |= _norm(f"{name}.out_layers.0", out) | _conv(f"{name}.out_layers.3", out, out)
    return found | (_conv(f"{name}.skip_connection", into, out, 1) if into != out else {})


def _transformer(name: str, width: int, text: int, depth: int, is_linear: bool) -> Shapes:
    found = _norm(f"{name}.norm", width)
    for end in ("proj_in", "proj_out"):
        found |= _linear(f"{name}.{end}", width, width) if is_linear else _conv(f"{name}.{end}", width, width, 1)
    for block in (f"{name}.transformer_blocks.{at}" for at in range(depth)):
        for attention, keys in (("attn1", width), ("attn2", text)):
            found |= _linear(f"{block}.{attention}.to_q", width, width, bias=False)
            for part in ("to_k", "to_v"):
                found |= _linear(f"{block}.{attention}.{part}", keys, width, bias=False)
            found |= _linear(f"{block}.{attention}.to_out.0", width, width)
        found |= _linear(f"{block}.ff.net.0.proj", width, 8 * width) | _linear(f"{block}.ff.net.2", 4 * width, width)
        for number in (1, 2, 3):
            found |= _norm(f"{block}.norm{number}", width)
    return found


def unet(channels: list[int], depths: list[int], text: int, is_linear: bool, layers: int = 2, told: int = 0) -> Shapes:
    """The UNetModel: depths of the transformers of each level, 0 for none. told: numbers about sizes and text."""
    first, wide = channels[0], 4 * channels[0]
    found = _linear("time_embed.0", first, wide) | _linear("time_embed.2", wide, wide)
    if told:
        found |= _linear("label_emb.0.0", told, wide) | _linear("label_emb.0.2", wide, wide)
    found |= _conv("input_blocks.0.0", 4, first)
    skips, now, at = [first], first, 1
    for level, width in enumerate(channels):
        for _ in range(layers):
            found |= _resblock(f"input_blocks.{at}.0", now, width, wide)
            if depths[level]:
                found |= _transformer(f"input_blocks.{at}.1", width, text, depths[level], is_linear)
            now, at = width, at + 1
            skips.append(now)
        if level < len(channels) - 1:
            found |= _conv(f"input_blocks.{at}.0.op", now, now)
            at += 1
            skips.append(now)
    found |= _resblock("middle_block.0", now, now, wide) | _resblock("middle_block.2", now, now, wide)
    found |= _transformer("middle_block.1", now, text, depths[-1] or 1, is_linear)
    at = 0
    for level, width in reversed(list(enumerate(channels))):
        for layer in range(layers + 1):
            found |= _resblock(f"output_blocks.{at}.0", now + skips.pop(), width, wide)
            now, member = width, 1
            if depths[level]:
                found |= _transformer(f"output_blocks.{at}.1", width, text, depths[level], is_linear)
                member = 2
            if level and layer == layers:
                found |= _conv(f"output_blocks.{at}.{member}.conv", now, now)
            at += 1
    return found | _norm("out.0", first) | _conv("out.2", first, 4)


def _vae_block(name: str, into: int, out: int) -> Shapes:
    found = _norm(f"{name}.norm1", into) | _conv(f"{name}.conv1", into, out)
    found |= _norm(f"{name}.norm2", out) | _conv(f"{name}.conv2", out, out)
    return found | (_conv(f"{name}.nin_shortcut", into, out, 1) if into != out else {})


def _vae_middle(name: str, width: int) -> Shapes:
    found = _vae_block(f"{name}.block_1", width, width) | _vae_block(f"{name}.block_2", width, width)
    found |= _norm(f"{name}.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        found |= _conv(f"{name}.attn_1.{part}", width, width, 1)
    return found


def vae(channels: list[int], layers: int = 2) -> Shapes:
    """The AutoencoderKL."""
    last = channels[-1]
    found = _conv("encoder.conv_in", 3, channels[0]) | _conv("decoder.conv_in", 4, last)
    now = channels[0]
    for level, width in enumerate(channels):
        for layer in range(layers):
            found |= _vae_block(f"encoder.down.{level}.block.{layer}", now, width)
            now = width
        if level < len(channels) - 1:
            found |= _conv(f"encoder.down.{level}.downsample.conv", now, now)
    for level, width in reversed(list(enumerate(channels))):
        for layer in range(layers + 1):
            found |= _vae_block(f"decoder.up.{level}.block.{layer}", now, width)
            now = width
        if level:
            found |= _conv(f"decoder.up.{level}.upsample.conv", now, now)
    found |= _vae_middle("encoder.mid", last) | _vae_middle("decoder.mid", last)
    found |= _norm("encoder.norm_out", last) | _conv("encoder.conv_out", last, 8)
    found |= _norm("decoder.norm_out", channels[0]) | _conv("decoder.conv_out", channels[0], 3)
    return found | _conv("quant_conv", 8, 8, 1) | _conv("post_quant_conv", 4, 4, 1)


def clip(width: int, layers: int, inner: int) -> Shapes:
    """transformers' CLIP text model as its release's file of 2022 has it."""
    found = {
        "embeddings.token_embedding.weight": (49408, width),
        "embeddings.position_embedding.weight": (77, width),
        **_norm("final_layer_norm", width),
    }
    for block in (f"encoder.layers.{layer}" for layer in range(layers)):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found |= _linear(f"{block}.self_attn.{part}", width, width)
        found |= _norm(f"{block}.layer_norm1", width) | _norm(f"{block}.layer_norm2", width)
        found |= _linear(f"{block}.mlp.fc1", width, inner) | _linear(f"{block}.mlp.fc2", inner, width)
    return {f"transformer.text_model.{name}": shape for name, shape in found.items()}


def openclip(width: int, layers: int, inner: int) -> Shapes:
    """OpenCLIP's text tower."""
    found: Shapes = {
        "positional_embedding": (77, width),
        "token_embedding.weight": (49408, width),
        "text_projection": (width, width),
        "logit_scale": (),
        **_norm("ln_final", width),
    }
    for block in (f"transformer.resblocks.{layer}" for layer in range(layers)):
        found |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        found |= _linear(f"{block}.attn.out_proj", width, width)
        found |= _norm(f"{block}.ln_1", width) | _norm(f"{block}.ln_2", width)
        found |= _linear(f"{block}.mlp.c_fc", width, inner) | _linear(f"{block}.mlp.c_proj", inner, width)
    return {f"model.{name}": shape for name, shape in found.items()}


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def model(family: str, is_full: bool = False) -> Shapes:
    """All tensors of a family's file, of the published size or as narrow as tests/bases.py's."""
    levels = [320, 640, 1280, 1280] if is_full else [32, 32, 64, 64]
    found = _under("first_stage_model.", vae([128, 256, 512, 512] if is_full else [8, 8, 16, 16], 2 if is_full else 1))
    own = "model.diffusion_model."
    if family == "sd1":
        width, layers, inner = (768, 12, 3072) if is_full else (32, 2, 64)
        found |= _under(own, unet(levels, [1, 1, 1, 0], width, is_linear=False))
        return found | _under("cond_stage_model.", clip(width, layers, inner))
    if family == "sd2":
        width, layers, inner = (1024, 24, 4096) if is_full else (32, 3, 64)
        found |= _under(own, unet(levels, [1, 1, 1, 0], width, is_linear=True))
        return found | _under("cond_stage_model.", openclip(width, layers, inner))
    levels, depths = ([320, 640, 1280], [0, 2, 10]) if is_full else ([32, 32, 64], [0, 1, 2])
    first, second = ((768, 12, 3072), (1280, 32, 5120)) if is_full else ((32, 2, 64), (48, 2, 96))
    told = 2816 if is_full else 96
    found |= _under(own, unet(levels, depths, first[0] + second[0], is_linear=True, told=told))
    found |= _under("conditioner.embedders.0.", clip(*first))
    return found | _under("conditioner.embedders.1.", openclip(*second))


def random(shapes: Shapes, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Small random numbers."""
    generator = torch.Generator().manual_seed(0)
    return {name: (torch.randn(shape, generator=generator) / 20).to(dtype) for name, shape in shapes.items()}
