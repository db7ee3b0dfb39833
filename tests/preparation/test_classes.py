"""Pictures of the class in a prepared data set: drawn or a person's own, looked at, the same every time."""

from pathlib import Path
from typing import Any

import pytest
from pictures import contents, photo, photos
from PIL import Image

from limner import classes, run
from limner.config import PrepareSettings, read_training
from limner.data.dataset import load
from limner.data.layout import find_dataset
from limner.errors import UserError
from limner.events import Exported, Prepared, Warned
from limner.preparation import classes as written
from limner.preparation.prepare import Made, preparing
from limner.run import prior


@pytest.fixture
def values(tmp_path: Path, tiny_folder: Path) -> dict[str, Any]:
    """Settings of a data set of three pictures of the subject and three of its class."""
    return {
        "images": photos(tmp_path / "photos", width=96, height=96),
        "out": tmp_path / "set",
        "keyword": "zqvx",
        "class": "dog",
        "resolution": 64,
        "base": str(tiny_folder),
        "class_images": 3,
        "cache": tmp_path / "cache",
        "precision": "fp32",
        "workers": 1,
    }


def prepare(values: dict[str, Any], **changes: Any) -> tuple[Made, list[Any]]:
    settings = PrepareSettings.read(values | changes, "test")
    events, making = [], preparing(settings)
    while True:
        try:
            events.append(next(making))
        except StopIteration as end:
            return end.value, events


def warnings(events: list[Any]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warned)]


def of_class(folder: Path) -> list[Path]:
    return sorted((folder / "class").glob("*.png"))


def varied(monkeypatch: pytest.MonkeyPatch, images: list[Image.Image]) -> list[int]:
    """Have the base draw these, by their seeds; returns the seeds that were asked for."""
    asked: list[int] = []
    generate = classes.generate

    def drawn(model: Any, request: Any) -> Any:
        for picture in generate(model, request):
            asked.append(picture.seed)
            image = images[picture.seed] if picture.seed < len(images) else photo(picture.seed, 64, 64)
            yield type(picture)(image, picture.seed, picture.infotext)

    monkeypatch.setattr(classes, "generate", drawn)
    monkeypatch.setattr(classes, "TOGETHER", 4)
    return asked


def test_broken_pictures_and_twins_are_drawn_again(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    one = photo(1, 64, 64)
    twin = one.point(lambda level: min(255, level + 3))
    asked = varied(monkeypatch, [one, Image.new("RGB", (64, 64)), twin])
    made, events = prepare(values)
    assert made.of_class == 3
    assert [path.name for path in of_class(made.folder)] == ["0000-0.png", "0001-3.png", "0002-4.png"]
    assert asked == list(range(8))
    first = of_class(made.folder)[0]
    with Image.open(first) as image:
        assert image.tobytes() == one.tobytes()
        assert not image.info
    assert {path.with_suffix(".txt").read_text() for path in of_class(made.folder)} == {"dog\n"}
    assert not warnings(events)


def test_the_same_again_without_drawing_and_after_a_stop(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = varied(monkeypatch, [])
    made, _ = prepare(values)
    before, drawn = contents(made.folder), len(asked)
    of_class(made.folder)[1].unlink()
    made, _ = prepare(values)
    assert contents(made.folder) == before
    assert len(asked) == drawn
    of_class(made.folder)[0].write_bytes(b"a person's own")
    _, events = prepare(values)
    assert of_class(made.folder)[0].read_bytes() == b"a person's own"
    assert any("changed by hand" in warning for warning in warnings(events))
    _, _ = prepare(values, class_images=None)
    assert not of_class(made.folder)
    assert "is_reg" not in (made.folder / "dataset.toml").read_text()


def test_a_base_that_draws_one_thing_only_says_so(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = varied(monkeypatch, [photo(1, 64, 64)] * 50)
    made, events = prepare(values)
    assert made.of_class == 1
    assert len(asked) == written.MOST_TRIES * 3
    assert any("only 1 different" in warning for warning in warnings(events))


def test_training_takes_them_and_draws_none(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied(monkeypatch, [])
    made, _ = prepare(values)
    monkeypatch.setattr(classes, "generate", lambda *_: pytest.fail("it drew"))
    read = load(find_dataset(made.folder))
    assert [(len(each.pictures), each.part.is_class) for each in read] == [(3, False), (3, True)]
    others = {"steps": 1, "previews": 0, "held_out": 0, "run": str(tmp_path / "run"), "stop": "never"}
    taken = {name: str(values[name]) for name in ("base", "cache", "precision")}
    told = {"images": str(made.folder), "method": "dreambooth", "out": str(tmp_path / "a.safetensors"), "device": "cpu"}
    events = list(run.train(*read_training(told | taken | others, "test")))
    assert [event.done for event in events if isinstance(event, Prepared) and event.what == prior.ENCODING] == [1, 2, 3]
    assert any(isinstance(event, Exported) for event in events)


def test_a_persons_own_pictures(values: dict[str, Any], tmp_path: Path) -> None:
    folder = photos(tmp_path / "dogs", 3, width=128, height=96)
    photo(0, 128, 96).save(folder / "again.png")
    photo(9, 28, 28).save(folder / "tiny.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "IMG_1.txt").write_text("a sleeping dog")
    made, events = prepare(values, class_images=folder, base="not looked at")
    captions = {path.with_suffix(".txt").read_text() for path in of_class(made.folder)}
    assert made.of_class == 3
    assert captions == {"dog\n", "a sleeping dog\n"}
    with Image.open(of_class(made.folder)[0]) as image:
        assert image.size == (80, 48) or image.width * image.height <= 64 * 64
    said = " ".join(warnings(events))
    assert all(
        name in said for name in ("again.png shows the same as IMG_0.png", "tiny.png would have to", "broken.png")
    )
    assert "again.png" in {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class": ""}, "say what the subject is"),
        ({"class_images": None, "class_prompt": "a puppy"}, "no class_images"),
        ({"class_images": "nowhere"}, "no folder nowhere"),
        ({"base": "nowhere/at-all"}, "nowhere/at-all"),
        ({"class_images": 0}, "class_images"),
    ],
)
def test_what_is_wrong_is_said_at_once(values: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        prepare(values, **changes)
    assert not (values["out"] / "images").exists()
