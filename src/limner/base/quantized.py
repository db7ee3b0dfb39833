"""Checkpoints of fewer bits than 16: float8 with scales, which are multiplied in, and other formats, which are refused.

A float8 weight stands for itself, or for itself times a scale: one for all of it, or one for each of its rows. The
scale of `<layer>.weight` is called `<layer>.scale_weight` (ComfyUI until 2025) or `<layer>.weight_scale` (ComfyUI
since, vLLM and others). The marks and the scales of a layer's inputs beside it only matter to programs that compute in
8 bits.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

ADVICE = "use the same model in fp16, bf16 or fp32"
SCALE = re.compile(r"(?P<layer>.*?)(?:scale_weight|weight_scale|weight_scale_inv|weight\.scale|weight\.scale_inv)")
MARK = re.compile(r"(?:.*[._])?(?:scale_input|input_scale|scale_output|output_scale|comfy_quant|scaled_fp8)")
COMFY = "comfy_quant"  # ends the name of a tensor of bytes, a layer's format as JSON
COMFY_METADATA = "_quantization_metadata"  # the same of all layers, in a file's metadata
# Names that only weights of one quantized format have beside them, or in their place.
_FORMATS = {
    r".*\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__\w+)": (
        "4-bit numbers of bitsandbytes (NF4 or FP4)"
    ),
    r".*\.(?:SCB|weight_format)": "8-bit integers of bitsandbytes",
    r".*\.weight\._(?:data|scale|shift)(?:\..*)?": "numbers quantized by quanto",
    r".*(?::|\._weight_)(?:qdata|scale|zero_point)|.*\.tensor_impl\..*": "numbers quantized by torchao",
    r".*\.(?:wscales|wtscale|wcscales|smooth_factor|smooth_factor_orig)": "4-bit numbers of SVDQuant (Nunchaku)",
    r".*\.(?:qweight|qzeros|g_idx)": "integers of GPTQ or AWQ",
    r".*\.W_q": "numbers quantized by HQQ",
    r".*\.weight_scale_2": "4-bit numbers of NVFP4",
}


def refusal(shapes: Shapes, metadata: Mapping[str, str], dtypes: Mapping[str, Any] | None = None) -> str:
    """Why weights in a quantized format are not opened, "" if they are in none or one that Limner reads.

    dtypes: torch's, of the tensors, if they are known.
    """
    for pattern, title in _FORMATS.items():
        expression = re.compile(pattern)
        if mark := next((name for name in shapes if expression.fullmatch(name)), None):
            return f"its weights are {title} ({mark}), which Limner does not read; {ADVICE}"
    if odd := unknown_format(formats_in(metadata.get(COMFY_METADATA, ""))):
        return f"its weights are quantized as {odd}, which Limner does not read; {ADVICE}"
    scales = scales_of(shapes)
    for weight, scale in scales.items():
        if shape_of(shapes[scale], shapes[weight]) is None:
            return (
                f"its {scale} has the shape {shapes[scale]} for a weight of {shapes[weight]}, so that its weights are "
                f"quantized in blocks, which Limner does not read; {ADVICE}"
            )
    if not scales and (mark := next((name for name in shapes if name.endswith("scaled_fp8")), None)):
        return f"its mark {mark} says that its float8 weights have scales, and there are none; use another copy"
    whole = next(
        (n for n, dtype in (dtypes or {}).items() if _is_weight(n, shapes) and not dtype.is_floating_point), None
    )
    if whole:
        assert dtypes is not None
        return (
            f"its {whole} is stored as {_plain(dtypes[whole])}, a quantized format that Limner does not know; {ADVICE}"
        )
    return ""


def scales_of(shapes: Shapes) -> dict[str, str]:
    """{a weight: the name of its scale}."""
    found = {}
    for name in shapes:
        match = SCALE.fullmatch(name)
        if match is not None and f"{match['layer']}weight" in shapes:
            found[f"{match['layer']}weight"] = name
    return found


def shape_of(scale: tuple[int, ...], weight: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which a scale multiplies a weight: one for all, or one for each row or column; else None."""
    if all(side == 1 for side in scale):
        return (1,) * len(weight)
    shape = (*scale, *[1] * (len(weight) - len(scale)))
    fits = len(scale) <= len(weight) and all(one in (1, all_) for one, all_ in zip(shape, weight, strict=True))
    return shape if fits and sum(side > 1 for side in scale) == 1 else None


def formats_in(text: str) -> list[str]:
    """The formats that ComfyUI's JSON names: of one layer, or of all of a file; [""] for what cannot be read."""
    if not text:
        return []
    try:
        told = json.loads(text)
        layers = told["layers"].values() if "layers" in told else [told]
        return [str(layer["format"]) for layer in layers]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return [""]


def unknown_format(formats: list[str]) -> str:
    """One of ComfyUI's formats that is not float8, or ""."""
    known = ("float8_e4m3fn", "float8_e5m2")
    return next((each or "something that its JSON does not say" for each in formats if not each.startswith(known)), "")


def is_float8(dtype: Any) -> bool:
    """Whether a torch dtype has eight bits and a sign."""
    return dtype.is_floating_point and dtype.itemsize == 1 and dtype.is_signed


def _is_weight(name: str, shapes: Shapes) -> bool:
    return name.endswith("weight") and len(shapes[name]) > 1


def _plain(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
