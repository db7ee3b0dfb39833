"""The settings of `limner check`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from limner.config.common import FaceModel, Machine, cache_folder
from limner.config.settings import FilePath, Usual, Words

RESOLUTION = 512  # pixels, where neither a resolution nor a base is said


class CheckSettings(FaceModel, Machine):
    """Settings of `limner check`."""

    title: ClassVar[str] = "Pictures"

    images: FilePath = Field(description="Folder of pictures, with its subfolders, or a zip of them; never changed.")
    class_word: Words = Field(
        "", alias="class", description="What the subject is, in a word or two, as in dog, woman or style."
    )
    subject: Literal["auto", "object", "person", "animal", "style"] = Field(
        "auto", description="What the pictures are of; auto goes by the class."
    )
    method: str = Field("lora", description="Method that you will train with, as in limner train.")
    resolution: Annotated[int | None, Usual(256, 1536)] = Field(
        None, ge=32, le=4096, description=f"Pixels at which you will train; by default the base's own, or {RESOLUTION}."
    )
    base: str | None = Field(None, description="Base model that you will train on: its resolution is looked up.")
    out: FilePath | None = Field(
        None, description="Folder for a contact sheet, sheet.png, and a page to look through, index.html."
    )
    workers: Annotated[int | None, Usual(1, 64)] = Field(
        None, ge=1, le=256, description="Processes; by default one for each core."
    )
    cache: FilePath = Field(
        default_factory=cache_folder,
        description="Folder in which facts about pictures are kept; $LIMNER_CACHE, else the user's own cache.",
    )
