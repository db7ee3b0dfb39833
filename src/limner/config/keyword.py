"""The settings of `limner keyword`."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from limner.config.common import Base, Machine, Seed
from limner.config.settings import FilePath, Usual, Words


class KeywordSettings(Base, Seed, Machine):
    """Settings of `limner keyword`."""

    title: ClassVar[str] = "The keyword"

    keyword: Words = Field(min_length=1, max_length=100, description="The word that is to stand for your subject.")
    class_word: Words = Field(
        "", alias="class", max_length=100, description="What the subject is, in a word or two, as in dog or style."
    )
    count: Annotated[int, Usual(1, 20)] = Field(3, ge=1, le=100, description="Pictures of each prompt.")
    drawing_steps: Annotated[int, Usual(4, 150)] = Field(15, ge=1, le=1000, description="Steps of the sampler.")
    proposals: Annotated[int, Usual(0, 20)] = Field(5, ge=0, le=50, description="How many other keywords to propose.")
    out: FilePath | None = Field(None, description="A .png to write: pictures without and with the keyword.")

    @model_validator(mode="after")
    def _png(self) -> Self:
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise ValueError(f"out = {self.out} does not end in .png; give the name of a picture")
        return self
