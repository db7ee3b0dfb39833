"""What a set shows too often and what it lacks, in sentences."""

from dataclasses import replace

import numpy as np
import pytest

from limner.checking.advice import remarks_on, wish_of
from limner.checking.facts import WIDTH, Facts
from limner.checking.findings import Subject, Wanted
from limner.checking.remark import Remark
from limner.checking.variety import Variety, framing_of, variety_of
from limner.vision.region import Region


def facts(number: int, **values: object) -> Facts:
    return replace(Facts(f"{number:02}.jpg", width=800, height=600, brightness=0.5), **values)  # type: ignore[arg-type]


def face(high: float) -> tuple[Region, ...]:
    return (Region(0.4, 0.1, 0.6, 0.1 + high),)


def remarks(
    pictures: list[Facts], subject: Subject = "object", method: str = "lora", features: np.ndarray | None = None
) -> dict[str, Remark]:
    if features is None:
        features = np.random.default_rng(0).integers(-127, 128, (len(pictures), WIDTH)).astype(np.int8)
    kept = ((at, at, each) for at, each in enumerate(pictures))
    wanted = Wanted(subject=subject, method=method)
    found = list(remarks_on(variety_of(kept, features, subject, 1), wanted, lambda at: pictures[at].name))
    assert len({remark.kind for remark in found}) == len(found)
    return {remark.kind: remark for remark in found}


def test_a_varied_set_of_enough_pictures_gets_no_remark() -> None:
    light = (0.2, 0.5, 0.8)
    pictures = [
        facts(n, faces=face((0.05, 0.2, 0.5)[n % 3]), brightness=light[n % 3], colour=("", "red", "blue")[n % 3])
        for n in range(24)
    ]
    assert remarks(pictures, "person") == {}


def test_all_close_ups_lack_what_is_further_away() -> None:
    said = remarks([facts(n, faces=face(0.5)) for n in range(24)], "person")["framing"].sentence
    assert said == "All 24 are close-ups: add three down to the waist and three of the whole figure."
    mixed = [facts(n, faces=face(0.5 if n < 20 else 0.2)) for n in range(24)]
    said = remarks(mixed, "person")["framing"].sentence
    assert said == "20 of 24 are close-ups: add three of the whole figure."


def test_where_the_framing_is_unknown_nothing_is_said_of_it() -> None:
    assert "framing" not in remarks([facts(n) for n in range(24)], "person")
    assert framing_of(facts(1), "person") == ""
    assert framing_of(facts(1, salient=Region(0, 0, 0.3, 0.3)), "object") == "wide"


def test_one_background_would_be_learned() -> None:
    pictures = [facts(n, colour="white" if n < 18 else "") for n in range(24)]
    said = remarks(pictures)["background"].sentence
    assert said.startswith("18 of 24 are on a white background, which would be learned with the object")
    assert "background" not in remarks(pictures, "style")


def test_one_light() -> None:
    assert remarks([facts(n, brightness=0.2) for n in range(24)])["light"].sentence == (
        "All 24 are dark: add some in brighter light."
    )


def test_one_scene_many_times_is_named() -> None:
    features = np.random.default_rng(1).integers(-127, 128, (24, WIDTH)).astype(np.int8)
    features[3:11] = features[3] // 2 + np.random.default_rng(2).integers(-9, 10, (8, WIDTH)).astype(np.int8)
    remark = remarks([facts(n) for n in range(24)], features=features)["same_scene"]
    assert remark.sentence.startswith("8 of 24 pictures show nearly the same scene (03.jpg, 04.jpg, 05.jpg, ...)")
    assert remark.names == tuple(f"{n:02}.jpg" for n in range(3, 11))


@pytest.mark.parametrize(
    ("method", "count", "kind", "level"),
    [
        ("lora", 3, "few", "fault"), ("lora", 12, "few", "note"), ("dreambooth", 200, "many", "note"),
        ("dreambooth", 2, "few", "fault"), ("embedding", 4, "few", "note"), ("embedding", 40, "many", "note"),
        ("lora", 0, "few", "fault"),
    ],
)  # fmt: skip
def test_each_method_wants_its_number(method: str, count: int, kind: str, level: str) -> None:
    remark = remarks([facts(n) for n in range(count)], method=method)[kind]
    assert remark.level == level
    if count:
        assert str(count) in remark.sentence
        assert wish_of(Wanted(method=method)).source in remark.sentence


def test_enough_is_enough() -> None:
    assert not remarks([facts(n, brightness=0.5) for n in range(30)]).keys() & {"few", "many"}
    assert not remarks([facts(n) for n in range(6)], method="embedding").keys() & {"few", "many"}


def test_of_very_many_some_are_compared_and_all_are_counted() -> None:
    features = np.random.default_rng(1).integers(-127, 128, (10, WIDTH)).astype(np.int8)
    found = variety_of(((n, n, facts(n)) for n in range(10)), features, "object", 3)
    assert (found.count, found.compared) == (10, 4)
    assert found.to_dict()["shapes"] == {"landscape": 10}
    assert Variety().to_dict()["count"] == 0
