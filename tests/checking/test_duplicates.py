"""Which pictures show the same: edits of one are grouped, pictures of one thing are not."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from limner.checking import duplicates
from limner.checking.compared import FILE, Comparing
from limner.checking.duplicates import find_duplicates
from limner.checking.findings import Wanted
from limner.checking.measure import measure
from limner.checking.store import Store, passing_store
from limner.checking.verdict import Group
from limner.data.source import Source, find_sources
from tests.generators import drained
from tests.scenes import scene

SUBJECTS = Path(__file__).parents[2] / "recipes" / "subjects"


def groups(folder: Path) -> list[tuple[str, dict[str, str]]]:
    """The name of the best of each group, and what the others are of it."""
    with passing_store() as store:
        sources = list(find_sources(folder))
        rows = [store.add(source, measure(source)) for source in sources]
        found = drained(find_duplicates(store, rows, sources[0], Wanted(resolution=256), 1))
        return [
            (sources[group.best].name, {sources[twin.at].name: twin.how for twin in group.twins}) for group in found
        ]


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=25)
    return Image.open(stream).convert("RGB")


def written_on(image: Image.Image) -> Image.Image:
    image = image.copy()
    font = ImageFont.load_default(image.height // 9)
    ImageDraw.Draw(image).text((40, image.height * 0.7), "holiday 2024", "white", font, stroke_width=3)
    return image


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((int(0.12 * image.width), int(0.03 * image.height), image.width, int(0.9 * image.height)))


EDITS: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "resized": (lambda image: image.resize((image.width // 2, image.height // 2)), "smaller"),
    "recompressed": (recompressed, "same picture"),
    "cropped": (cropped, "cropped"),
    "mirrored": (ImageOps.mirror, "mirrored"),
    "turned": (lambda image: image.transpose(Image.Transpose.ROTATE_90), "turned"),
    "upside down": (lambda image: image.transpose(Image.Transpose.ROTATE_180), "turned"),
    "tilted": (lambda image: image.rotate(4, Image.Resampling.BICUBIC), "tilted"),
    "grey": (lambda image: image.convert("L"), "recoloured"),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.3), "recoloured"),
    "framed": (lambda image: ImageOps.expand(image, 30, "black"), "framed"),
    "written on": (written_on, "same picture"),
    "cropped and mirrored": (lambda image: ImageOps.mirror(cropped(image)), "mirrored, cropped"),
}


def test_edits_are_grouped_with_their_original_and_named(tmp_path: Path) -> None:
    for number, (name, (edit, _)) in enumerate(EDITS.items()):
        original = scene(number)
        original.save(tmp_path / f"{name}.png")
        edit(original).save(tmp_path / f"{name} copy.png")
    found = dict(groups(tmp_path))
    assert found.keys() == {f"{name}.png" for name in EDITS}
    for name, (_, word) in EDITS.items():
        assert found[f"{name}.png"].keys() == {f"{name} copy.png"}
        assert word in found[f"{name}.png"][f"{name} copy.png"], name


def test_the_same_bytes_in_a_subfolder_and_a_chain_of_edits_are_one_group(tmp_path: Path) -> None:
    original = scene(1)
    original.save(tmp_path / "a.png")
    (tmp_path / "more").mkdir()
    shutil.copy(tmp_path / "a.png", tmp_path / "more" / "b.png")
    ImageOps.mirror(original).save(tmp_path / "c.jpg", quality=70)
    cropped(ImageOps.mirror(original)).save(tmp_path / "d.jpg", quality=70)
    scene(2).save(tmp_path / "other.png")
    ((best, others),) = groups(tmp_path)
    assert best == "a.png"
    assert others.keys() == {"more/b.png", "c.jpg", "d.jpg"}
    assert others["more/b.png"] == "the same file as"


def test_the_sharpest_and_largest_is_the_best(tmp_path: Path) -> None:
    original = scene(3)
    original.resize((260, 195), Image.Resampling.LANCZOS).save(tmp_path / "a small.png")
    original.resize((20, 15)).resize((400, 300), Image.Resampling.BICUBIC).save(tmp_path / "b other.png")
    original.save(tmp_path / "c large.png")
    ImageOps.expand(original, 35, "white").save(tmp_path / "d.png")
    ((best, others),) = groups(tmp_path)
    assert best == "c large.png"
    assert {"a small.png", "d.png"} <= others.keys()


def test_photos_of_one_thing_that_moved_are_not_the_same(tmp_path: Path) -> None:
    for number, moved in enumerate((0, 0.12, 0.25, 0.4)):
        scene(4, moved=moved).crop((10 * number, 5 * number, 360 + 10 * number, 280 + 5 * number)).save(
            tmp_path / f"{number}.jpg", quality=90
        )
    assert groups(tmp_path) == []


def test_drawings_in_one_style_are_not_the_same(tmp_path: Path) -> None:
    for path in sorted((SUBJECTS / "outlined" / "train").glob("*.png"))[:16]:
        shutil.copy(path, tmp_path)
    assert groups(tmp_path) == []


def test_nothing_is_claimed_of_pictures_that_show_nothing(tmp_path: Path) -> None:
    for number, colour in enumerate(("white", "#f8f8f8", "black")):
        Image.new("RGB", (300, 300), colour).save(tmp_path / f"{number}.png")
    assert groups(tmp_path) == []


def test_the_groups_are_the_same_whatever_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.checking.duplicates.FEW", 0)
    for number in range(2):
        original = scene(number)
        original.save(tmp_path / f"{number}.png")
        cropped(original).save(tmp_path / f"{number} cropped.jpg")
        ImageOps.mirror(original).save(tmp_path / f"{number} mirrored.jpg")
    with passing_store() as store:
        sources = list(find_sources(tmp_path))
        rows = [store.add(source, measure(source)) for source in sources]
        alone, together = (_found(store, rows, sources[0], workers) for workers in (1, 2))
    assert len(alone) == 2
    assert alone == together


def _found(store: Store, rows: list[int], first: Source, workers: int) -> tuple[Group, ...]:
    """Found anew."""
    (store.folder / FILE).unlink(missing_ok=True)
    return drained(find_duplicates(store, rows, first, Wanted(), workers))


def test_a_search_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "ROUND", 1)
    original = scene(1)
    original.save(tmp_path / "0.png")
    cropped(original).save(tmp_path / "1.jpg")
    ImageOps.mirror(original).save(tmp_path / "2.jpg")
    looked = []
    compare = duplicates.compare
    monkeypatch.setattr(duplicates, "compare", lambda pair: looked.append(pair) or compare(pair))
    with passing_store() as store:
        sources = list(find_sources(tmp_path))
        rows = [store.add(source, measure(source)) for source in sources]
        whole = _found(store, rows, sources[0], 1)
        (store.folder / FILE).unlink()
        all_of_them, looked[:] = list(looked), []
        search = find_duplicates(store, rows, sources[0], Wanted(), 1)
        assert next(search) == Comparing(1, 3)
        search.close()
        first, looked[:] = list(looked), []
        assert len(first) == 1
        assert drained(find_duplicates(store, rows, sources[0], Wanted(), 1)) == whole
        assert first[0] not in looked[:1]
        assert len(looked) == len(all_of_them) - 1
        (store.folder / FILE).write_bytes(b"no data base" * 100)
        assert drained(find_duplicates(store, rows, sources[0], Wanted(), 1)) == whole
