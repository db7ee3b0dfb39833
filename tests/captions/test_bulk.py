"""`limner captions`: captions of a whole folder looked at, changed, and changed back."""

import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from limner.captions.edits import Edits
from limner.cli import main
from limner.data.dataset import load
from limner.data.layout import find_dataset

CAPTIONS = {
    "a.png": "brown hair, smile, on a beach",
    "b.png": "zvq, brown hair, in snow",
    "c.png": "Brown Hair, indoors, smile",
    "d.png": None,
}


def photos(folder: Path, captions: dict[str, str | None] = CAPTIONS, ending: str = ".txt") -> Path:
    folder.mkdir(parents=True)
    for index, (name, text) in enumerate(captions.items()):
        Image.new("RGB", (80, 72), (40 * index, 90, 200)).save(folder / name)
        if text is not None:
            (folder / name).with_suffix(ending).write_text(text, encoding="utf-8")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """What the command's --json says."""
    assert main(["captions", *map(str, arguments), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def texts(folder: Path) -> dict[str, str | None]:
    """What training would read."""
    return {picture.path.name: picture.caption for each in load(find_dataset(folder)) for picture in each.pictures}


@pytest.mark.parametrize(
    ("edits", "before", "after"),
    [
        (Edits(added=("day", "Smile")), "smile, hat", "smile, hat, day"),
        (Edits(added=("day",)), "", "day"),
        (Edits(removed=("SMILE",)), "smile, hat,smile", "hat"),
        (Edits(removed=("smile",)), "a smile,hat", "a smile,hat"),
        (Edits(removed=("zvq",)), "zvq, hat", "zvq, hat"),
        (Edits(removed=("zvq dog",)), "zvq dog, hat", "zvq, hat"),
        (Edits(replaced=(("puppy", "dog"),)), "a Puppy and puppydom, puppy", "a dog and puppydom, dog"),
        (Edits(replaced=(("red hat", ""),)), "smile, red hat, day", "smile, day"),
        (Edits(replaced=(("zvq", "hwrk"),)), "zvq dog", "zvq, hwrk dog"),
        (Edits(replaced=((r"\1", r"\g<0>"),)), r"a \1", r"a \g<0>"),
        (Edits(prefix="photo, ", suffix=", sharp"), "photo, cat", "photo, cat, sharp"),
    ],
)
def test_an_edit(edits: Edits, before: str, after: str) -> None:
    assert edits.apply(before, "zvq") == after
    assert edits.apply(after, "zvq") == after or edits.replaced


def test_captions_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos", CAPTIONS | {"e.png": ", ".join(f"word {n}" for n in range(40))})
    before = snapshot(folder)
    found = told(capsys, folder)
    assert (found["pictures"], found["without"], found["changes"]) == (5, ["d.png"], [])
    assert dict(found["tags"])["brown hair"] == 3
    assert [name for name, tokens in found["long"]] == ["e.png"]
    assert found["most_tokens"] == 40 * 2 + 39 + 30  # each number of two digits is two tokens
    assert snapshot(folder) == before
    assert main(["captions", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "1 of 5 pictures has no caption (d.png)" in out
    assert "e.png" in err
    assert "75 tokens" in err


def test_changes_are_shown_then_written_then_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos")
    before = snapshot(folder)
    edits = ["--keyword", "zvq", "--class", "woman", "--prune", "brown hair", "--add", "day"]
    assert main(["captions", str(folder), *edits]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "- brown hair, smile, on a beach\n+ zvq, smile, on a beach, day\n" in shown
    assert "--write" in shown
    assert snapshot(folder) == before
    after = {
        "a.png": "zvq, smile, on a beach, day", "b.png": "zvq, in snow, day", "c.png": "zvq, indoors, smile, day",
        "d.png": "zvq woman, day",
    }  # fmt: skip
    found = told(capsys, folder, *edits, "--write")
    assert {each["file"]: each["after"] for each in found["changes"]} == after == texts(folder)
    assert found["changes"][3]["before"] is None
    assert told(capsys, folder, *edits, "--write")["changes"] == []
    assert len(told(capsys, folder, "--undo")["restored"]) == 4
    assert snapshot(folder) == before
    assert main(["captions", str(folder), "--undo"]) == 2
    assert "nothing to undo" in capsys.readouterr().err


def test_changes_are_undone_one_after_the_other_and_edits_since_then_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "photos")
    first = texts(folder)
    told(capsys, folder, "--add", "one", "--write")
    second = texts(folder)
    told(capsys, folder, "--add", "two", "--write")
    (folder / "a.txt").write_text("by hand")
    undone = told(capsys, folder, "--undo")
    assert [Path(path).name for path in undone["left"]] == ["a.txt"]
    assert texts(folder) == second | {"a.png": "by hand"}
    told(capsys, folder, "--undo")
    assert texts(folder) == first | {"a.png": "by hand"}


def test_common_tags_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos", CAPTIONS | {"a.png": "zvq, brown hair", "c.png": "zvq, brown hair, hat"})
    found = told(capsys, folder, "--keyword", "zvq", "--prune-common", "0.6")
    assert found["pruned"] == [["brown hair", 3]]
    assert {each["after"] for each in found["changes"]} == {"zvq", "zvq, in snow", "zvq, hat"}


def test_tables_and_files_are_changed_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "set" / "images", CAPTIONS | {"b.png": None})
    rows = [
        {"file_name": "images/a.png", "text": "old", "width": 80},
        {"file_name": "images/b.png", "prompt": "a füchslein, smile"},
        {"file_name": "images/d.png", "width": 80},
    ]
    table = tmp_path / "set" / "metadata.jsonl"
    table.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    before = snapshot(tmp_path / "set")
    told(capsys, tmp_path / "set", "--remove", "smile", "--keyword", "zvq", "--write")
    read = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    assert read == [
        {"file_name": "images/a.png", "text": "zvq, brown hair, on a beach", "width": 80},
        {"file_name": "images/b.png", "prompt": "zvq, a füchslein"},
        {"file_name": "images/d.png", "width": 80, "text": "zvq"},
    ]
    assert texts(folder) == {
        "a.png": "zvq, brown hair, on a beach", "b.png": "zvq, a füchslein", "c.png": "zvq, Brown Hair, indoors",
        "d.png": "zvq",
    }  # fmt: skip
    assert not (folder / "d.txt").exists()
    told(capsys, tmp_path / "set", "--undo")
    assert snapshot(tmp_path / "set") == before


def test_folders_of_kohya_know_their_own_keywords(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos(tmp_path / "set" / "10_zvq woman", {"a.png": "a smile", "b.png": "zvq, hat"}, ".caption")
    photos(tmp_path / "set" / "2_hwrk cat", {"c.png": None, "d.png": "hwrk, hat"})
    found = told(capsys, tmp_path / "set")
    assert found["lacking_keyword"] == ["10_zvq woman/a.png"]
    found = told(capsys, tmp_path / "set", "--own-captions", "keep", "--remove", "hwrk, hat", "--write")
    assert texts(tmp_path / "set") == {"a.png": "zvq, a smile", "b.png": "zvq", "c.png": "hwrk cat", "d.png": "hwrk"}
    assert (tmp_path / "set" / "10_zvq woman" / "a.caption").read_text() == "zvq, a smile\n"
    assert (tmp_path / "set" / "2_hwrk cat" / "c.txt").exists()


def test_many_pictures_are_captioned_the_same_by_several_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos(tmp_path / "photos", {f"{number}.png": None for number in range(5)})
    edits = [folder, "--keyword", "zvq", "--captioner", "pixels", "--template", "object"]
    alone = told(capsys, *edits)["changes"]
    monkeypatch.setattr("limner.captions.bulk.FEW", 0)
    monkeypatch.setattr("limner.captions.bulk.cores", lambda: 2)
    assert told(capsys, *edits)["changes"] == alone
    assert len(alone) == 5


def test_what_cannot_be_read_is_named_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "a.txt").write_bytes(b"\xff\xfe\xff")
    (folder / "d.png").write_bytes(b"no picture")
    found = told(capsys, folder, "--keyword", "zvq", "--captioner", "pixels", "--write")
    assert {each["file"] for each in found["problems"]} == {"a.png", "d.png"}
    assert (folder / "a.txt").read_bytes() == b"\xff\xfe\xff"
    assert not (folder / "d.txt").exists()


def test_a_zip_is_shown_but_not_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    assert len(told(capsys, tmp_path / "photos.zip", "--add", "day")["changes"]) == 3
    assert main(["captions", str(tmp_path / "photos.zip"), "--add", "day", "--write"]) == 2
    assert "is a zip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--undo", "--write"], "--undo"),
        (["--replace", "a"], "A=B"),
        (["--prune-common", "1"], "prune_common"),
        (["--captioner", "wd15"], "'wd14'"),
        (["--caption-model", "somewhere"], "--captioner"),
        (["--keyword-place", "middle"], "--keyword-place"),
    ],
)
def test_mistakes(arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["captions", str(photos(tmp_path / "photos")), *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_history_from_a_stranger_writes_nothing_outside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos")
    (tmp_path / "secret.txt").write_text("mine")
    after = "e8a1ff4b1bd5b0c1a4d1ff0d50c2c4e4b1fd9c1bfa2e7a3a0ba4e6b9a0e4a5f4"
    line = {"when": "now", "files": [{"file": "../secret.txt", "before": "AAAA", "after": after}]}
    (folder / ".limner").mkdir()
    (folder / ".limner" / "captions.jsonl").write_text(json.dumps(line) + "\n")
    assert main(["captions", str(folder), "--undo"]) == 2
    assert "outside" in capsys.readouterr().err
    assert (tmp_path / "secret.txt").read_text() == "mine"
