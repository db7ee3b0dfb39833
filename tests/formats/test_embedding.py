"""Embedding files: every layout that is about, what programs make of ours, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from limner.base.model import BaseModel
from limner.device import generator
from limner.errors import UserError
from limner.formats import inspect, load_weights, save_weights
from limner.formats.embedding import Embedding
from limner.methods.embedding import Embedding as Method
from limner.weights import Weights

VECTORS = 0.02 * torch.randn(3, 32, generator=generator(3))


def embedding(vectors: torch.Tensor = VECTORS, family: str = "sd1") -> Weights:
    return Weights("embedding", family, {"text_encoder": vectors}, name="zqvx")


def vectors_of(path: Path) -> torch.Tensor:
    return load_weights(path).tensors["text_encoder"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_written_is_read_by_every_program(tiny_base: BaseModel, tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "zqvx.safetensors"
    saved = save_weights(embedding(), path, dtype=dtype, model=tiny_base)
    assert {r.reader for r in saved.reports} == {"A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"}
    half = {"stable-diffusion.cpp"} if dtype != torch.float32 else set()  # tests/formats/test_stable_diffusion_cpp.py
    assert {report.reader for report in saved.reports if report.fault or report.matched != 3} == half
    assert load_file(path)["emb_params"].dtype == dtype
    read = load_weights(path)
    assert (read.kind, read.family, read.name) == ("embedding", "sd1", "zqvx")
    torch.testing.assert_close(read.tensors["text_encoder"], VECTORS.to(dtype).float(), rtol=0, atol=0)
    summary = inspect(path)
    assert summary.kind == "embedding"
    assert summary.metadata["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"


def test_diffusers_takes_it_for_the_same_vectors(tiny_folder: Path, tiny_base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "zqvx.safetensors"
    save_weights(embedding(), path, dtype=torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipeline.load_textual_inversion(path, token="zqvx")
    with torch.no_grad():
        theirs = pipeline.encode_prompt("a zqvx cat", "cpu", 1, False)[0]
        Method.apply(tiny_base, load_weights(path))
        ours = tiny_base.encode_prompts(["a zqvx cat"]).hidden_states
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def webui(vectors: torch.Tensor) -> dict:
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "other", "step": 9}


@pytest.mark.parametrize(
    ("contents", "zipped"),
    [
        (webui(VECTORS), True),
        (webui(VECTORS), False),
        (webui(torch.nn.Parameter(VECTORS)), True),
        ({"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS)})}, True),
        ({"<zqvx>": VECTORS}, True),
        ({"<zqvx>": VECTORS[0]}, False),
    ],
    ids=["webui", "webui, unzipped", "webui, parameter", "webui, old", "diffusers", "diffusers, unzipped"],
)
def test_pickled_layouts(tmp_path: Path, contents: dict, zipped: bool) -> None:
    path = tmp_path / "zqvx.pt"
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    read = load_weights(path)
    assert read.name == "zqvx"
    assert torch.equal(read.tensors["text_encoder"], VECTORS[: len(read.tensors["text_encoder"])])


@pytest.mark.parametrize(("name", "tensor"), [("emb_params", VECTORS), ("<zqvx>", VECTORS), ("*", VECTORS[0])])
def test_safetensors_layouts(tmp_path: Path, name: str, tensor: torch.Tensor) -> None:
    path = tmp_path / "zqvx.safetensors"
    save_file({name: tensor.contiguous()}, path)
    assert torch.equal(vectors_of(path), torch.atleast_2d(tensor))


def test_the_family_is_told_by_widths(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, path)
    assert load_weights(path).family == inspect(path).family == "sdxl"
    for width, family in ((768, "sd1"), (1024, "sd2"), (192, "sd1")):
        save_file({"emb_params": torch.ones(2, width)}, path)
        assert load_weights(path).family == family
        torch.save(webui(torch.ones(2, width)), path.with_suffix(".pt"))
        assert load_weights(path.with_suffix(".pt")).family == family


def test_an_embedding_for_another_base_is_refused(tiny_base: BaseModel) -> None:
    with pytest.raises(UserError, match="is for sd2"):
        Method.apply(tiny_base, embedding(family="sd2"))
    with pytest.raises(UserError, match="width 32"):
        Method.apply(tiny_base, embedding(torch.ones(1, 768)))
    assert "zqvx" not in tiny_base.words


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.write_text, (Path("ran"), "it ran"))


def test_nothing_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for zipped in (True, False):
        torch.save({"*": Evil()}, "evil.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match=r"evil\.pt asks for __builtin__\.getattr"):
            load_weights(Path("evil.pt"))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"a": VECTORS, "b": VECTORS}, r"2 tensors that could each be an embedding \(a, b\)"),
        ({}, "no tensors by name"),
        ({"*": torch.full((1, 32), float("nan"))}, "no vectors"),
        ({"*": torch.zeros(0, 32)}, "no vectors"),
        ({"*": torch.zeros(1, 2, 3)}, "looks like: unknown"),
        ([VECTORS], "no tensors by name"),
    ],
)
def test_what_is_no_embedding_is_told(tmp_path: Path, contents: object, said: str) -> None:
    path = tmp_path / "x.pt"
    torch.save(contents, path)
    with pytest.raises(UserError, match=said):
        load_weights(path)


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(webui(VECTORS), path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="damaged"):
        load_weights(path)


def test_a_file_that_programs_would_read_wrongly_is_not_kept(
    tiny_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Embedding.serialize
    wrong = embedding(VECTORS * 1.01)
    monkeypatch.setattr(Embedding, "serialize", staticmethod(lambda weights, *rest: plain(wrong, *rest)))
    with pytest.raises(UserError, match="A1111 would not read"):
        save_weights(embedding(), tmp_path / "zqvx.safetensors", model=tiny_base)
    assert not list(tmp_path.iterdir())


def test_what_the_file_cannot_hold_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="float16"):
        save_weights(embedding(torch.full((1, 32), 1e6)), tmp_path / "x.safetensors", dtype=torch.float16)
    with pytest.raises(UserError, match="not a sd9"):
        save_weights(embedding(family="sd9"), tmp_path / "x.safetensors")


def test_the_command_line_shows_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "zqvx.safetensors"
    save_weights(embedding(), path)
    told = subprocess.run(
        [sys.executable, "-m", "limner", "inspect", str(path), "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout.splitlines()[-1])["kind"] == "embedding"
