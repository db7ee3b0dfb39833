"""What is fuzzed: whole examples of each kind, how they are spoiled, and everything of Limner that reads them."""

import base64
import collections
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save

from bench.fuzz import mutate
from limner.container import open_tensors
from limner.errors import UserError
from limner.formats import inspect, load_weights, picture
from limner.infotext import KEY, parse_infotext, read_picture
from limner.prompt import chunks, emphasis, parse_prompt
from limner.prompt_edits import timeline

Run = Callable[[bytes, Path], None]
LONGEST_SENTENCE = 1000  # characters beside the path
PARTS = ("w1_a", "w1_b", "w2_a", "w2_b")  # of a LoHa
COMMA = 267  # CLIP's id


@dataclass(frozen=True)
class Kind:
    """seeds: whole examples. mutate: one or more wounds. run: what must end well or in UserError, given a folder."""

    name: str
    seeds: Callable[[], list[bytes]]
    mutate: mutate.Mutator
    run: Run


def attempt(function: Callable[..., Any], *arguments: Any) -> None:
    """Call it; a UserError must be one readable sentence, and no other exception passes for an end."""
    try:
        function(*arguments)
    except UserError as error:
        short = isinstance(error.__cause__, MemoryError) or "allocate memory" in str(error)
        # but for Pillow, which asks for as much as a piece of a picture says that it has
        assert not short or str(arguments[0]).endswith(".png"), "more memory than there is was asked for"
        said = str(error).replace(str(arguments[0]), "") if isinstance(arguments[0], Path) else ""
        assert said.isprintable(), f"not one readable line: {said[:200]!r}"
        assert len(said) < LONGEST_SENTENCE, f"a sentence of {len(said)} characters: {said[:200]}"


def _run_file(data: bytes, folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(data)
    for function in (_read_all, load_weights, inspect):
        attempt(function, path)


def _read_all(path: Path) -> None:
    with open_tensors(path) as file:
        for name, shape in file.shapes.items():
            assert tuple(file.get(name).shape) == shape


def _run_prompt(data: bytes, folder: Path) -> None:
    attempt(_prompt, data.decode("utf-8", "replace"))


def _prompt(text: str) -> None:
    parsed = parse_prompt(text)
    for part in parsed.parts:
        for _, said in timeline(part.text, 20):
            emphasis(said)
            for chunk in chunks(said, lambda words: [[COMMA] if c == "," else [ord(c)] for c in words], COMMA):
                assert len(chunk.ids) == len(chunk.weights) <= 75


def _run_infotext(data: bytes, folder: Path) -> None:
    parse_infotext(data.decode("utf-8", "replace"))


def _run_png(data: bytes, folder: Path) -> None:
    path = folder / "x.png"
    path.write_bytes(data)
    for function in (read_picture, inspect, load_weights):
        attempt(function, path)


def _tensors() -> list[dict[str, torch.Tensor]]:
    """Small files of every layout that is read."""
    layer, text = "lora_unet_mid_block_attentions_0_proj_in", "lora_te_text_model_encoder_layers_0_mlp_fc1"
    path = "unet.mid_block.attentions.0.proj_in"
    down, up, one = torch.ones(2, 8), torch.ones(8, 2), torch.tensor(1.0)
    lora = {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up, f"{layer}.alpha": one}
    return [
        lora | {f"{text}.lora_down.weight": down.half(), f"{text}.lora_up.weight": up.half()},
        lora | {f"{layer}.dora_scale": torch.ones(8, 1), "bundle_emb.fox.string_to_param.*": torch.ones(1, 8)},
        {f"{layer}.hada_{part}": torch.ones(2, 8) if part[-1] == "b" else torch.ones(8, 2) for part in PARTS},
        {f"{layer}.lokr_w1": torch.ones(2, 2), f"{layer}.lokr_w2_a": up, f"{layer}.lokr_w2_b": down},
        {f"{layer}.oft_blocks": torch.zeros(2, 4, 4), f"{layer}.alpha": one},
        {f"{layer}.oft_blocks": torch.zeros(1, 2, 4, 4), f"{layer}.alpha": one, f"{layer}.rescale": torch.ones(8, 1)},
        {f"{layer}.{name}.weight": torch.ones(2, 2) for name in ("a1", "a2", "b1", "b2")},
        {f"{layer}.diff": torch.ones(8, 8), f"{layer}.diff_b": torch.ones(8)},
        {f"{layer}.w_norm": torch.ones(8), f"{layer}.b_norm": torch.ones(8)},
        {f"{layer}.lokr_w1_a": up, f"{layer}.lokr_w1_b": down, f"{layer}.lokr_w2": torch.ones(1, 1)},
        {f"{layer}.weight": torch.ones(8), f"{layer}.on_input": torch.tensor(1)},
        {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up},
        {"emb_params": torch.ones(2, 8, dtype=torch.float8_e4m3fn)},
        {"clip_l": torch.ones(2, 768).half(), "clip_g": torch.ones(2, 1280).half()},
        {"<fox>": torch.ones(8)},
        {"model.diffusion_model.out.2.weight": torch.ones(2, 2, dtype=torch.bfloat16), "v_pred": torch.zeros(0)},
    ]  # fmt: skip


def _safetensors() -> list[bytes]:
    metadata = {
        "ss_base_model_version": "sd_v1",
        "ss_network_dim": "2",
        "lora_adapter_metadata": '{"unet.lora_alpha": 3}',
    }
    return [save(tensors, said) for tensors in _tensors() for said in ({}, metadata)]


class _Device:
    """A tensor as torch saves it from a device that has no storage of its own."""

    def __reduce__(self) -> tuple[Any, ...]:
        array = np.ones((2, 8), dtype=np.float32)
        return torch._utils._rebuild_device_tensor_from_numpy, (array, torch.float32, "mps:0", False)


def _pickles(zipped: bool) -> list[bytes]:
    state = collections.OrderedDict(_tensors()[0])
    wrapped: list[Any] = [
        {"state_dict": state, "epoch": 1, "optimizer_states": [{"state": {0: torch.ones(2)}}], "step": np.int64(5)},
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.nn.Parameter(torch.ones(2, 8))}, "name": "fox"},
        {"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.ones(1, 8))})},
        {"*": _Device()},
        {"a": torch.arange(24).reshape(4, 6)[::2, 1:].t()},
    ]
    found = []
    for contents in (*_tensors(), *wrapped):
        for protocol in (2, 4):
            buffer = io.BytesIO()
            torch.save(contents, buffer, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
            found.append(buffer.getvalue())
    return found


def _prompts() -> list[bytes]:
    texts = (
        "a (fox:1.3), [in the [snow]] <lora:fox:0.8:0.5> BREAK a tree",
        "[[a fox:a cat:0.5]:dog:8] AND [red|blue|(green)] sky :1.2",
        "\\(literal\\) [to:0.25] [from::3] <lora:x:te=0.5:unet=1:dyn=4>",
        "",
    )
    return [text.encode() for text in texts]


def _infotexts() -> list[bytes]:
    texts = (
        "a fox\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64",
        'a fox\nSteps: 30, Lora hashes: "fox: 0123456789ab, x: \\"y\\"", Model: v1-5, Version: v1.10.1, RNG: CPU',
        "a fox in the snow",
    )
    return [text.encode() for text in texts]


def _pngs() -> list[bytes]:
    found = []
    for text in (text.decode() for text in _infotexts()):
        for said in (text, text + " 漢字"):
            for zipped in (False, True):
                chunks = PngInfo()
                chunks.add_text(KEY, said, zip=zipped)
                chunks.add_itxt("XML:com.adobe.xmp", "<x/>")
                buffer = io.BytesIO()
                Image.new("RGB", (8, 8), "red").save(buffer, format="PNG", pnginfo=chunks)
                found.append(buffer.getvalue())
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + text.encode("utf-16-be")
        for form in ("JPEG", "WEBP", "GIF"):
            buffer = io.BytesIO()
            comment: Any = {"comment": text.encode()} if form == "GIF" else {"exif": exif}
            Image.new("RGB", (8, 8), "red").save(buffer, format=form, **comment)
            found.append(buffer.getvalue())
    return found


def _embedding_pictures() -> list[bytes]:
    """Embeddings as the webui hides them: in a text chunk, and in the low bits of strips at the sides."""
    told = {"string_to_param": {"*": {picture.TENSOR: [[0.5] * 8]}}, "name": "fox"}
    chunks = PngInfo()
    chunks.add_text(picture.CHUNK, base64.b64encode(json.dumps(told).encode()).decode())
    height, width = 16, 4
    packed = np.zeros(height * width * 3, dtype=np.uint8)
    raw = np.frombuffer(zlib.compress(json.dumps(told).encode()), dtype=np.uint8)
    packed[: len(raw)] = raw
    strips = [
        0x30 | (half ^ picture.hiding(half.size)).reshape(height, width, 3) for half in (packed & 15, packed >> 4)
    ]
    divider, middle = np.full((height, 1, 3), 0x30, np.uint8), np.full((height, 8, 3), 0x37, np.uint8)
    whole = np.concatenate([strips[0], divider, middle, divider, strips[1]], axis=1).astype(np.uint8)
    found = []
    for image, said in ((Image.new("RGB", (8, 8)), chunks), (Image.fromarray(whole), None)):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", pnginfo=said)
        found.append(buffer.getvalue())
    return found


Image.init()  # Pillow imports its readers when it needs them, and imports are watched
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "safetensors",
            _safetensors,
            mutate.of_safetensors,
            lambda data, folder: _run_file(data, folder, "x.safetensors"),
        ),
        Kind("zip", lambda: _pickles(True), mutate.of_archive, lambda data, folder: _run_file(data, folder, "x.ckpt")),
        Kind("legacy", lambda: _pickles(False), mutate.of_legacy, lambda data, folder: _run_file(data, folder, "x.pt")),
        Kind("prompt", _prompts, mutate.of_text, _run_prompt),
        Kind("infotext", _infotexts, mutate.of_text, _run_infotext),
        Kind("png", lambda: _pngs() + _embedding_pictures(), mutate.of_png, _run_png),
    )
}
