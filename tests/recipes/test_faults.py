"""Planted faults, a small set of them: what is hard `limner check` finds whole, and clean pictures it leaves alone."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from bench.check import Said, accused, found, kin, summary, understand
from limner.checking.findings import KINDS
from limner.cli import main
from recipes.faults import profiles, rng_of, spoil
from recipes.faults.edits import EDITS, encode
from recipes.faults.messy import messy
from recipes.faults.plan import FAULTS

SIDE = (640, 560)
PLANTED = [name for name in FAULTS if name not in ("EXIF 2", "EXIF 3", "EXIF 4", "EXIF 7", "EXIF 8")]  # as EXIF 5 and 6
SUBJECTS = Path(__file__).parents[2] / "recipes" / "subjects"


def drawn(number: int) -> Image.Image:
    """A picture with large shapes, sharp edges and fine texture; of each number another."""
    rng = rng_of(number, "drawn")
    low = rng.integers(40, 215, (5, 6, 3), dtype=np.uint8)
    pixels = cv2.resize(low, SIDE, interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        points = rng.integers(0, 600, (4, 2)).astype(np.int32)
        cv2.fillPoly(pixels, [points], [int(value) for value in rng.integers(20, 235, 3)], cv2.LINE_AA)
    texture = rng.normal(0, 6, (SIDE[1], SIDE[0], 1))
    return Image.fromarray(np.clip(pixels + texture, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict], dict[str, Said]]:
    """Four clean pictures, one of each fault, one of each edit; their truth, and what check says of them."""
    folder = tmp_path_factory.mktemp("planted")
    truths: list[dict] = []

    def add(made: tuple[str, bytes], **true: object) -> None:
        ending, data = made
        file = f"{len(truths):04}{ending}"
        (folder / file).write_bytes(data)
        plain = {"planted": "", "found": [], "allowed": [], "hard": False, "original": "", "near": []}
        truths.append(plain | {"file": file} | true)

    originals = [encode(drawn(number)) for number in range(4)]
    for original in originals:
        add(original, kind="photo")
    for number, (name, fault) in enumerate(((name, FAULTS[name]) for name in PLANTED), 10):
        made = fault.make(drawn(number), rng_of(number, name))
        add(made, kind="fault", planted=name, found=[*fault.found], hard=fault.hard)
    for number, (name, edit) in enumerate(EDITS.items()):
        source = originals[number % 4]
        image = Image.open(io.BytesIO(source[1])).convert("RGB")
        made = source if name == "exact" else edit(image, rng_of(number, name))
        add(made, kind="duplicate", planted=name, original=truths[number % 4]["file"])
    answers = folder.parent / "answer.json"
    with answers.open("w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        main(["check", str(folder), "--json", "--quiet"])
    return truths, understand(json.loads(answers.read_text().splitlines()[-1]))


def test_every_hard_fault_is_found(planted: tuple[list[dict], dict[str, Said]]) -> None:
    truths, said = planted
    lines = found(truths, said)
    hard = [truth["planted"] for truth in truths if truth["hard"]]
    assert len(hard) >= 9
    assert {name: lines[name].counted for name in hard} == dict.fromkeys(hard, 1)


@pytest.mark.parametrize(
    "name", [name for name in PLANTED if name.startswith(("EXIF", "CMYK", "anim")) or "P3" in name]
)
def test_what_a_file_is_is_said(planted: tuple[list[dict], dict[str, Said]], name: str) -> None:
    truths, said = planted
    [truth] = [truth for truth in truths if truth["planted"] == name]
    kinds = said[truth["file"]].kinds
    assert bool(kinds.keys() & {*truth["found"]}) == (name != "EXIF 1")
    assert "unreadable" not in kinds


@pytest.mark.parametrize("name", [name for name in EDITS if name not in ("tilted", "quarter turned")])
def test_an_edited_copy_is_grouped_with_its_original(planted: tuple[list[dict], dict[str, Said]], name: str) -> None:
    truths, said = planted
    [truth] = [truth for truth in truths if truth["planted"] == name]
    assert truth["original"] in said[truth["file"]].group


def test_no_clean_picture_is_left_out_or_called_a_duplicate(planted: tuple[list[dict], dict[str, Said]]) -> None:
    told = summary(*planted)
    assert (told["falsely left out"], told["falsely duplicates"]) == (0, 0)
    assert told["clean"] == 4 + sum(not FAULTS[name].found for name in PLANTED)


def test_what_finds_a_fault_is_a_kind_of_finding() -> None:
    assert {kind for fault in FAULTS.values() for kind in fault.found} <= KINDS.keys()


def test_false_accusations_are_counted_by_kind() -> None:
    plain = {"planted": "", "found": [], "hard": False, "original": "", "near": []}
    truths = [
        plain | {"file": "a", "kind": "photo", "allowed": ["text"]},
        plain | {"file": "b", "kind": "photo", "allowed": [], "near": ["a"]},
        plain | {"file": "c", "kind": "photo", "allowed": []},
        plain | {"file": "d", "kind": "duplicate", "allowed": [], "planted": "exact", "original": "c"},
    ]
    together = frozenset("abc")
    said = {
        "a": Said({"text": "note", "best": "note"}, together),
        "b": Said({"blurred": "fault", "duplicate": "fault"}, together),
        "c": Said({"text": "note"}, together),
        "d": Said({}, frozenset()),
    }
    assert kin(truths) == {"a": {*"ab"}, "b": {*"ab"}, "c": {*"cd"}, "d": {*"cd"}}
    lines = accused(truths, said)
    assert {name: line.counted for name, line in lines.items()} == {
        "any that would leave it out": 1,
        "text": 1,
        "blurred": 1,
        "duplicate": 3,
    }
    assert summary(truths, said)["near-duplicates found"] == [0, 1]


def test_profiles_mean_what_their_names_say() -> None:
    def converted(mode: str, value: object, profile: bytes) -> tuple[int, ...]:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = Image.new(mode, (1, 1), value)  # type: ignore[arg-type]
        shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert shown is not None
        return shown.getpixel((0, 0))  # type: ignore[return-value]

    red, green, blue = converted("RGB", (180, 90, 90), profiles.display_p3())
    assert red > 185 > 92 > max(green, blue)
    assert converted("L", 120, profiles.grey()) == pytest.approx((120,) * 3, abs=3)
    assert min(converted("CMYK", (0, 0, 0, 0), profiles.press())) > 245
    assert max(converted("CMYK", (255, 255, 255, 255), profiles.press())) < 25
    cyan = converted("CMYK", (255, 0, 0, 0), profiles.press())
    assert cyan[0] < 40 < 120 < cyan[1] < cyan[2]


def test_a_turned_picture_is_upright_again_by_its_exif() -> None:
    from PIL import ImageOps

    image = drawn(1)
    for orientation in range(1, 9):
        _, data = spoil.turned(orientation)(image, rng_of(0, ""))
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        difference = np.abs(np.asarray(upright, np.int16) - np.asarray(image, np.int16))
        assert upright.size == image.size
        assert difference.mean() < 4


def test_a_messy_set_is_the_same_each_time_and_keeps_its_captions(tmp_path: Path) -> None:
    train = SUBJECTS / "helicopter" / "train"
    for name in ("a", "b"):
        messy(train, tmp_path / name, seed=0)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len([name for name in names if name.endswith(".txt")]) == 24 + 8
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    captions = {path.read_text() for path in train.glob("*.txt")}
    assert {path.read_text() for path in (tmp_path / "a").glob("*.txt")} == captions
