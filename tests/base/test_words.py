"""Words beyond the vocabulary: found in texts as the webui finds them, read from tensors of their own, taken away."""

import pytest
import torch
from training import same, snapshot

from limner.base.model import BaseModel
from limner.device import generator
from limner.errors import UserError


def vectors(count: int, seed: int = 0, width: int = 32) -> dict[str, torch.Tensor]:
    return {"text_encoder": 0.02 * torch.randn(count, width, generator=generator(seed))}


def states(model: BaseModel, text: str) -> torch.Tensor:
    with torch.no_grad():
        return model.encode_prompts([text]).hidden_states


def test_a_text_says_a_word_by_its_tokens_and_the_longest_name_is_meant(tiny_base: BaseModel) -> None:
    plain = tiny_base.tokenize("a zqvx fox")
    tiny_base.words.add("zqvx", vectors(2))
    tiny_base.words.add("Zqvx fox", vectors(3))
    size = 49408
    assert tiny_base.tokenize("a zqvx") == [plain[0], size, size + 1]
    assert tiny_base.tokenize("A ZQVX  cat")[1:3] == [size, size + 1]
    assert tiny_base.pieces("a zqvx Fox, zqvx")[1:] == [[size + 2, size + 3, size + 4], [267], [size, size + 1]]
    assert tiny_base.tokenize("a fox zqvxy")[1] == plain[-1]
    assert all(id < size for id in tiny_base.tokenize("a fox azqvx zqv x"))


def test_its_vectors_stand_in_the_places_of_a_token(tiny_base: BaseModel) -> None:
    table = tiny_base.networks["text_encoder"].get_input_embeddings().weight
    cat, dog = (tiny_base.tokenize(word)[0] for word in ("cat", "dog"))
    wanted = states(tiny_base, "a cat dog in a hat")
    undo = tiny_base.words.add("zqvx", {"text_encoder": table[[cat, dog]].clone()})
    assert torch.equal(states(tiny_base, "a zqvx in a hat"), wanted)
    undo()
    assert not torch.equal(states(tiny_base, "a zqvx in a hat"), wanted)


def test_a_word_is_not_cut_by_the_end_of_a_chunk(tiny_base: BaseModel) -> None:
    tiny_base.words.add("zqvx", vectors(4))
    fits = tiny_base.chunk(tiny_base.pieces("cat " * 71 + "zqvx"))
    assert len(fits) == 1
    first, second = tiny_base.chunk(tiny_base.pieces("cat " * 72 + "zqvx dog"))
    assert (len(first), len(second)) == (77, 77)
    assert max(first) == 49407
    assert second[1:5] == [49408, 49409, 49410, 49411]


def test_gradients_reach_the_vectors_and_nothing_else(tiny_base: BaseModel) -> None:
    learned = torch.nn.Parameter(vectors(2)["text_encoder"])
    fixed = vectors(2, seed=1)
    tiny_base.words.add("zqvx", {"text_encoder": learned})
    tiny_base.words.add("wpfh", fixed)
    last = tiny_base.encode_prompts(["a zqvx", "wpfh zqvx"]).hidden_states[:, -1]
    last[:, ::2].sum().backward()  # the sum of all is the same whatever they are: the last layer is a norm
    assert learned.grad is not None
    assert (learned.grad.abs().sum(dim=1) > 0).all()
    assert all(p.grad is None for p in tiny_base.networks["text_encoder"].parameters())


def test_the_base_is_as_ever_when_its_words_are_gone(tiny_base: BaseModel) -> None:
    before, answer = snapshot(tiny_base), states(tiny_base, "a zqvx cat")
    table = tiny_base.networks["text_encoder"].get_input_embeddings()
    one, two = tiny_base.words.add("zqvx", vectors(2)), tiny_base.words.add("wpfh", vectors(1))
    assert "ZQVX" in tiny_base.words
    assert not torch.equal(states(tiny_base, "a zqvx cat"), answer)
    one()
    assert torch.equal(states(tiny_base, "a zqvx cat"), answer)
    two()
    one()
    assert "zqvx" not in tiny_base.words
    assert "forward" not in table.__dict__
    assert same(snapshot(tiny_base), before)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("known", vectors(1), "two embeddings"),
        (" ", vectors(1), "no prompt can say"),
        ("zqvx", vectors(1, width=768), "width 32"),
        ("zqvx", vectors(76), "up to 75"),
        ("zqvx", {"text_encoder": torch.zeros(32)}, "shape"),
        ("zqvx", vectors(1) | {"text_encoder_2": torch.zeros(1, 64)}, "2 text encoders"),
    ],
)
def test_what_cannot_be_a_word_is_refused(
    tiny_base: BaseModel, name: str, given: dict[str, torch.Tensor], said: str
) -> None:
    tiny_base.words.add("known", vectors(1))
    with pytest.raises(UserError, match=said):
        tiny_base.words.add(name, given)
    assert len(tiny_base.tokenize("known zqvx")) == 1 + len(tiny_base.tokenizer.tokenize("zqvx"))
