"""Keyword advice: known words react strongly, strings that nobody has seen hardly; proposals are rare and decent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.cli import main
from limner.data.keyword import COMMON_BELOW, OFFENSIVE, TRAPS
from limner.evaluate.pictures import draw, encode
from limner.evaluate.reaction import Form, Reactions, never_seen
from limner.generate import Request


@pytest.fixture(scope="module")
def pocket() -> BaseModel:
    return open_base("pocket", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def reactions(pocket: BaseModel) -> Reactions:
    (images,) = draw(pocket, ["a thing"], None, Request("", steps=6, seed=0, count=1))
    return Reactions(pocket, Form(""), [encode(pocket, images[0])[0].float()], 0)


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*arguments, "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("word", ["fox", *(pytest.param(each, marks=pytest.mark.slow) for each in ("rose", "ghost"))])
def test_the_pocket_base_reacts_to_objects_that_it_knows(word: str, reactions: Reactions) -> None:
    meaning = reactions.of([word])[0].meaning
    assert meaning is not None
    assert meaning > 0.5


def test_it_hardly_reacts_to_strings(pocket: BaseModel, reactions: Reactions) -> None:
    words = [word for seed in (1, 2) for word in never_seen(pocket, seed)]
    meanings = [each.meaning or 0.0 for each in reactions.of(words)]
    assert max(meanings) < 0.45
    assert sum(meanings) / len(meanings) < 0.2


def test_figures_are_those_of_their_definition(pocket: BaseModel, reactions: Reactions) -> None:
    (found,) = reactions.of(["fox"])
    assert [found] == reactions.of(["fox"])
    assert found.noise.floor < found.noise.ceiling
    assert found.text.floor < found.text.ceiling < 2
    middle = [each.noise.score for each in reactions.of(never_seen(pocket, 0))]
    assert max(middle) < found.noise.floor * 1.5  # of which the mean is made: near it


def test_words_that_mean_the_same(reactions: Reactions) -> None:
    like = reactions.like("rose", 5)
    assert len(set(like)) == len(like)
    assert "rose" not in like
    assert {"strawberry", "tomato", "pepper", "chili", "apple", "watermelon"} & set(like)


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_every_base_is_asked(
    family: str, tiny_folders: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    arguments = ["keyword", "Zqvx sks", "--class", "dog", "--base", str(tiny_folders(family)), "--device", "cpu"]
    arguments += ["--precision", "fp32", "--count", "1", "--drawing-steps", "2", "--proposals", "3"]
    found = told([*arguments, "--out", str(sheet)], capsys)
    assert found["tokens"].keys() == {"text_encoder"} | ({"text_encoder_2"} if family == "sdxl" else set())
    for tokens in found["tokens"].values():
        assert "".join(token["text"] for token in tokens).replace("</w>", " ").strip() == "zqvx sks"
    assert found["vocabulary"] == 49408
    assert found["trap"] == {"draws": TRAPS["sks"][0], "source": TRAPS["sks"][1]}
    assert found["verdict"] in ("poor", "unknown")
    assert len(found["proposals"]) == 3
    for proposal in found["proposals"]:
        word = proposal["keyword"]
        assert min(token["id"] for token in proposal["tokens"]) > 512
        assert max(token["id"] for token in proposal["tokens"]) >= COMMON_BELOW or len(proposal["tokens"]) == 2
        assert word not in ("zqvx", "sks")
        assert not any(part in word for part in OFFENSIVE)
        assert not set("aeiou") & set(word)
    figure = found["pictures_moved"]
    assert 0 <= figure["score"] <= 2
    assert Image.open(sheet).width > 300
    again = told(arguments, capsys)
    assert {**again, "seconds": 0, "file": None} == {**found, "seconds": 0, "file": None}


def test_proposals_come_the_emptiest_first(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "keyword",
        "cat",
        "--base",
        str(tiny_folder),
        "--device",
        "cpu",
        "--count",
        "1",
        "--drawing-steps",
        "1",
    ]
    found = told([*arguments, "--proposals", "4"], capsys)

    def strength(values: dict[str, Any]) -> float:
        return max(values["meaning"] or 0.0, values["shift"]["normalised"] or 0.0)

    strengths = [strength(each) for each in found["proposals"]]
    assert strengths == sorted(strengths)
    assert "common word" in found["problem"]
    assert told([*arguments, "--proposals", "0"], capsys)["proposals"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["!!"], "no letters"),
        (["zq", "--out", "sheet.jpg"], "does not end in .png"),
        (["zq", "--base", "nowhere/at-all"], "nowhere/at-all"),
        (["zq", "--count", "0"], "count"),
        ([""], "keyword"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    arguments: list[str], said: str, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [] if "--base" in arguments else ["--base", str(tiny_folder)]
    assert main(["keyword", *arguments, *base]) == 2
    error = capsys.readouterr().err
    sentences = [line for line in error.splitlines() if line.startswith("limner: ")]
    assert len(sentences) == 1
    assert said in sentences[0]
    assert error.strip().endswith(sentences[0])
