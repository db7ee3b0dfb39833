"""Embedding (textual inversion, Gal et al. 2022, arXiv 2208.01618): a new word, learned as 1 to 16 vectors.

Nothing of the base moves: the vectors lie in a tensor of their own, read where a text says the keyword.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.base.model import BaseModel
from limner.config import Settings, Usual
from limner.data.keyword import proposals
from limner.device import generator
from limner.errors import UserError
from limner.methods.method import Method, ParamGroup
from limner.weights import Weights


class EmbeddingConfig(Settings):
    """What an embedding is made of."""

    keyword: str = Field(
        min_length=1, examples=["zqvx"], description="The word that it is in captions; by default the run's."
    )
    vectors: Annotated[int, Usual(1, 16)] = Field(
        4, ge=1, le=16, description="How many, each taking one of a prompt's 75 places."
    )
    initial: str = Field("", description="Words from which it starts; by default the class, or else chance.")
    rate: Annotated[float, Usual(1, 100)] = Field(
        20.0,
        gt=0,
        allow_inf_nan=False,
        description="Times the run's learning rate, in units of the typical number in the vocabulary's vectors.",
    )
    max_norm: Annotated[float, Usual(0.5, 10, off=0)] = Field(
        1.5,
        ge=0,
        allow_inf_nan=False,
        description="Longest that a vector may get, in typical lengths of the vocabulary's; 0 for any.",
    )


class Embedding(Method):
    """Vectors in float32, of a word that the vocabulary does not have."""

    Config = EmbeddingConfig
    kind = "embedding"
    from_run: ClassVar[Mapping[str, str]] = {"keyword": "keyword", "initial": "class_word"}

    def __init__(self, config: EmbeddingConfig) -> None:
        self.config = config
        self.vectors: dict[str, nn.Parameter] = {}
        self._typical: dict[str, float] = {}
        self._family = ""
        self._undo: Callable[[], None] = lambda: None

    @property
    def trains_text(self) -> bool:
        return True

    def check(self, model: BaseModel) -> None:
        """Raise UserError if the keyword is a word of the vocabulary, which prompts could then no longer say."""
        keyword = self.config.keyword
        if len(model.tokenize(keyword)) == 1:
            other = proposals(keyword, model.tokenize)[0]
            raise UserError(
                f"the vocabulary already has {keyword!r} as a word of its own, which the embedding would hide in every "
                f"prompt; take another keyword, such as {other!r}"
            )

    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        self.check(model)
        self._family = model.family.name
        tokens = model.tokenize(self.config.initial)
        random = generator(seed)
        groups = []
        for network, vocabulary in model.words.vocabularies.items():
            typical = float(vocabulary.float().square().mean().sqrt())
            start = _start(vocabulary, tokens, self.config.vectors, typical, random)
            self.vectors[network] = nn.Parameter(start.to(model.device))
            self._typical[network] = typical
            # an adaptive step is as long as its rate, whatever it moves: so it is measured by what it is to move
            groups.append(ParamGroup(f"{network}'s words", [self.vectors[network]], self.config.rate * typical))
        self._undo = model.words.add(self.config.keyword, self.vectors)
        return groups

    @torch.no_grad()
    def refresh(self) -> None:
        """Shorten the vectors that grew too long; the model reads them as they are."""
        if not self.config.max_norm:
            return
        for network, vectors in self.vectors.items():
            longest = self.config.max_norm * self._typical[network] * vectors.shape[1] ** 0.5
            vectors.mul_((longest / vectors.norm(dim=1, keepdim=True)).clamp(max=1))

    def detach(self) -> None:
        self._undo()

    def weights(self) -> Weights:
        tensors = {network: vectors.detach().cpu().clone() for network, vectors in self.vectors.items()}
        return Weights("embedding", self._family, tensors, name=self.config.keyword)

    def state(self) -> dict[str, Tensor]:
        return dict(self.vectors)

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        if {n: t.shape for n, t in self.vectors.items()} != {n: t.shape for n, t in tensors.items()}:
            raise UserError("the saved embedding has another number of vectors than these settings; start a new run")
        for network, vectors in self.vectors.items():
            vectors.copy_(tensors[network])

    @staticmethod
    def apply(
        model: BaseModel, weights: Weights, unet_strength: float = 1.0, text_strength: float = 1.0
    ) -> Callable[[], None]:
        """Lend a model the word `weights.name`. A word has no strength of its own: prompts say it with emphasis."""
        if weights.kind != "embedding":
            raise UserError(f"the file holds {weights.kind} weights, not an embedding; use it as what it is")
        if weights.family != model.family.name:
            raise UserError(
                f"the embedding {weights.name!r} is for {weights.family}, but {model.name} is {model.family.name}; "
                "use another base"
            )
        return model.words.add(weights.name, weights.tensors)


def _start(vocabulary: Tensor, tokens: list[int], count: int, typical: float, random: torch.Generator) -> Tensor:
    """Vectors (count, dim), float32: the tokens' own, each as often as is needed, or random ones of their size."""
    if not tokens:
        return typical * torch.randn(count, vocabulary.shape[1], generator=random)
    chosen = [tokens[index * len(tokens) // count] for index in range(count)]
    return vocabulary[chosen].float().cpu()
