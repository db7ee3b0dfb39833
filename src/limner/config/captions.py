"""The settings of captions: what says them, where the keyword stands, what is left out."""

from typing import ClassVar, Literal

from pydantic import Field

from limner.config.common import Machine
from limner.config.settings import Settings, Words

Place = Literal["front", "back", "class"]


class Subject(Settings):
    """Whom captions are about."""

    title: ClassVar[str] = "Captions"

    keyword: Words = Field("", max_length=100, description="The word that will stand for the subject in prompts.")
    class_word: Words = Field(
        "", alias="class", description="What the subject is, in a word or two, as in dog or style."
    )


class Captioning(Subject, Machine):
    """What each picture is called."""

    template: str = Field(
        "{keyword} {class}",
        description="What names the subject; or a list of such texts, one for each picture: "
        "object, person, animal, style, auto.",
    )
    captioner: str | None = Field(
        None, description="What says more of a picture: pixels, wd14, blip, florence, or one of another package."
    )
    caption_model: str | None = Field(
        None, description="The captioner's model: a folder, or a hub id that is in the cache."
    )
    download_model: bool = Field(False, description="Fetch models from the hub that are not there.")
    captioner_set: tuple[str, ...] = Field(
        (), description="A setting of the captioner's own as name=value, as in threshold=0.5; may be repeated."
    )
    own_captions: Literal["keep", "extend", "replace"] = Field(
        "keep", description="Captions beside pictures: keep them, add what the captioner says, or replace them."
    )
    keyword_place: Place | None = Field(
        None,
        description="Where the keyword goes: front, back, or before the word for the class; by default front, and "
        "in a captioner's sentence before the class.",
    )
    prune: str = Field(
        "", description="Tags to leave out, split at commas, so that the keyword absorbs them: brown hair, blue eyes."
    )
