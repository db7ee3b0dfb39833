"""What a person decides is done, by choices.toml or in place, and nothing of it is ever overwritten."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from preparation.pictures import contents, photo, photos

import limner
from limner.cli import main
from limner.errors import UserError
from limner.preparation.choices import Choice, change_choices, read_choices
from limner.preparation.prepare import Made


def prepare(images: Path, out: Path, **settings: object) -> Made:
    return limner.prepare(images, out, **{"resolution": 128, "workers": 1, "keyword": "zqvx"} | settings)


def decisions(out: Path) -> dict[str, dict]:
    lines = (out / "decisions.jsonl").read_text().splitlines()
    return {each["source"]: each for each in map(json.loads, lines)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures, of which the last shows the same as the first, and what was prepared of them."""
    root = tmp_path_factory.mktemp("prepared")
    images = photos(root / "photos", 3)
    photo(0).save(images / "the same.png")
    prepare(images, root / "out")
    return root


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of them, to be changed: the folder of the pictures, and the one that they were prepared into."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path / "photos", tmp_path / "out"


def choose(out: Path, text: str) -> None:
    (out / "choices.toml").write_text(text, encoding="utf-8")


def test_the_file_names_every_picture_and_is_written_once(place: tuple[Path, Path]) -> None:
    images, out = place
    text = (out / "choices.toml").read_text()
    assert [line for line in text.splitlines() if line.startswith("[")] == [
        f'[pictures."{name}"]' for name in ("IMG_0.png", "IMG_1.png", "IMG_2.png", "the same.png")
    ]
    assert "# left out: it is the same file as IMG_0.png" in text
    choose(out, text + "# mine\n")
    photo(9).save(images / "new.png")
    prepare(images, out)
    assert (out / "choices.toml").read_text() == text + "# mine\n"
    assert decisions(out)["new.png"]["file"] == "images/0005-new.png"


def test_what_is_chosen_is_done(place: tuple[Path, Path]) -> None:
    images, out = place
    Image.new("L", (320, 240), 255).save(out / "white.png")
    choose(
        out,
        '[pictures."IMG_0.png"]\nkeep = false\n'
        '[pictures."IMG_1.png"]\ncrop = [0.5, 0, 1, 1]\ncaption = "exactly  this"\n'
        '[pictures."IMG_2.png"]\ncrop = [40, 30, 280, 210]\nmask = "white.png"\n',
    )
    made = prepare(images, out)
    told = decisions(out)
    assert told["IMG_0.png"] == told["IMG_0.png"] | {"kept": False, "why": "is left out by hand", "by_hand": ["keep"]}
    assert told["the same.png"]["kept"], "it took the place of the better one, which was left out"
    assert made.kept == 3
    left, top, right, bottom = told["IMG_1.png"]["crop"]
    assert (left, right) >= (160, 160)
    assert (top >= 0, bottom <= 240, right <= 320) == (True, True, True)
    assert told["IMG_1.png"]["size"][1] > told["IMG_1.png"]["size"][0]
    assert (out / "images" / "0002-IMG-1.txt").read_text() == "exactly this\n"
    left, top, right, bottom = told["IMG_2.png"]["crop"]
    assert left >= 40
    assert top >= 30
    assert right <= 280
    assert bottom <= 210
    assert Image.open(out / "images" / "masks" / "0003-IMG-2.png").getextrema() == (255, 255)
    assert not (out / "images" / "0001-IMG-0.png").exists()
    assert not (out / "images" / "0001-IMG-0.txt").exists()
    rows = [json.loads(line) for line in (out / "images" / "metadata.jsonl").read_text().splitlines()]
    assert [row["file_name"][:4] for row in rows] == ["0002", "0003", "0004"]


def test_a_person_prefers_the_other_of_two_that_are_the_same(place: tuple[Path, Path]) -> None:
    images, out = place
    choose(out, '[pictures."the same.png"]\nkeep = true\n')
    prepare(images, out)
    told = decisions(out)
    assert (told["IMG_0.png"]["kept"], told["the same.png"]["kept"]) == (False, True)
    assert told["IMG_0.png"]["why"] == "shows the same as the same.png, which is kept"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[pictures."IMG_1.pgn"]\nkeep = true', "there is no picture 'IMG_1.pgn'; did you mean 'IMG_1.png'?"),
        ('[pictures."IMG_0.png"]\nkep = true', "unknown setting 'kep' of 'IMG_0.png'; did you mean 'keep'?"),
        ('[pictures."IMG_0.png"]\nkeep = "yes"', "write true or false"),
        ('[pictures."IMG_0.png"]\ncrop = [0, 0, 1]', "write four numbers in brackets"),
        ('[pictures."IMG_0.png"]\ncrop = [0.5, 0, 0.2, 1]', "which is 320x240"),
        ('[pictures."IMG_0.png"]\ncrop = [0, 0, 900, 100]', "which is 320x240"),
        ('[pictures."IMG_0.png"]\ncrop = [true, 0, 1, 1]', "write four numbers in brackets"),
        ('[pictures."IMG_0.png"]\ncaption = 3', "write text in quotes"),
        ('[pictures."IMG_0.png"]\nmask = "gone.png"', "gone.png of 'IMG_0.png' cannot be read"),
        ('["IMG_0.png"]\nkeep = true', "unknown table 'IMG_0.png'"),
        ("pictures = 3", "pictures is no table"),
        ("keep = = true", "is not a TOML file"),
    ],
)
def test_what_cannot_be_meant_is_an_error_and_changes_nothing(
    text: str, sentence: str, place: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = place
    choose(out, text)
    before = contents(out)
    assert main(["prepare", str(images), str(out), "--resolution", "128", "--workers", "1", "--quiet"]) == 2
    assert sentence in capsys.readouterr().err
    assert contents(out) == before


def test_what_is_edited_in_place_stays(place: tuple[Path, Path]) -> None:
    images, out = place
    (out / "images" / "0001-IMG-0.txt").write_text("edited by me")
    Image.new("RGB", (128, 96)).save(out / "images" / "0002-IMG-1.png")
    painted = (out / "images" / "0002-IMG-1.png").read_bytes()
    (out / "dataset.toml").write_text((out / "dataset.toml").read_text().replace("num_repeats = 1", "num_repeats = 7"))
    for _ in range(2):
        prepare(images, out, template="a {keyword} on a chair")
        assert (out / "images" / "0001-IMG-0.txt").read_text() == "edited by me"
        assert (out / "images" / "0002-IMG-1.txt").read_text() == "a zqvx on a chair\n"
        assert (out / "images" / "0002-IMG-1.png").read_bytes() == painted
        assert "num_repeats = 7" in (out / "dataset.toml").read_text()
    told = decisions(out)
    assert (told["IMG_0.png"]["caption"], told["IMG_0.png"]["caption_from"]) == ("edited by me", "edited in place")
    assert (told["IMG_1.png"]["edited"], told["IMG_2.png"]["edited"]) == (True, False)
    first = json.loads((out / "images" / "metadata.jsonl").read_text().splitlines()[0])
    assert first == {"file_name": "0001-IMG-0.png", "text": "edited by me"}
    choose(out, '[pictures."IMG_1.png"]\nkeep = false\n')
    prepare(images, out)
    assert (out / ".limner" / "set-aside" / "0002-IMG-1.png").read_bytes() == painted
    assert not (out / "images" / "0002-IMG-1.png").exists()


def test_pictures_that_are_gone_take_their_files_along_and_nothing_else(place: tuple[Path, Path]) -> None:
    images, out = place
    photo(20).save(out / "images" / "mine.png")
    (out / "notes.txt").write_text("mine")
    (images / "IMG_1.png").unlink()
    warnings = capture(images, out)
    assert sorted(path.name for path in (out / "images").iterdir()) == [
        "0001-IMG-0.png", "0001-IMG-0.txt", "0003-IMG-2.png", "0003-IMG-2.txt", "metadata.jsonl", "mine.png",
    ]  # fmt: skip
    assert (out / "notes.txt").read_text() == "mine"
    assert any("images/mine.png" in warning for warning in warnings)


def capture(images: Path, out: Path) -> list[str]:
    from limner.config import PrepareSettings
    from limner.events import Warned
    from limner.preparation.prepare import preparing

    settings = PrepareSettings.read({"images": images, "out": out, "resolution": 128, "workers": 1}, "the test")
    return [event.message for event in preparing(settings) if isinstance(event, Warned)]


def test_folders_that_are_refused(place: tuple[Path, Path], tmp_path: Path) -> None:
    images = place[0]
    held = contents(tmp_path, but=())
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.doc").write_text("mine")
    for target, sentence in [
        (images / "in" / "it", "never changed"),
        (images, "never changed"),
        (tmp_path, "give a folder of its own"),
        (other, r"thesis\.doc"),
        (other / "thesis.doc", "is a file"),
    ]:
        with pytest.raises(UserError, match=sentence):
            prepare(images, target)
    (other / "thesis.doc").unlink()
    other.rmdir()
    assert contents(tmp_path, but=()) == held


def test_the_originals_are_never_changed(place: tuple[Path, Path]) -> None:
    images, out = place
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in images.rglob("*")}
    shutil.rmtree(out)
    prepare(images, out)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in images.rglob("*")} == before


UNUSUAL = (
    '[pictures."a.png"]\ncaption = """of\n[pictures."b.png"]\ntwo lines"""\n',
    '[pictures]\n"a.png" = {keep = true}  # mine\n"b.png" = {crop = [0, 0, 1, 1]}\n',
    '# a\n[pictures."a.png"]\nkeep = true # mine\n# of the next\n[pictures."b.png"]\ncrop = [\n0, 0,\n1, 1]',
    '[ pictures."a.png" ]\nkeep = true\n[pictures."b.png"]\nmask = "none"\n',
)


@pytest.mark.parametrize("text", UNUSUAL)
def test_a_change_leaves_all_else_however_it_is_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "choices.toml"
    path.write_text(text, encoding="utf-8")
    before = read_choices(path)
    change_choices(path, {"a.png": {"keep": False}, "new.png": {"caption": 'a "new" one'}, "open.png": {"keep": None}})
    after = read_choices(path)
    assert after["a.png"] == replace(before["a.png"], keep=False)
    assert after["new.png"] == Choice(caption='a "new" one')
    assert {name: after.get(name) for name in before if name != "a.png"} == {
        name: choice for name, choice in before.items() if name != "a.png"
    }
    assert after.keys() == before.keys() | {"new.png"}
    comments = [part.strip() for part in text.split("\n") if part.startswith("#")]
    assert all(comment in path.read_text(encoding="utf-8") for comment in [*comments, "# mine"[: 6 * ("mine" in text)]])
