"""A training says its base before anything else, keeps photographs off the built-in one, and fits sets to its size."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from photos import photo
from PIL import Image

import limner
from limner.cli import main
from limner.config import CompareSettings, PrepareSettings, TrainSettings, read_toml
from limner.data.folder import load_folder
from limner.demo import SAMPLES
from limner.errors import UserError
from limner.events import Chosen, Event, UsingBase, Warned
from limner.generators import finish
from limner.preparation.again import training
from limner.preparation.prepare import preparing
from limner.run.base import require_drawings, using
from limner.run.data import choose_resolution, complete, find_data, load_data
from limner.studio.places import Places
from limner.studio.requests import TrainRequest
from limner.studio.work.prepare import prepared
from limner.studio.work.task import Task


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two of them, large enough for any base here."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        photo(400, 360, number).save(folder / f"{number}.png")
    return folder


def test_photographs_without_a_base_are_refused(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(photographs), "--keyword", "zqvx"]) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("opening pocket (")
    assert "for simple drawings" in first
    assert "these are photographs" in last
    assert "--base path/to/model.safetensors" in last
    assert "limner search" in last


def test_only_by_default(photographs: Path) -> None:
    pictures = load_folder(photographs).pictures
    for settings in (TrainSettings(keyword="zqvx"), CompareSettings(images=photographs, keyword="zqvx")):
        with pytest.raises(UserError, match="--base pocket"):
            require_drawings(settings, pictures)
    require_drawings(TrainSettings(keyword="zqvx", base="pocket"), pictures)
    require_drawings(TrainSettings(keyword="zqvx"), load_folder(SAMPLES).pictures)
    with pytest.raises(UserError, match="these are photographs"):
        list(limner.train(photographs, keyword="zqvx"))


@pytest.mark.parametrize("base", ["", "pocket"])
def test_the_studio_asks_for_a_base_too(photographs: Path, tmp_path: Path, base: str) -> None:
    places = Places(tmp_path / "studio", tmp_path / "models")
    originals = places.dataset(1) / "originals"
    originals.parent.mkdir(parents=True)
    photographs.rename(originals)
    events = prepared(TrainRequest(dataset=1, keyword="zqvx", base=base), Task(1, places, 1, {}))
    if base:
        next(events)
        events.close()
        return
    with pytest.raises(UserError, match="choose another base model"):
        list(events)


def test_what_a_base_is(tiny_folder: Path) -> None:
    assert using("pocket") == UsingBase("pocket", using("pocket").about)
    assert "for simple drawings" in using("pocket").about
    assert using(str(tiny_folder)).about.startswith(f"{tiny_folder.name} (Stable Diffusion 1.x")


def prepare(images: Path, out: Path, **values: Any) -> None:
    finish(
        preparing(PrepareSettings.read({"images": images, "out": out, "keyword": "zqvx", "workers": 1} | values, "t"))
    )


def begun(images: Path, base: str) -> list[Event]:
    """The first events of a training, until it has chosen its settings."""
    found: list[Event] = []
    settings = TrainSettings.read({"images": images, "base": base, "previews": 0}, "test")
    with closing(training(settings, {})) as events:
        for event in events:
            found.append(event)
            if isinstance(event, Chosen) and event.name == "warmup_steps":
                break
    return found


def messages(events: list[Event]) -> str:
    return "\n".join(event.message for event in events if isinstance(event, Warned))


def test_a_set_for_another_base_is_prepared_again(
    photographs: Path, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "dataset"
    prepare(Path("photos"), out, base=str(tiny_folder))
    assert read_toml(out / "dataset.toml")["datasets"][0]["resolution"] == 64
    events = begun(out, "pocket")
    assert isinstance(events[0], UsingBase)
    assert "was prepared for 64 pixels, and the base pocket is made for 128" in messages(events)
    assert read_toml(out / "dataset.toml")["datasets"][0]["resolution"] == 128
    assert Image.open(next((out / "images").glob("*.png"))).width >= 100
    assert not messages(begun(out, "pocket"))
    smaller = messages(begun(out, str(tiny_folder)))  # no need to do anything again
    assert "was prepared for 128 pixels" in smaller
    assert "it is trained at 64" in smaller
    assert read_toml(out / "dataset.toml")["datasets"][0]["resolution"] == 128


def test_a_set_that_cannot_be_prepared_again_is_warned_of(photographs: Path, tmp_path: Path, tiny_folder: Path) -> None:
    prepare(photographs, tmp_path / "dataset", base=str(tiny_folder))
    photographs.rename(tmp_path / "elsewhere")
    said = messages(begun(tmp_path / "dataset", "pocket"))
    assert "made for 64 pixels, and the base pocket for 128" in said
    assert "too small" in said


def test_preparing_without_a_base_says_the_size(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", str(photographs), str(tmp_path / "a"), "--keyword", "k", "--workers", "1"]) == 0
    said = capsys.readouterr().err
    assert "resolution = 512: no base is given" in said
    assert "--keyword" not in said.splitlines()[-2]
    assert "--base MODEL" in said
    base = ["--base", "pocket"]
    assert main(["prepare", str(photographs), str(tmp_path / "b c"), "--keyword", "k", "--workers", "1", *base]) == 0
    assert f"limner train '{tmp_path / 'b c'}' --base pocket" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "own", "taken", "sentence"),
    [
        (512, 1024, 512, "images are too small"),  # of 400 pixels
        (64, 256, 256, "trained at 256"),  # they are large enough
        (1024, 512, 512, "trained at 512"),
        (192, 128, 192, "trained at 192"),  # near enough to be meant
        (128, 128, 128, ""),
    ],
)
def test_the_size_that_a_file_says(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, said: int, own: int, taken: int, sentence: str
) -> None:
    monkeypatch.setattr("limner.run.data.resolution_of", lambda base: own)
    path = photographs.parent / "set.toml"
    path.write_text(f"[[datasets]]\nresolution = {said}\n[[datasets.subsets]]\nimage_dir = 'photos'\n")
    settings, _ = complete(TrainSettings(images=path, keyword="zqvx"), find_data(TrainSettings(images=path)))
    data = load_data(settings, find_data(settings))
    chosen, warned = choose_resolution(settings, data, own)
    assert [settings.resolution, *(each.value for each in chosen)][-1] == taken
    assert all(f"made for {said} pixels" in each.message and sentence in each.message for each in warned)
    assert len(warned) == bool(sentence)
