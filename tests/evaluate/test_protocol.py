"""What is asked follows from the captions, the keyword and the class."""

from dataclasses import replace
from pathlib import Path

import pytest

from limner.data.folder import Picture
from limner.evaluate.protocol import Evidence, make_protocol, subject_kind, without_keyword
from limner.generate import Request

REQUEST = Request("", seed=1, count=3)


def evidence(*captions: str | None) -> Evidence:
    pictures = [Picture(Path(f"{i}.png"), str(i), 64, 64, caption) for i, caption in enumerate(captions)]
    return Evidence(pictures, [], True)


def test_a_style_whose_captions_name_objects_is_compared_by_them() -> None:
    captions = [f"a {noun}, fxm style" for noun in "bcdfghjklmnp"]
    protocol, chosen = make_protocol(evidence(*captions), "fxm", "style", REQUEST, rivals=("flat style",))
    assert protocol.is_paired
    assert protocol.subject == "style"
    assert len(protocol.prompts) == len(chosen.judges) == 6
    assert [picture.caption for picture in chosen.judges] == list(protocol.prompts)
    assert protocol.class_prompts[0] == "a b, style"
    assert protocol.rivals[0][1] == "a d, flat style"


@pytest.mark.parametrize(
    ("captions", "class_word"),
    [((None, None), "style"), (("fxm style", "fxm style"), "style"), (("a fxm cat", "a fxm cat on a rug"), "cat")],
)
def test_without_objects_in_captions_a_set_is_compared(captions: tuple[str | None, ...], class_word: str) -> None:
    protocol, chosen = make_protocol(evidence(*captions), "fxm", class_word, REQUEST)
    assert not protocol.is_paired
    assert len(chosen.judges) == 2


def test_pictures_without_captions_are_asked_for_on_several_backgrounds() -> None:
    protocol, _ = make_protocol(evidence(None, None, None), "fxm", "dog", REQUEST)
    assert protocol.prompts[:2] == ("fxm dog", "fxm dog on a white background")
    assert len(protocol.prompts) == 4
    assert protocol.class_prompts[0] == "dog"


def test_given_prompts_are_taken_as_they_are() -> None:
    some = evidence("a b, fxm style", "a c, fxm style")
    protocol, chosen = make_protocol(some, "fxm", "style", REQUEST, ["fxm style of a d"], subject="style")
    assert (protocol.prompts, protocol.is_paired, chosen) == (("fxm style of a d",), False, some)
    assert replace(protocol, subject="object").subject == "object"


def test_words() -> None:
    assert [subject_kind(word) for word in ("style", "Ink Style", "dog", "", "stylesheet")] == [
        "style", "style", "object", "object", "object",
    ]  # fmt: skip
    assert without_keyword("a kzdq airplane on an orange sea", "kzdq") == "an airplane on an orange sea"
    assert without_keyword("a cat, FXM , on a rug, fxms", "fxm") == "a cat, on a rug, fxms"
