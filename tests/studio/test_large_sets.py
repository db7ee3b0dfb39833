"""A set of as many pictures as there may be, about each of which something was decided."""

import time
import tomllib

import httpx2
import pytest
from studio.served import Served

from limner.preparation.choices import HEAD
from limner.studio.sets import MOST_FILES, PictureSet, number_of

NAMES = [f"{number:05}.png" for number in range(MOST_FILES)]
FINDING = {"kind": "small", "level": "hint", "title": "It is small", "sentence": "It is small. " * 5, "advice": "None."}


@pytest.fixture(scope="module")
def large(studio: Served) -> int:
    """Put where an upload and a check put it: no picture is looked at here."""
    number = studio.post("/api/datasets", {"name": "large"})["id"]
    pictures = PictureSet(studio.folder / "datasets" / str(number))
    for name in NAMES:
        (pictures.originals / name).touch()
    pictures.keep_checked({"pictures": [{"name": name, "kept": True, "findings": [FINDING] * 2} for name in NAMES]})
    tables = (f'[pictures."{name}"]\ncaption = "a {name}"\ncrop = [0.0, 0.0, 1.0, 0.5]\n\n' for name in NAMES)
    pictures.choices_file.write_text(HEAD + "".join(tables), encoding="utf-8")
    return number


def patch(studio: Served, number: int, name: str, **choices: object) -> tuple[float, httpx2.Response]:
    began = time.monotonic()
    answer = studio.client.patch(f"/api/datasets/{number}/pictures/{number_of(name)}", json=choices)
    return time.monotonic() - began, answer


def test_one_decision_of_ten_thousand_is_quick_and_leaves_the_others(studio: Served, large: int) -> None:
    file = PictureSet(studio.folder / "datasets" / str(large)).choices_file
    before = tomllib.loads(file.read_text())["pictures"]
    assert patch(studio, large, NAMES[0], keep=True)[1].status_code == 200  # the first has the file to read
    tries = [patch(studio, large, name, keep=False, caption=None) for name in NAMES[10:5010:1000]]
    assert min(seconds for seconds, _ in tries) < 1.0  # parsing the file takes some seconds
    assert [answer.json()["by_hand"] for _, answer in tries] == [["keep", "crop"]] * 5
    after = tomllib.loads(file.read_text())["pictures"]
    changed = {name for name in NAMES if before[name] != after[name]}
    assert changed == {NAMES[0], *NAMES[10:5010:1000]}
    assert after[NAMES[10]] == {"crop": [0.0, 0.0, 1.0, 0.5], "keep": False}


def test_a_picture_that_is_gone_is_not_decided_of_though_the_check_knows_it(studio: Served, large: int) -> None:
    (studio.folder / "datasets" / str(large) / "originals" / NAMES[-1]).unlink()
    _, answer = patch(studio, large, NAMES[-1], keep=True)
    assert answer.status_code == 400
    assert "load the page again" in answer.json()["detail"]
