"""What the page says of the methods before one is chosen."""

import re
from pathlib import Path
from typing import Any

import pytest
from studio.served import BASE, Served

from limner.base import pocket
from limner.studio.methods import LIKENESS
from limner.studio.sizes import file_bytes, shapes_of

DEFAULTS = Path(__file__).resolve().parents[2] / "docs" / "defaults.md"


def rows(name: str) -> list[list[float]]:
    """The numbers of the rows of the table "What comes of them" that begin so."""
    part = DEFAULTS.read_text(encoding="utf-8").split("## What comes of them")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if re.match(rf"\| .*{name}", line)]
    return [[float(cell.split("±")[0]) for cell in line.split("|")[2:5]] for line in lines]


def test_the_cards_say_what_was_measured() -> None:
    subjects = rows("(likeness|style) \\|")
    assert len(subjects) == 6
    [means] = rows("mean of the six")
    for at, (mean, best) in enumerate(LIKENESS.values()):
        assert mean == means[at]
        assert best == max(each[at] for each in subjects)


def test_sizes_are_those_of_real_files() -> None:
    """Those of docs/defaults.md, on the pocket base."""
    shapes = shapes_of(pocket.FOLDER)
    assert shapes is not None
    [real] = rows("file, MB")
    for method, size in zip(("lora", "full", "embedding"), real, strict=True):
        assert file_bytes(shapes, [method]) == pytest.approx(size * 1e6, rel=0.03)
    assert file_bytes(shapes, ["oft"]) is None


def test_every_method_is_told_with_its_form(studio: Served) -> None:
    told: dict[str, dict[str, Any]] = {each["name"]: each for each in studio.get(f"/api/methods?base={BASE}")}
    assert list(told)[:3] == ["lora", "dreambooth", "embedding"]
    assert {"dora", "slider", "pivotal"} <= set(told)
    assert set(told["pivotal"]["sections"]) == {"embedding", "lora"}
    names = {field["name"] for section in told["lora"]["sections"]["lora"] for field in section["fields"]}
    assert {"rank", "alpha", "layers"} <= names
    assert not told["slider"]["needs_images"]
    assert told["lora"]["seconds"] is None


def test_a_base_that_is_not_there_has_no_sizes(studio: Served) -> None:
    told = studio.get("/api/methods?base=nowhere.safetensors")
    assert all(each["file_bytes"] is None for each in told)
