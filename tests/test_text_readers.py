"""Every file that a person or another program wrote is read in any encoding, or named."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limner.base.layout import read_scheduler
from limner.captions.wd14 import TAGS, read_tags
from limner.cli import main
from limner.config import read_toml
from limner.data.layout import find_dataset
from limner.errors import UserError
from limner.preparation.choices import change_choices, read_choices
from limner.preparation.segment_onnx import read_json

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"]


def dataset(path: Path) -> Any:
    return find_dataset(path).parts[0].prefix


def choices(path: Path) -> Any:
    change_choices(path, {"b.png": {"keep": False}})
    assert read_choices(path)["b.png"].keep is False
    return read_choices(path)["a.png"].caption


READERS: dict[str, tuple[str, Callable[[Path], Any], Any]] = {
    "settings.toml": ("[a]\nkeyword = 'größe'\n", read_toml, {"a": {"keyword": "größe"}}),
    "DATASET.TOML": (
        "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'a'\ncaption_prefix = 'größe'\n",
        lambda path: dataset(path.parent),
        "größe",
    ),
    "choices.toml": ('# größe\n[pictures."a.png"]\ncaption = "größe"\n', choices, "größe"),
    TAGS: ("tag_id,name,category,count\n1,größe,0,5\n", read_tags, [("größe", "0")]),
    "scheduler/scheduler_config.json": (
        '{"a": "größe"}',
        lambda path: read_scheduler(path.parent.parent)["a"],
        "größe",
    ),
    "preprocessor_config.json": ('{"a": "größe"}', lambda path: read_json(path)["a"], "größe"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_files_are_read_in_any_encoding(tmp_path: Path, name: str, encoding: str, end: str) -> None:
    text, read, value = READERS[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.replace("\n", end).encode(encoding))
    assert read(path) == value


@pytest.mark.parametrize("name", [name for name in READERS if not name.startswith("scheduler")])
def test_a_file_that_cannot_be_told_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes("犬の写真、青い空".encode("shift-jis"))
    with pytest.raises(UserError, match=re.escape(path.name)):
        READERS[name][1](path)


def test_a_line_separator_in_a_string_is_no_line_end(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("keyword = 'a\u2028b'\n", encoding="utf-8")
    assert read_toml(path) == {"keyword": "a\u2028b"}


def test_config_of_a_command_in_utf_16(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "RUN.TOML"
    config.write_bytes('steps = "größer"'.encode("utf-16"))
    assert main(["train", str(tmp_path), "--config", str(config), "--json"]) == 2
    assert "steps" in json.loads(capsys.readouterr().out)["error"]
