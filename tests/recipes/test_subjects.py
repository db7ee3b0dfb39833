"""The committed subjects: whole, small, unseen, and with nothing of the judging pictures in the training."""

import tomllib
from pathlib import Path

import pytest

from limner.base import pocket
from limner.base.open import open_base
from limner.data.caption import caption_for
from limner.data.folder import ImageFolder, load_folder
from limner.data.keyword import keyword_problem

ROOT = Path(__file__).parents[2]
SUBJECTS = sorted(path.parent for path in (ROOT / "recipes" / "subjects").glob("*/subject.toml"))
NOUNS = tomllib.loads((ROOT / "recipes" / "pocket" / "nouns.toml").read_text())


@pytest.fixture(params=SUBJECTS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def read(folder: Path) -> tuple[dict, ImageFolder, ImageFolder]:
    subject = tomllib.loads((folder / "subject.toml").read_text())
    return subject, load_folder(folder / "train"), load_folder(folder / "judge")


def test_there_are_three_styles_and_three_objects_in_two_megabytes() -> None:
    kinds = [tomllib.loads((folder / "subject.toml").read_text())["kind"] for folder in SUBJECTS]
    assert sorted(kinds) == ["object"] * 3 + ["style"] * 3
    files = [path for folder in SUBJECTS for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000


def test_pictures_are_enough_and_none_judges_that_was_trained_on(folder: Path) -> None:
    subject, train, judge = read(folder)
    assert not train.skipped
    assert not judge.skipped
    assert len(train.pictures) == 24
    assert len(judge.pictures) >= (40 if subject["kind"] == "style" else 12)
    hashes = [picture.sha256 for picture in (*train.pictures, *judge.pictures)]
    assert len(set(hashes)) == len(hashes)


def test_the_base_never_saw_the_subject(folder: Path) -> None:
    subject, train, judge = read(folder)
    if subject["kind"] == "object":
        assert subject["name"] in NOUNS["held_out"].split()
        return
    shown, unseen = ({picture.path.stem for picture in part.pictures} for part in (train, judge))
    assert not shown & unseen
    assert shown | unseen <= set(NOUNS["learned"].split())


def test_captions_and_prompts_call_the_subject_by_its_keyword(folder: Path) -> None:
    subject, train, judge = read(folder)
    assert subject["said"] == f"{subject['keyword']} {subject['class']}"
    for picture in (*train.pictures, *judge.pictures):
        assert subject["said"] in (picture.caption or "")
        assert caption_for(picture, subject["keyword"], subject["class"]) == picture.caption
    for each in subject["prompts"]:
        assert subject["said"] in each["prompt"]
        assert f"{each['background']} background" in each["prompt"]
        assert each["style"] in each["prompt"]


def test_keywords_are_rare() -> None:
    import torch

    model = open_base(pocket.NAME, torch.device("cpu"), torch.float32)
    keywords = [tomllib.loads((folder / "subject.toml").read_text())["keyword"] for folder in SUBJECTS]
    assert len(set(keywords)) == len(keywords)
    assert [keyword_problem(keyword, model.tokenize) for keyword in keywords] == [None] * len(keywords)


def test_credits_are_given(folder: Path) -> None:
    notice = (ROOT / "NOTICE").read_text()
    subject, _, _ = read(folder)
    assert len(subject["sources"]) == len(subject["authors"]) == len(subject["licences"])
    assert set(subject["licences"]) <= {"MIT", "Apache-2.0", "CC-BY-4.0"}
    for source in subject["sources"]:
        package, _ = source.split()
        assert package.removeprefix("@iconify-json/") in notice
