"""Embeddings of XL and of other layouts, and what is told of files that are for something else."""

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

from limner.base.model import BaseModel
from limner.device import generator
from limner.errors import UserError
from limner.formats import load_weights, picture, save_weights
from limner.methods.embedding import Embedding as Method
from limner.weights import Weights

OpenTiny = Callable[[str], BaseModel]
FIRST, SECOND = (0.02 * torch.randn(3, width, generator=generator(width)) for width in (32, 48))


def both(first: torch.Tensor = FIRST, second: torch.Tensor = SECOND) -> Weights:
    return Weights("embedding", "sdxl", {"text_encoder": first, "text_encoder_2": second}, name="zqvx")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_xls_two_tensors(tmp_path: Path, open_tiny: OpenTiny, dtype: torch.dtype) -> None:
    path = tmp_path / "zqvx.safetensors"
    saved = save_weights(both(), path, dtype=dtype, model=open_tiny("sdxl"))
    assert load_file(path).keys() == {"clip_l", "clip_g"}
    told = {report.reader: (report.matched, bool(report.fault)) for report in saved.reports}
    cpp = (3, False) if dtype == torch.float32 else (0, True)
    assert told == dict.fromkeys(("A1111", "Forge", "ComfyUI"), (3, False)) | {
        "stable-diffusion.cpp": cpp,
        "diffusers": (0, True),
    }
    read = load_weights(path)
    assert (read.family, read.metadata["modelspec.architecture"]) == (
        "sdxl",
        "stable-diffusion-xl-v1-base/textual-inversion",
    )
    for network, vectors in both().tensors.items():
        torch.testing.assert_close(read.tensors[network], vectors.to(dtype).float(), rtol=0, atol=0)


def test_diffusers_takes_each_tensor_for_the_same_vectors(
    tmp_path: Path, tiny_folders: Callable[[str], Path], open_tiny: OpenTiny
) -> None:
    """What the fault's sentence says: one by one, each with its tokenizer and text encoder."""
    path = tmp_path / "zqvx.safetensors"
    save_weights(both(), path, dtype=torch.float32)
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_folders("sdxl"), add_watermarker=False)
    with pytest.raises(ValueError, match="single key"):
        pipeline.load_textual_inversion(path, token="zqvx")
    for name, number in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            load_file(path)[name],
            token="zqvx",
            text_encoder=getattr(pipeline, f"text_encoder{number}"),
            tokenizer=getattr(pipeline, f"tokenizer{number}"),
        )
    model = open_tiny("sdxl")
    with torch.no_grad():
        theirs = pipeline.encode_prompt("a zqvx cat", device="cpu", do_classifier_free_guidance=False)[0]
        Method.apply(model, load_weights(path))
        ours = model.encode_prompts(["a zqvx cat"]).hidden_states
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_sd2s_is_one_tensor(tmp_path: Path, open_tiny: OpenTiny) -> None:
    path = tmp_path / "zqvx.safetensors"
    weights = Weights("embedding", "sd2", {"text_encoder": FIRST}, name="zqvx")
    saved = save_weights(weights, path, dtype=torch.float32, model=open_tiny("sd2"))
    assert all(report.matched == 3 and not report.fault for report in saved.reports)
    read = load_weights(path)
    assert (read.family, read.metadata["ss_v2"]) == ("sd2", "True")


def test_older_names_of_xls_two(tmp_path: Path) -> None:
    save_file({"text_encoders_0": FIRST, "text_encoders_1": SECOND}, tmp_path / "x.safetensors")
    assert torch.equal(load_weights(tmp_path / "x.safetensors").tensors["text_encoder_2"], SECOND)


def webui(**tensors: torch.Tensor) -> dict:
    return {"string_to_param": {"*": tensors["one"]}, "name": "other", "step": 3, "sd_checkpoint": "abc"}


@pytest.mark.parametrize("suffix", [".pt", ".bin"])
def test_pickled_pairs(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    torch.save({"clip_g": SECOND, "clip_l": FIRST}, path)
    read = load_weights(path)
    assert read.family == "sdxl"
    assert torch.equal(read.tensors["text_encoder"], FIRST)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_word_of_several_tokens_in_diffusers(tmp_path: Path, suffix: str) -> None:
    """`x`, `x_1`, `x_2` are one word; others are several, of which a file's name can call only one."""
    path = tmp_path / f"learned_embeds{suffix}"

    def write(names: list[str]) -> None:
        tensors = {name: FIRST[at].clone() for at, name in enumerate(names)}
        save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)

    write(["<fox>", "<fox>_1", "<fox>_2"])
    assert torch.equal(load_weights(path).tensors["text_encoder"], FIRST)
    write(["<fox>", "<cat>"])
    with pytest.raises(UserError, match=r"2 tensors that could each be an embedding \(<cat>, <fox>\)"):
        load_weights(path)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"clip_l": FIRST, "clip_g": SECOND[:1]}, "3 and 1 vectors"),
        ({"clip_g": torch.ones(2, 1280)}, "one of XL's two text encoders only"),
        ({"clip_l": FIRST * torch.inf, "clip_g": SECOND}, "no vectors that could be used"),
    ],
)
def test_pairs_that_do_not_go_together(tmp_path: Path, tensors: dict[str, torch.Tensor], said: str) -> None:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=said):
        load_weights(tmp_path / "x.safetensors")


def test_the_wrong_family_is_told(tmp_path: Path, open_tiny: OpenTiny) -> None:
    with pytest.raises(UserError, match="is for sdxl, but"):
        Method.apply(open_tiny("sd1"), both())
    one = Weights("embedding", "sdxl", {"text_encoder": FIRST}, name="zqvx")
    with pytest.raises(UserError, match="has 2 text encoders"):
        save_weights(one, tmp_path / "x.safetensors")


def chunk_of(contents: object) -> PngInfo:
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(json.dumps(contents).encode()).decode())
    return info


def as_webui(vectors: torch.Tensor) -> dict:
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": {"TORCHTENSOR": vectors.tolist()}},
        "name": "zqvx",
        "step": 5,
    }


def test_a_picture_with_a_text_chunk(tmp_path: Path) -> None:
    path = tmp_path / "zqvx.png"
    Image.new("RGB", (64, 64), "red").save(path, pnginfo=chunk_of(as_webui(FIRST)))
    read = load_weights(path)
    assert (read.kind, read.name) == ("embedding", "zqvx")
    torch.testing.assert_close(read.tensors["text_encoder"], FIRST)
    pair = {"clip_l": {"TORCHTENSOR": FIRST.tolist()}, "clip_g": {"TORCHTENSOR": SECOND.tolist()}}
    Image.new("RGB", (64, 64), "red").save(path, pnginfo=chunk_of(pair))
    assert load_weights(path).family == "sdxl"


def with_strips(contents: bytes, height: int = 48) -> Image.Image:
    """A picture as interop 2.2 has it, made the plain way, number by number."""
    data = list(contents) + [0] * (-len(contents) % (3 * height))
    state, hidden = 0, []
    for _ in data:
        state = (1664525 * state + 1013904223) % 2**32
        hidden.append(state % 255 & 0x0F)
    shape = (height, len(data) // (3 * height), 3)
    halves = [[(byte >> shift & 0x0F) ^ key for byte, key in zip(data, hidden, strict=True)] for shift in (0, 4)]
    low, high = (0xA0 | np.array(half, dtype=np.uint8).reshape(shape) for half in halves)
    divider = np.full((height, 1, 3), 0x10, dtype=np.uint8)
    middle = np.random.default_rng(1).integers(1, 255, (height, 40, 3), dtype=np.uint8) | 1
    return Image.fromarray(np.concatenate([low, divider, middle, divider, high], axis=1))


def test_a_picture_with_strips(tmp_path: Path) -> None:
    path = tmp_path / "zqvx.png"
    with_strips(zlib.compress(json.dumps(as_webui(FIRST)).encode(), 9)).save(path)
    torch.testing.assert_close(load_weights(path).tensors["text_encoder"], FIRST)


def test_what_pictures_hold_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(b" " * (picture.MAX_JSON + 10), 9)
    with_strips(bomb).save(tmp_path / "bomb.png")
    with pytest.raises(UserError, match="without an embedding"):
        load_weights(tmp_path / "bomb.png")
    monkeypatch.setattr(picture, "MAX_JSON", 100)
    Image.new("RGB", (64, 64)).save(tmp_path / "long.png", pnginfo=chunk_of(as_webui(FIRST)))
    with pytest.raises(UserError, match="without an embedding"):
        load_weights(tmp_path / "long.png")
    monkeypatch.setattr(picture, "MAX_PIXELS", 100)
    with pytest.raises(UserError, match="larger than any picture"):
        load_weights(tmp_path / "long.png")


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ([], "cannot be read"),
        ({"string_to_param": {"*": {"TORCHTENSOR": "x"}}}, "cannot be read"),
        ({"string_to_param": {"*": {"TORCHTENSOR": [[1, 2], [3]]}}}, "cannot be read"),
        ({"string_to_param": {"*": 3}}, "0 tensors"),
    ],
)
def test_strange_embeddings_in_pictures(tmp_path: Path, contents: object, said: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png", pnginfo=chunk_of(contents))
    with pytest.raises(UserError, match=said):
        load_weights(tmp_path / "x.png")


def test_pictures_without_one_and_damaged_ones(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (64, 64), "red").save(path)
    with pytest.raises(UserError, match="without an embedding"):
        load_weights(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="damaged picture"):
        load_weights(path)


@given(st.binary(max_size=400))
def test_no_picture_crashes_the_reader(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        with_strips(data or b"x").save(path)
        for contents in (path.read_bytes(), picture.START + data):
            path.write_bytes(contents)
            with pytest.raises(UserError):
                load_weights(path)
