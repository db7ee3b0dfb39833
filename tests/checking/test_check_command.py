"""`limner check` as a person runs it: the table, the sheet, the page, the JSON, what is kept for the next time."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from limner.checking.measure import Measure
from limner.cli import main
from tests.scenes import scene


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    scene(0).save(folder / "a.png")
    ImageOps.mirror(scene(0)).save(folder / "b copy.jpg", quality=80)
    scene(1).save(folder / "more" / "<img src=x onerror=alert(1)>.png")
    (folder / "more" / "<img src=x onerror=alert(1)>.txt").write_text('a "quoted" <b>thing</b>')
    (folder / "broken.png").write_text("not a picture")
    return folder


class Page(HTMLParser):
    """What a browser would load and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.shown += data


def answer(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["check", "photos", "--resolution", "256", "--workers", "1", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_table_and_what_it_does_not_write(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name for path in Path().iterdir()}
    assert main(["check", "photos", "--resolution", "256", "--workers", "1"]) == 0
    told = capsys.readouterr()
    shown = " ".join(told.out.split())
    assert "leave out: it is a mirrored" in shown
    assert "1 cannot be used, 1 better left out" in shown
    assert "2 of 4 pictures in photos are worth training on" in shown
    assert "There are only 2 usable pictures" in shown
    assert "--out FOLDER" in told.err
    assert {path.name for path in Path().iterdir()} == before | {"cache"}


def test_the_json_holds_everything(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--class", "dog", "--method", "dreambooth")
    assert found["wanted"] == {"resolution": 256, "subject": "animal", "method": "dreambooth"}
    assert found["duplicates"] == [["a.png", "b copy.jpg"]]
    assert [each["file"] for each in found["skipped"]] == ["broken.png"]
    pictures = {each["file"]: each for each in found["pictures"]}
    copy = pictures["b copy.jpg"]
    assert not copy["keep"]
    assert copy["reason"].startswith("is a mirrored")
    assert copy["findings"][0] | {"sentence": ""} == {
        "kind": "duplicate", "level": "fault", "sentence": "", "others": ["a.png"],
    }  # fmt: skip
    assert pictures["a.png"]["keep"]
    assert (pictures["a.png"]["width"], pictures["a.png"]["height"]) == (400, 300)
    assert pictures["more/<img src=x onerror=alert(1)>.png"]["caption"] == 'a "quoted" <b>thing</b>'
    assert found["counts"]["kept"] == 2
    assert {remark["kind"] for remark in found["remarks"]} == {"few"}


def test_the_sheet_and_the_page(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--out", "report")
    assert found["sheet"] == "report/sheet.png"
    with Image.open(found["sheet"]) as sheet:
        sheet.load()
        assert sheet.width > 1000
        colours = {colour for _, colour in sheet.getcolors(1 << 24) or []}
    for mark in ("#7a1f1f", "#c8442f", "#2f6fb0"):
        assert tuple(bytes.fromhex(mark[1:])) in colours
    text = Path(found["page"]).read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("figure") == 4
    assert page.tags.count("script") == 1
    assert "b" not in {tag for tag, attributes in page.attributes if "thing" in str(attributes)}
    assert 'a "quoted" <b>thing</b>' in page.shown
    assert "<img src=x onerror=alert(1)>.png" in page.shown
    sources = [str(attributes.get("src")) for tag, attributes in page.attributes if tag == "img"]
    assert len(sources) == 3  # not the one in the name
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not {"link", "iframe"} & set(page.tags)
    assert "http" not in text
    kinds = [str(attributes["data-kinds"]).split() for tag, attributes in page.attributes if tag == "figure"]
    assert sum("duplicate" in each for each in kinds) == 1
    values = [attributes["value"] for tag, attributes in page.attributes if tag == "button"]
    assert {"", "unusable", "duplicate", "best"} <= set(values)


def test_a_second_look_measures_nothing(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer(capsys)
    monkeypatch.setattr(Measure, "__call__", None)
    second = answer(capsys)
    assert first | {"seconds": 0} == second | {"seconds": 0}


def test_a_zip_and_its_folder_say_the_same(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_folder = answer(capsys)
    shutil.make_archive("photos", "zip", "photos")
    shutil.rmtree("photos")
    Path("photos.zip").rename("photos")
    of_zip = answer(capsys)
    assert of_folder["pictures"] == of_zip["pictures"]


def test_the_resolution_of_a_base(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "photos", "--base", "pocket", "--json", "--workers", "1"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["wanted"]["resolution"] == 128


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "lorra"], "lorra"),
        (["--base", "nowhere"], "nowhere"),
        (["--out", "photos/a.png"], "photos/a.png"),
        (["--workers", "0"], "workers"),
        (["--subject", "ghost"], "ghost"),
    ],
)
def test_what_will_not_do_is_said_in_one_sentence(
    options: list[str], words: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "photos", *options]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert words in told[0]


def test_a_caption_that_cannot_be_read_is_told(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "a.txt").write_bytes(b"\xff\xfa\x81")
    found = answer(capsys)
    (warning,) = found["warnings"]
    assert "a.png has a caption file a.txt that is not text in UTF-8" in warning
