"""The settings of captions: what says them, where the keyword stands, what is left out."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from limner.config.common import Machine
from limner.config.settings import FilePath, Settings, Words

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


class CaptionsSettings(Captioning):
    """Settings of `limner captions`."""

    title: ClassVar[str] = "Captions"

    images: FilePath = Field(description="Folder of pictures, or a data set in any layout that limner train takes.")
    add: str = Field("", description="Tags to add at the end, split at commas, where they are not there.")
    remove: str = Field("", description="Tags to take out, split at commas.")
    replace: tuple[str, ...] = Field((), description="Words to replace, as in puppy=dog; may be repeated.")
    prefix: str = Field("", description="Text to put in front, where it is not there.")
    suffix: str = Field("", description="Text to put at the end, where it is not there.")
    prune_common: float | None = Field(
        None, gt=0, lt=1, description="Leave out tags that more than this share of the captions have, as in 0.8."
    )
    write: bool = Field(False, description="Write the changes; without it they are only shown.")
    undo: bool = Field(False, description="Put back what the last change with --write replaced.")

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.undo and len(self.model_fields_set) > 2:
            raise ValueError("--undo puts back the last change and takes nothing else; leave the other settings out")
        return self
