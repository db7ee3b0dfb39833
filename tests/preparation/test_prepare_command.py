"""`limner prepare` from a messy folder to a data set that trains."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from preparation.pictures import contents, photo, photos

import limner
from limner.cli import main
from limner.data.dataset import load
from limner.data.layout import find_dataset

SIZE = ("--resolution", "128", "--workers", "1")


def prepare(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """What the command answers; it must end well."""
    size = SIZE[2:] if "--resolution" in arguments else SIZE
    status = main([*map(str, ("prepare", *arguments)), *size, "--json", "--quiet"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out.splitlines()[-1])


def decisions(out: Path) -> dict[str, dict]:
    lines = (out / "decisions.jsonl").read_text().splitlines()
    return {each["source"]: each for each in map(json.loads, lines)}


def test_a_messy_folder_becomes_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = photos(tmp_path / "photos", 3), tmp_path / "out"
    (images / "IMG_1.txt").write_text("asleep on a chair")
    (images / "sub").mkdir()
    photo(7, 200, 300).save(images / "sub" / "tall.jpg", quality=95)
    photo(0).save(images / "sub" / "twin.png")
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    photo(9, 40, 30).save(images / "tiny.png")
    answer = prepare(capsys, images, out, "--keyword", "zqvx", "--class", "dog")
    assert (answer["pictures"], answer["kept"]) == (7, 4)
    assert answer["left_out"] == {"duplicate": 1, "too_small": 1, "unreadable": 1}
    told = decisions(out)
    assert [name for name, each in told.items() if not each["kept"]] == ["broken.jpg", "sub/twin.png", "tiny.png"]
    assert "IMG_0.png" in told["sub/twin.png"]["why"]
    tall = told["sub/tall.jpg"]
    assert tall["size"][0] < tall["size"][1]
    assert tall["lost"] < 0.2
    [loaded] = load(find_dataset(out))
    captions = {picture.path.name: picture.caption for picture in loaded.pictures}
    assert captions["0002-IMG-1.png"] == "zqvx, asleep on a chair"
    assert set(captions.values()) == {"zqvx dog", "zqvx, asleep on a chair"}
    for picture in loaded.pictures:
        assert [picture.width, picture.height] in [each.get("size") for each in told.values()]
        assert Image.open(picture.path).info == {}
    assert (loaded.part.keyword, loaded.part.class_word, find_dataset(out).warnings) == ("zqvx", "dog", ())


def test_a_second_run_writes_nothing_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = photos(tmp_path / "photos", 3), tmp_path / "out"
    assert prepare(capsys, images, out)["written"] == 3
    before = {path: path.stat().st_mtime_ns for path in (out / "images").iterdir() if path.suffix != ".jsonl"}
    held = contents(out)
    assert prepare(capsys, images, out)["written"] == 0
    assert contents(out) == held
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_from_python(tmp_path: Path) -> None:
    made = limner.prepare(photos(tmp_path / "photos", 2), tmp_path / "out", resolution=128, workers=1)
    assert made.kept == 2
    assert made.page.parent == tmp_path / "out"


class Images(HTMLParser):
    """The pictures of a page, and where on them the crops are drawn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.crops: list[list[float]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.sources.append(unquote(str(values["src"])))
        elif values.get("class") == "crop":
            self.crops.append([float(each) for each in re.findall(r":([\d.]+)%", str(values["style"]))])

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_what_was_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = tmp_path / "photos", tmp_path / "out"
    images.mkdir()
    name = '<b>100% of "it" & all.png'
    photo(1, 400, 200).save(images / name)
    photo(2).save(images / "b.png")
    photo(2).convert("L").save(images / "b.mask.png")
    (images / "broken.png").write_bytes(b"nothing")
    (images / "b.txt").write_text("<script>alert(1)</script>")
    prepare(capsys, images, out, "--bucket-count", "1")
    text = (out / "index.html").read_text()
    page = Images(text)
    assert len(page.sources) == 5  # before and after of each that is kept, and a mask that is not all white
    for source in page.sources:
        Image.open(out / source).load()
    assert [(left + right, top + bottom) for left, top, right, bottom in page.crops] == [(50, 0), (25, 0)]
    told = decisions(out)[name]["crop"]
    assert page.crops[0] == pytest.approx([told[0] / 4, 0, 100 - told[2] / 4, 0], abs=0.02)
    assert name in page.text
    assert "<script" not in text
    for word in ("Left out: 1", "is not an image", "50% cut away", '[pictures."broken.png"]'):
        assert word in page.text


def test_a_zip_gives_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = photos(tmp_path / "photos", 3)
    (images / "IMG_1.txt").write_text("a chair")
    photo(2).convert("L").save(images / "IMG_2-masklabel.png")
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", images))
    prepare(capsys, images, tmp_path / "one")
    prepare(capsys, archive, tmp_path / "other")
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_what_is_small_is_left_out_or_stays_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    photo(1, 200, 150).save(images / "small.png")
    photo(2).save(images / "large.png")
    answer = prepare(capsys, images, tmp_path / "out", "--resolution", "256", "--most-enlargement", "1")
    assert (answer["kept"], answer["enlarged"]) == (1, 0)
    choices = '[pictures."small.png"]\nkeep = true\n'
    (tmp_path / "out" / "choices.toml").write_text(choices)
    answer = prepare(capsys, images, tmp_path / "out", "--resolution", "256", "--most-enlargement", "1")
    told = decisions(tmp_path / "out")["small.png"]
    assert told["enlargement"] <= 1
    assert told["size"] == [192, 144]
    assert "smaller than a bucket" in told["crop_why"]
    assert answer["enlarged"] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--keep", "blured"], "no kind of finding 'blured' to keep or drop; did you mean 'blurred'?"),
        (["--resolution", "100"], "a resolution of 100 pixels is no multiple of 16"),
        (["--template", "{keyord}"], "unknown {keyord}"),
        (["--format", "gif"], "gif"),
        (["--most-enlargement", "0.5"], "most_enlargement"),
        (["--masks", "nowhere"], "nowhere"),
    ],
)
def test_wrong_settings_are_named_before_a_picture_is_opened(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = photos(tmp_path / "photos", 1)
    defaults = () if "--resolution" in arguments else SIZE
    assert main(["prepare", str(images), str(tmp_path / "out"), *defaults, *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_to_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["prepare", str(tmp_path / "empty"), str(tmp_path / "out")]) == 2
    assert "no pictures in" in capsys.readouterr().err


def test_a_set_of_which_nothing_is_kept_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    (images / "broken.png").write_bytes(b"nothing")
    answer = prepare(capsys, images, tmp_path / "out")
    assert answer["kept"] == 0
    assert (tmp_path / "out" / "index.html").exists()


def test_pictures_are_as_large_as_the_named_base_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = photos(tmp_path / "photos", 1)
    assert main(["prepare", str(images), str(tmp_path / "out"), "--base", "pocket", "--workers", "1"]) == 0
    (path,) = (tmp_path / "out" / "images").glob("*.png")
    with Image.open(path) as picture:
        assert picture.width * picture.height <= 128**2
    assert find_dataset(tmp_path / "out").resolution == 128


def test_a_file_that_prepare_did_not_write_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = photos(tmp_path / "photos", 2), tmp_path / "out"
    prepare(capsys, images, out, "--keyword", "zqvx")
    photo(7).save(images / "IMG_2.png")
    theirs = {"images/0003-IMG-2.png": b"a picture of theirs", "images/0003-IMG-2.txt": b"a caption of theirs"}
    for name, data in theirs.items():
        (out / name).write_bytes(data)
    answer = prepare(capsys, images, out, "--keyword", "zqvx")
    told = [warning for warning in answer["warnings"] if "was not written by prepare, which needed its name" in warning]
    assert len(told) == 2
    for name, data in theirs.items():
        assert (out / name).read_bytes() != data
        assert any(path.read_bytes() == data for path in out.rglob(f"set-aside/{Path(name).name}"))
