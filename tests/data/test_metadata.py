"""Captions in metadata.jsonl, as `datasets` lays pictures out."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.data.dataset import load
from limner.data.folder import load_folder
from limner.data.layout import find_dataset
from limner.data.metadata import read_captions
from limner.errors import UserError


def pictures(folder: Path, *names: str) -> None:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (index, 90, 200)).save(folder / name)


def table(folder: Path, *rows: dict) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def captions(folder: Path) -> dict[str, str | None]:
    return {picture.path.name: picture.caption for picture in load_folder(folder).pictures}


def test_captions_are_read_under_the_names_that_scripts_use(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png", "d.png", "e.png")
    table(
        tmp_path,
        {"file_name": "a.png", "text": "a  fox\nin snow"},
        {"file_name": "./b.png", "prompt": "a dog", "score": 3},
        {"file_name": "c.png", "caption": "a füchslein"},
        {"file_name": "d.png", "text": None},
        {"file_name": "e.png", "text": "of the table"},
        {"file_name": "gone.png", "text": "nothing"},
    )
    (tmp_path / "e.caption").write_text("beside it")
    assert captions(tmp_path) == {
        "a.png": "a fox in snow", "b.png": "a dog", "c.png": "a füchslein", "d.png": None, "e.png": "beside it",
    }  # fmt: skip


def test_a_table_above_the_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a.png", "more/b.png")
    table(tmp_path, {"file_name": "train/a.png", "text": "a fox"}, {"file_name": "more/b.png", "text": "a dog"})
    assert captions(tmp_path / "train") == {"a.png": "a fox"}
    loaded = load(find_dataset(tmp_path))
    assert {p.path.name: p.caption for each in loaded for p in each.pictures} == {"a.png": "a fox", "b.png": "a dog"}
    table(tmp_path / "train", {"file_name": "a.png", "text": "a nearer fox"})
    assert captions(tmp_path / "train") == {"a.png": "a nearer fox"}


def test_no_table_leads_out_of_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "set"
    pictures(tmp_path, "secret/a.png", "set/in/b.png")
    outside = str(tmp_path / "secret" / "a.png")
    table(root, {"file_name": "../secret/a.png", "text": "x"}, {"file_name": outside, "text": "y"},
          {"file_name": "in/b.png", "text": "z"})  # fmt: skip
    assert [part.folder for part in find_dataset(root).parts] == [root / "in"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "line 1, is no JSON"), ("\n[1]", "line 2, names no picture"), ('{"text": "a"}', "names no picture"),
     ('{"file_name": 3}', "names no picture"), ("[" * 100_000, "is no JSON")],
)  # fmt: skip
def test_damaged_tables(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(UserError, match=says):
        read_captions(tmp_path)
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="damaged; save it as UTF-8"):
        read_captions(tmp_path)
