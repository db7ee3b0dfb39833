"""Extra words: vectors that a text encoder reads where a text says their name, beside a vocabulary that stays as it is.

They lie in tensors of their own, so that no step of training can move a row of the vocabulary. A word of n vectors
takes n places of a chunk and has n ids in a row, the first free ones above the vocabulary. As in the webui it is found
by the tokens of its name, in any case of the letters, and of several names that fit at a place the longest is meant.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from limner.errors import UserError

MAX_VECTORS = 75  # places of a chunk


@dataclass(frozen=True)
class Word:
    """A name, the tokens by which a text is found to say it, and its vectors (n, dim) by the text encoder's name."""

    name: str
    tokens: tuple[int, ...]
    vectors: Mapping[str, Tensor]

    @property
    def length(self) -> int:
        """How many places it takes."""
        return len(next(iter(self.vectors.values())))


class Words:
    """The words that a model knows beyond its vocabulary. Without any, its text encoders are untouched.

    embeddings: the token embedding of each text encoder, by the encoder's name.
    """

    def __init__(self, embeddings: Mapping[str, nn.Embedding], tokenize: Callable[[str], list[int]]) -> None:
        self._tables = {name: _Table(embedding) for name, embedding in embeddings.items()}
        self._tokenize = tokenize
        self._words: list[Word] = []

    @property
    def vocabularies(self) -> dict[str, Tensor]:
        """The vectors (tokens, dim) of each text encoder's own vocabulary, to be read only."""
        return {name: table.weight for name, table in self._tables.items()}

    def __contains__(self, name: str) -> bool:
        tokens = tuple(self._tokenize(name))
        return any(word.tokens == tokens for word in self._words)

    def add(self, name: str, vectors: Mapping[str, Tensor]) -> Callable[[], None]:
        """Teach a word of vectors (n, dim), by text encoder; returns the function that takes it away again.

        Gradients reach vectors that ask for them. Raises UserError if the name is known already or no name at all, or
        if the vectors are not as wide as the base's.
        """
        tokens = tuple(self._tokenize(name))
        if not tokens:
            raise UserError(f"the embedding {name!r} has a name that no prompt can say; give it letters")
        if name in self:
            raise UserError(f"there are two embeddings that prompts call {name!r}; rename or remove one of them")
        word = Word(name, tokens, dict(vectors))
        self._check(word)
        self._words.append(word)
        self._update()

        def undo() -> None:
            self._words = [each for each in self._words if each is not word]
            self._update()

        return undo

    def said(self, names: Iterable[str], texts: Iterable[str]) -> list[str]:
        """Which of these names the texts would say if all of them were words."""
        by_tokens: dict[tuple[int, ...], list[str]] = {}
        for name in names:
            by_tokens.setdefault(tuple(self._tokenize(name)), []).append(name)
        by_tokens.pop((), None)
        found = {piece for text in texts for piece in split(self._tokenize(text), by_tokens)} & by_tokens.keys()
        return [name for tokens in sorted(found) for name in by_tokens[tokens]]

    def pieces(self, text: str) -> list[list[int]]:
        """The ids of a text, in pieces that belong together: one token, or all the vectors of a word."""
        starts, start = {}, self._size
        for word in self._words:
            starts[word.tokens] = start, word.length
            start += word.length
        found: list[list[int]] = []
        for piece in split(self._tokenize(text), starts):
            first, length = starts.get(piece, (piece[0], 1))
            found.append(list(range(first, first + length)))
        return found

    @property
    def _size(self) -> int:
        """Ids of the vocabulary."""
        return next(iter(self._tables.values())).size

    def _check(self, word: Word) -> None:
        if word.vectors.keys() != self._tables.keys():
            raise UserError(
                f"the embedding {word.name!r} is for a base with {len(word.vectors)} text encoders, and this one has "
                f"{len(self._tables)}; use the base it was made for"
            )
        for name, vectors in word.vectors.items():
            width = self._tables[name].width
            if vectors.dim() != 2 or not 1 <= len(vectors) <= MAX_VECTORS or vectors.shape[1] != width:
                raise UserError(
                    f"the embedding {word.name!r} has vectors of shape {tuple(vectors.shape)}, and the base takes up "
                    f"to {MAX_VECTORS} of width {width}; use the base it was made for"
                )

    def _update(self) -> None:
        for name, table in self._tables.items():
            table.show([word.vectors[name] for word in self._words])


def split(tokens: Sequence[int], names: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Cut a text's tokens into names and single tokens: from the left, the longest name that fits."""
    by_first: dict[int, list[tuple[int, ...]]] = {}
    for name in sorted(names, key=len, reverse=True):
        by_first.setdefault(name[0], []).append(name)
    cut, at = [], 0
    while at < len(tokens):
        fitting = (name for name in by_first.get(tokens[at], ()) if tuple(tokens[at : at + len(name)]) == name)
        piece = next(fitting, (tokens[at],))
        cut.append(piece)
        at += len(piece)
    return cut


class _Table:
    """One text encoder's token embedding, which while there are extra rows reads ids beyond its own from them."""

    def __init__(self, embedding: nn.Embedding) -> None:
        self._embedding: Any = embedding
        self._rows: list[Tensor] = []
        self.size, self.width = embedding.weight.shape

    @property
    def weight(self) -> Tensor:
        return self._embedding.weight.detach()

    def show(self, rows: list[Tensor]) -> None:
        """Have these vectors under the ids from `size` on; without any, leave the module as it came."""
        self._rows = rows
        self._embedding.__dict__.pop("forward", None)
        if rows:
            self._plain = self._embedding.forward
            self._embedding.forward = self._look_up

    def _look_up(self, ids: Tensor) -> Tensor:
        plain = self._plain(ids.clamp(max=self.size - 1))
        # joined anew each time, for while they are trained the vectors change
        rows = torch.cat([each.to(plain.device, plain.dtype) for each in self._rows])
        extra = functional.embedding((ids - self.size).clamp(min=0), rows)
        return torch.where((ids >= self.size)[..., None], extra, plain)
