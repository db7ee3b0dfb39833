"""Keywords as far as the vocabulary tells."""

import pytest
from transformers import CLIPTokenizerFast

from limner.base.pocket import FOLDER
from limner.data.keyword import keyword_problem, proposals


@pytest.fixture(scope="module")
def tokenize():
    tokenizer = CLIPTokenizerFast.from_pretrained(FOLDER / "tokenizer")
    return lambda text: tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("keyword", ["cat", "Dog", "emma", "my cat", "red_car", "a", "teapot"])
def test_common_words_are_warned_of(keyword: str, tokenize) -> None:
    problem = keyword_problem(keyword, tokenize)
    assert problem is not None
    assert repr(keyword) in problem
    better = proposals(keyword, tokenize)
    assert len(set(better)) == 3
    assert all(repr(word) in problem and keyword_problem(word, tokenize) is None for word in better)
    assert better == proposals(keyword, tokenize)


@pytest.mark.parametrize("keyword", ["sks", "ohwx", "ohwx woman", "zvq style", "fxemoji", "limner"])
def test_rare_keywords_pass(keyword: str, tokenize) -> None:
    assert keyword_problem(keyword, tokenize) is None


def test_syntax_and_empty_keywords_are_warned_of(tokenize) -> None:
    assert "syntax" in (keyword_problem("zv(q", tokenize) or "")
    assert "no letters" in (keyword_problem("", tokenize) or "")
