"""Embeddings in prompts: called by file name, drawn as their vectors say, told in the picture, and gone afterwards."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from training import same, snapshot

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.device import generator
from limner.errors import UserError
from limner.files import sha256_file
from limner.formats import save_weights
from limner.generate import Request, generate, make_plan
from limner.infotext import parse_infotext
from limner.named import PromptFiles
from limner.weights import Weights

REQUEST = Request("a zqvx cat", steps=2, seed=7)


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> BaseModel:
    return open_base(tiny_folder, torch.device("cpu"), torch.float32)


def write(path: Path, vectors: torch.Tensor) -> Path:
    save_weights(Weights("embedding", "sd1", {"text_encoder": vectors}), path, dtype=torch.float32)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three embeddings of two vectors, and what is none of them."""
    folder = tmp_path / "embeddings"
    for seed, name in enumerate(("zqvx", "deep/wpfh", "bad-hands-5")):
        write(folder / f"{name}.safetensors", torch.randn(2, 32, generator=generator(seed)))
    (folder / "notes.txt").write_text("zqvx is the dog")
    (folder / "broken.pt").write_bytes(b"PK\x03\x04")
    return folder


def pixels(model: BaseModel, request: Request, files: PromptFiles | None = None) -> np.ndarray:
    return np.stack([np.asarray(made.image).astype(int) for made in generate(model, request, files)])


def test_a_prompt_says_an_embedding_by_its_files_name(base: BaseModel, folder: Path) -> None:
    before, files = snapshot(base), PromptFiles(embeddings=[folder])
    assert files.embeddings() == ["bad-hands-5", "broken", "wpfh", "zqvx"]
    plain = pixels(base, REQUEST)
    with_it = pixels(base, REQUEST, files)
    assert not np.array_equal(with_it, plain)
    assert np.array_equal(pixels(base, replace(REQUEST, prompt="a ZQVX cat"), files), with_it)
    assert np.array_equal(pixels(base, REQUEST), plain)
    assert same(snapshot(base), before)
    assert "zqvx" not in base.words


def test_two_words_of_the_vocabulary_as_an_embedding_are_those_two_words(base: BaseModel, tmp_path: Path) -> None:
    table = base.words.vocabularies["text_encoder"]
    path = write(tmp_path / "zqvx.safetensors", table[base.tokenize("red fox")])
    files = PromptFiles(embeddings=[path])
    for ours, plain in (
        ("a zqvx cat", "a red fox cat"),
        ("a (zqvx:1.4) [zqvx:dog:1]", "a (red fox:1.4) [red fox:dog:1]"),
    ):
        request = replace(REQUEST, prompt=ours, negative_prompt="a zqvx")
        wanted = replace(REQUEST, prompt=plain, negative_prompt="a red fox")
        assert np.array_equal(pixels(base, request, files), pixels(base, wanted))


def test_the_picture_tells_of_the_embeddings_that_it_used(base: BaseModel, folder: Path) -> None:
    request = replace(REQUEST, prompt="a [zqvx|dog] cat", negative_prompt="(bad-hands-5:1.2)", steps=1)
    (made,) = generate(base, request, PromptFiles(embeddings=[folder]))
    said = parse_infotext(made.infotext).settings["TI hashes"]
    digits = {name: sha256_file(folder / f"{name}.safetensors")[:12] for name in ("zqvx", "bad-hands-5")}
    assert dict(each.split(": ") for each in said.split(", ")) == digits
    (plain,) = generate(base, replace(request, prompt="a cat", negative_prompt=""), PromptFiles(embeddings=[folder]))
    assert "TI hashes" not in parse_infotext(plain.infotext).settings


def test_only_what_is_said_is_read(base: BaseModel, folder: Path) -> None:
    files = PromptFiles(embeddings=[folder])
    assert len(make_plan(base, REQUEST, files).embeddings) == 1
    with pytest.raises(UserError, match=r"broken\.pt"):
        make_plan(base, replace(REQUEST, prompt="a broken vase"), files)


def test_a_word_in_training_goes_before_a_file_of_its_name(base: BaseModel, folder: Path) -> None:
    files = PromptFiles(embeddings=[folder])
    undo = base.words.add("zqvx", {"text_encoder": torch.zeros(1, 32)})
    assert make_plan(base, REQUEST, files).embeddings == []
    undo()


@pytest.mark.parametrize(
    ("file", "family", "prompt", "said"),
    [
        ("new.safetensors", "sd2", "a new cat", r"new\.safetensors was made for sd2"),
        ("deep/zqvx.safetensors", "sd1", "a zqvx", "could be"),
        ("ZQVX.safetensors", "sd1", "a zqvx", "could be .*ZQVX.safetensors, .*zqvx.safetensors; rename"),
        ("new.safetensors", "sd1", "a <lora:new:1>", "is an embedding, not a LoRA"),
    ],
)
def test_what_cannot_be_meant_is_told(
    base: BaseModel, folder: Path, file: str, family: str, prompt: str, said: str
) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    save_file({"emb_params": torch.ones(2, {"sd1": 32, "sd2": 1024}[family])}, folder / file)
    files = PromptFiles(folder, embeddings=[folder])
    with pytest.raises(UserError, match=said):
        list(generate(base, replace(REQUEST, prompt=prompt), files))


def test_a_place_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no embedding file or folder"):
        PromptFiles(embeddings=[tmp_path / "missing"])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("PK", "pk.safetensors"),
        ("pk.safetensors", "pk.safetensors"),
        ("pk.SafeTensors", "pk.safetensors"),
        (" pk ", "pk.safetensors"),
        ("up", "UP.SAFETENSORS"),
        ("UP.SAFETENSORS", "UP.SAFETENSORS"),
        ("up.safetensors", "UP.SAFETENSORS"),
        ("people/anna", "people/anna.pt"),
        ("People\\Anna.PT", "people/anna.pt"),
        ("pets/anna", "pets/anna.safetensors"),
        ("anna.pt", "people/anna.pt"),
        ("caf\u00e9", "cafe\u0301.safetensors"),
        ("CAFE\u0301", "cafe\u0301.safetensors"),
        ("v1.5", "v1.5.safetensors"),
        ("My Dog v2", "x7.safetensors"),
        ("my dog V2", "x7.safetensors"),
        ("Twin", "Twin.safetensors"),
        ("twin", "twin.ckpt"),
        ("Deep", "x8.safetensors"),  # as it is written exactly, though only in the metadata
        ("deep", "deep.safetensors"),
    ],
)
def test_a_lora_is_found_by_whatever_people_call_it(tmp_path: Path, name: str, file: str) -> None:
    aliases = {"x7.safetensors": "My Dog v2", "x8.safetensors": "Deep"}
    for each in (
        "pk.safetensors", "UP.SAFETENSORS", "people/anna.pt", "pets/anna.safetensors", "cafe\u0301.safetensors",
        "v1.5.safetensors", "x7.safetensors", "x8.safetensors", "Twin.safetensors", "twin.ckpt", "deep.safetensors",
    ):  # fmt: skip
        path = tmp_path / each
        path.parent.mkdir(exist_ok=True)
        save_file({"a": torch.zeros(1)}, path, {"ss_output_name": aliases.get(each, "")})
    assert PromptFiles(tmp_path).find_lora(name) == tmp_path / file


def test_a_lora_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    for name in ("zqvx-dog", "zqvx-cat", "sunset", "portrait"):
        save_file({"a": torch.zeros(1)}, tmp_path / f"{name}.safetensors", {"ss_output_name": "Watercolours"})
    files = PromptFiles(tmp_path)
    with pytest.raises(UserError, match=re.escape("did you mean <lora:zqvx-dog> or <lora:zqvx-cat>?")):
        files.find_lora("ZQVX-DOGE.safetensors")
    with pytest.raises(UserError, match=re.escape("<lora:Watercolours>")):
        files.find_lora("watercolour")
    with pytest.raises(UserError, match=r"none of the 4 LoRAs in .* has a name like it"):
        files.find_lora("qqq")
    save_file({"a": torch.zeros(1)}, tmp_path / "zqvx-dog.pt")
    with pytest.raises(UserError, match=r"could be .*dog\.pt"):
        PromptFiles(tmp_path).find_lora("zqvx-dog")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"there are no LoRAs in .*empty"):
        PromptFiles(tmp_path / "empty").find_lora("a")


def test_files_given_by_themselves_that_no_prompt_names_are_told(tmp_path: Path) -> None:
    lora, word = tmp_path / "one.safetensors", tmp_path / "Two.pt"
    for path in (lora, word):
        save_file({"a": torch.zeros(1)}, path)
    files = PromptFiles(lora, embeddings=[word])
    assert files.not_named(["ONE"], ["a two"]) == []
    first, second = files.not_named([], ["a cat"])
    assert "write <lora:one:1>" in first
    assert "no prompt says 'Two'" in second
    assert PromptFiles(tmp_path, embeddings=[tmp_path]).not_named([], [""]) == []
