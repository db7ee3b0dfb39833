"""Florence-2 (Xiao et al. 2023, 2311.06242): captions of three lengths, by the task that it is given."""

from typing import ClassVar, Literal

from pydantic import Field

from limner.captions.sentences import SentenceConfig, Sentences
from limner.config import Settings

TASKS = {"short": "<CAPTION>", "detailed": "<DETAILED_CAPTION>", "paragraph": "<MORE_DETAILED_CAPTION>"}


class FlorenceConfig(SentenceConfig):
    """What Florence can be told."""

    detail: Literal["short", "detailed", "paragraph"] = Field(
        "detailed", description="How much to say; a paragraph is mostly longer than the 75 tokens that a base reads."
    )


class Florence(Sentences):
    """Models that transformers has itself; Microsoft's first ones bring code of their own, which is not run."""

    Config: ClassVar[type[Settings]] = FlorenceConfig
    families = ("florence2",)
    usual = "florence-community/Florence-2-base"

    def prompt(self) -> str:
        assert isinstance(self.config, FlorenceConfig)
        return TASKS[self.config.detail]
