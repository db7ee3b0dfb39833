"""The webui's grammar, case by case: what it does with right prompts and with wrong ones."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import UserError
from limner.prompt import Fragment, LoraTag, Part, chunks, emphasis, parse_prompt, remarks_on_negative
from limner.prompt_edits import entry_at, timeline

UP, DOWN = 1.1, 1 / 1.1
COMMA = 1


def weights(text: str) -> list[tuple[str, float]]:
    return [(fragment.text, pytest.approx(fragment.weight)) for fragment in emphasis(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", [("plain", 1)]),
        ("", [("", 1)]),
        ("a (cat) sat", [("a ", 1), ("cat", UP), (" sat", 1)]),
        ("((cat))", [("cat", UP * UP)]),
        ("[cat]", [("cat", DOWN)]),
        ("(cat:1.3)", [("cat", 1.3)]),
        ("(cat : 1.3 )", [("cat ", 1.3)]),
        ("(cat:-.5)", [("cat", -0.5)]),
        ("((cat:2) dog:1.5)", [("cat", 3), (" dog", 1.5)]),
        ("(one)(two)", [("onetwo", UP)]),
        # a weight closes a round bracket and nothing else
        ("[cat:1.3]", [("cat:1.3", DOWN)]),
        ("cat:1.3)", [("cat:1.3)", 1)]),
        ("(cat:big)", [("cat:big", UP)]),
        # a round bracket that was never closed
        ("(cat", [("cat", UP)]),
        ("a ((cat) dog", [("a ", 1), ("cat", UP * UP), (" dog", UP)]),
        ("[cat", [("cat", DOWN)]),
        ("cat) dog]", [("cat) dog]", 1)]),
        ("([cat)]", [("cat", 1)]),
        # escapes; a lone backslash vanishes
        (r"\(cat\) \[dog\] \\", [("(cat) [dog] \\", 1)]),
        (r"\cat", [("cat", 1)]),
    ],
)
def test_emphasis(text: str, expected: list[tuple[str, float]]) -> None:
    assert weights(text) == expected


def test_emphasis_that_is_no_number_is_an_error() -> None:
    with pytest.raises(UserError, match=re.escape("1.2.3")):
        emphasis("(cat:1.2.3)")


def test_break_is_a_word_of_its_own_outside_brackets() -> None:
    assert emphasis("a BREAK b") == [Fragment("a"), Fragment("BREAK", -1), Fragment("b")]
    assert [f.is_break for f in emphasis("a BREAK b")] == [False, True, False]
    assert not any(f.is_break for f in emphasis("a break b BREAKS"))
    assert not any(f.is_break for f in emphasis("(a BREAK b)"))  # its weight is no longer -1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3 ]", [(3, "a "), (10, "a b")]),
        # an even number of stray marks behind an edit makes it text, as the webui's parser has it; an odd one does not
        ("[a:b:0.5]::", [(10, "[a:b:0.5]::")]),
        ("x [a: b : 3 ]:: y", [(10, "x [a: b : 3 ]:: y")]),
        ("[a::3]::", [(10, "[a::3]::")]),
        ("[a:b:0.5]::::", [(10, "[a:b:0.5]::::")]),
        ("[a:b:3]](", [(10, "[a:b:3]](")]),
        ("[c:[a:b:3]:5]::", [(3, "[c:a:5]::"), (10, "[c:b:5]::")]),
        ("[a:b:3] [c:d:4]::", [(3, "a [c:d:4]::"), (10, "b [c:d:4]::")]),
        ("[a:b:3])[a:b:3]::", [(10, "[a:b:3])[a:b:3]::")]),
        ("[a:b:3]:", [(3, "a:"), (10, "b:")]),
        ("[a:b:3]:::", [(3, "a:::"), (10, "b:::")]),
        ("[a:b:3] ::", [(3, "a ::"), (10, "b ::")]),
        ("::[a:b:3]", [(3, "::a"), (10, "::b")]),
        ("[a:b:3]((c))", [(3, "a((c))"), (10, "b((c))")]),
        ("a [b::3]", [(3, "a b"), (10, "a ")]),
        ("[a:b:.5]", [(5, "a"), (10, "b")]),
        ("[a:b:0.25]", [(2, "a"), (10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:-2]", [(10, "b")]),
        ("[a:b:99]", [(10, "a")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        (r"[a\:b:c:3]", [(3, r"a\:b"), (10, "c")]),
        # text, because it makes no sense otherwise
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("[a:b]", [(10, "[a:b]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a [b:c:3]", [(3, "[a b"), (10, "[a c")]),
        ("[a:b:3]]", [(3, "a]"), (10, "b]")]),
        # a loose | or a backslash at the end makes the whole prompt text
        ("a|b [c:3]", [(10, "a|b [c:3]")]),
        ("(a|b) [c:3]", [(10, "(a|b) [c:3]")]),
        ("[c:3] \\", [(10, "[c:3] \\")]),
        ("[a|b:3]", [(10, "[a|b:3]")]),
    ],
)
def test_timed_edits(text: str, expected: list[tuple[int, str]]) -> None:
    assert timeline(text, 10) == expected


def test_alternation_goes_round_step_by_step() -> None:
    assert timeline("[a|(b:1.1)]", 4) == [(1, "a"), (2, "(b:1.1)"), (3, "a"), (4, "(b:1.1)")]
    assert [text for _, text in timeline("[fe|||]male", 6)] == ["female", "male", "male", "male", "female", "male"]
    assert timeline("[a|[b:c:2]]", 4) == [(1, "a"), (2, "b"), (3, "a"), (4, "c")]


def test_calls_are_counted_from_zero_and_last_steps_from_one() -> None:
    assert [entry_at([3, 10], call) for call in (0, 3, 4, 9)] == [0, 0, 1, 1]
    assert entry_at([10], 12) == 0


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="()[]:|\\ab3. ", max_size=60))
def test_no_bracket_is_ever_an_error(text: str) -> None:
    entries = timeline(text, 7)
    assert entries[-1][0] == 7
    assert [end for end, _ in entries] == sorted({end for end, _ in entries})
    for _, said in entries:
        assert set(said) <= set(text)


def test_hostile_nesting_is_refused_or_read_quickly() -> None:
    assert timeline("(" * 5000 + "[" * 5000, 10) == [(10, "(" * 5000 + "[" * 5000)]
    with pytest.raises(UserError, match="nests"):
        timeline("[" * 500 + "a" + ":1]" * 500, 10)


def test_and_splits_into_weighted_parts() -> None:
    assert parse_prompt("a cat :1.2 AND a dog AND snow:-.5").parts == [
        Part("a cat", 1.2),
        Part(" a dog", 1.0),
        Part(" snow", -0.5),
    ]
    assert parse_prompt("SAND and ANDy").parts == [Part("SAND and ANDy")]
    assert parse_prompt("a cat:2").parts == [Part("a cat", 2.0)]  # the webui's rule holds without AND too
    assert parse_prompt("(a cat:2)").parts == [Part("(a cat:2)")]
    assert parse_prompt("two\nlines AND b").parts == [Part("two\nlines"), Part(" b")]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:x>", LoraTag("x", 1, 1)),
        ("<lora:x:0.5>", LoraTag("x", 0.5, 0.5)),
        ("<lora:x:0.5:-2>", LoraTag("x", 0.5, -2)),
        ("<lora:x:0>", LoraTag("x", 0, 0)),
        ("<lyco:x y.z:1:2:8>", LoraTag("x y.z", 1, 2, 8)),
        ("<lora:x:te=0.3>", LoraTag("x", 0.3, 0.3)),
        ("<lora:x:0.9:unet=0.1:dyn=4>", LoraTag("x", 0.9, 0.1, 4)),
        ("<lora:../../x:1>", LoraTag("../../x", 1, 1)),
    ],
)
def test_lora_tags_leave_the_text(tag: str, expected: LoraTag) -> None:
    parsed = parse_prompt(f"a {tag}cat")
    assert parsed.loras == [expected]
    assert parsed.parts == [Part("a cat")]


@pytest.mark.parametrize(
    ("tag", "applied", "parts", "why"),
    [
        ("<lora:x:1:lbw=OUTALL>", LoraTag("x"), ("lbw=OUTALL",), "all blocks of a LoRA at the same strength"),
        ("<lora:x:0.5:start=4:stop=9>", LoraTag("x", 0.5, 0.5), ("start=4", "stop=9"), "at all steps"),
        ("<lora:x:1:step=3-9>", LoraTag("x"), ("step=3-9",), "at all steps"),
        ("<lyco:x:unet=2:hr=0.5>", LoraTag("x", 1, 2), ("hr=0.5",), "does not know"),
        ("<lora:x:1:1:4:1>", LoraTag("x", 1, 1, 4), ("1 as part 5",), "a name, two strengths and a rank"),
        ("<lora:x:0.9:te=0.3>", LoraTag("x", 0.3, 0.3), ("0.9",), "te= is given too"),
        ("<lora:x:te=0.3:te=0.4>", LoraTag("x", 0.4, 0.4), ("te=0.3",), "twice"),
        ("<lora:x:1:TE=0.3>", LoraTag("x"), ("TE=0.3",), "does not know"),
    ],
)
def test_what_of_a_tag_is_not_applied_is_told(tag: str, applied: LoraTag, parts: tuple[str, ...], why: str) -> None:
    parsed = parse_prompt(f"a cat {tag}")
    (found,) = parsed.loras
    assert (found.name, found.text_strength, found.unet_strength, found.rank) == (
        applied.name, applied.text_strength, applied.unet_strength, applied.rank,
    )  # fmt: skip
    assert found.not_applied == parts
    assert parsed.remarks == found.remarks
    assert all(part in " ".join(parsed.remarks) for part in (tag, *parts, why))


@pytest.mark.parametrize("text", ["<lora:x:1", "<lora>", "<lora:>", "< lora:x:1", "<LORA", "<lycoris x>"])
def test_what_only_looks_like_a_tag_is_told(text: str) -> None:
    (remark,) = parse_prompt(f"a cat {text}").remarks
    assert text in remark
    assert "read as text" in remark
    assert not parse_prompt("a <cat> 1 < 2 <3 lora:x:1 <lora:x:1>").remarks


def test_tags_in_a_negative_prompt_are_told_to_be_text() -> None:
    assert not remarks_on_negative("blurry <3")
    (remark,) = remarks_on_negative("blurry <lora:x:1> <lora:x:1>")
    assert "<lora:x:1> is read as text" in remark


def test_several_loras_and_a_less_than_sign() -> None:
    parsed = parse_prompt("<lora:a:1> 1 < 2 <lora:b:2> <3")
    assert [lora.name for lora in parsed.loras] == ["a", "b"]
    assert parsed.parts == [Part(" 1 < 2  <3")]


@pytest.mark.parametrize(
    "tag",
    [
        "<lora:x:strong>",
        "<lora:x:nan>",
        "<lora:te=1>",
        "<hypernet:x:1>",
        "<lora:x:1:1:many>",
        "<lora:x:1:1:0>",
        "<lora: :1>",
        "<lora:x::1>",
    ],
)
def test_a_tag_that_cannot_be_read_is_an_error_that_names_it(tag: str) -> None:
    with pytest.raises(UserError, match=re.escape(tag)):
        parse_prompt(f"a cat {tag}")


def pieces(text: str) -> list[list[int]]:
    """A word is a token: its number; a comma is 1; a word like 900x4 has four that belong together."""
    found = []
    for word in text.replace(",", " , ").split():
        first, _, count = word.partition("x")
        found.append([COMMA] if word == "," else list(range(int(first), int(first) + int(count or 1))))
    return found


def words(start: int, stop: int) -> str:
    return " ".join(str(number) for number in range(start, stop))


def sizes(text: str) -> list[int]:
    return [len(chunk.ids) for chunk in chunks(text, pieces, COMMA)]


def test_chunks_hold_75_tokens_and_there_is_always_one() -> None:
    assert sizes("") == [0]
    assert sizes(words(100, 175)) == [75]
    assert sizes(words(100, 176)) == [75, 1]
    assert sizes(words(100, 300)) == [75, 75, 50]


def test_a_full_chunk_breaks_after_a_comma_at_most_20_tokens_back() -> None:
    near = words(100, 160) + "," + words(200, 230)  # the comma is token 61: 15 before the end
    assert sizes(near) == [61, 30]
    edge = words(100, 155) + "," + words(200, 230)  # 20 back
    assert sizes(edge) == [56, 30]
    far = words(100, 154) + "," + words(200, 230)  # 21 back
    assert sizes(far) == [75, 10]
    first, second = chunks(near, pieces, COMMA)
    assert first.ids[-1] == COMMA
    assert second.ids[0] == 200


def test_a_comma_that_would_be_token_76_opens_the_next_chunk() -> None:
    assert sizes(words(100, 175) + "," + words(200, 210)) == [75, 11]


def test_a_word_of_several_vectors_is_never_cut() -> None:
    assert sizes(words(100, 172) + " 900x3") == [75]
    assert sizes(words(100, 173) + " 900x3 5") == [73, 4]
    assert sizes(words(100, 160) + "," + words(200, 213) + " 900x3") == [74, 3]  # no comma is gone back to, as there
    _, second = chunks(f"{words(100, 173)} (900x3:1.5)", pieces, COMMA)
    assert second.ids == [900, 901, 902]
    assert second.weights == [1.5] * 3


def test_break_ends_a_chunk_even_an_empty_one() -> None:
    assert sizes("1 2 BREAK 3") == [2, 1]
    assert sizes("BREAK 3") == [0, 1]
    assert sizes("3 BREAK") == [1]
    assert sizes("1 BREAK BREAK 2") == [1, 0, 1]


def test_weights_follow_their_tokens_into_the_next_chunk() -> None:
    first, second = chunks(f"{words(100, 160)}, ({words(200, 230)}:1.5)", pieces, COMMA)
    assert first.weights == [1.0] * 61
    assert second.weights == [1.5] * 30
