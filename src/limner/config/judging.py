"""The settings of `limner evaluate` and `limner compare`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from limner.config.common import Base, Machine, Seed
from limner.config.settings import FilePath, Settings, Usual, Words


class Judging(Settings):
    """How pictures are drawn and judged, by `limner evaluate` and `limner compare` alike."""

    title: ClassVar[str] = "How to judge it"

    subject: Literal["auto", "object", "style"] = Field(
        "auto", description="What it is judged as; auto takes a class that ends in style for a style."
    )
    prompt: tuple[str, ...] = Field((), description="What to draw, may be repeated; by default the pictures' captions.")
    floor: tuple[str, ...] = Field(
        (),
        description="What the base can be told for keyword and class, as in 'flat style', may be repeated; the nearest "
        "is the floor.",
    )
    count: Annotated[int, Usual(1, 20)] = Field(3, ge=1, le=100, description="Pictures of a prompt.")
    drawing_steps: Annotated[int, Usual(4, 150)] = Field(20, ge=1, le=1000, description="Steps of the sampler.")
    cfg_scale: Annotated[float, Usual(1, 20)] = Field(
        7.0, allow_inf_nan=False, description="How closely to follow the prompt."
    )
    clip: FilePath | None = Field(
        None, description="Folder of a CLIP model in transformers' layout, for the figure CLIP-T."
    )


class EvaluateSettings(Judging, Base, Machine):
    """Settings of `limner evaluate`."""

    title: ClassVar[str] = "What to judge"

    file: FilePath = Field(description="The file: a LoRA or its kin, an embedding, a checkpoint.")
    images: FilePath = Field(description="Folder of real pictures, best some that it was not trained on.")
    keyword: Words = Field("", description="The word that calls the subject; by default as the file says.")
    class_word: Words = Field("", alias="class", description="What the subject is; by default as the file says.")
    strength: Annotated[float, Usual(-3, 3)] = Field(1.0, allow_inf_nan=False, description="Multiplier of the file.")
    seed: int = Field(1, ge=0, lt=2**62, description="Of the first picture of each prompt.")


class CompareSettings(Judging, Base, Seed, Machine):
    """Settings of `limner compare`."""

    title: ClassVar[str] = "What to compare"

    images: FilePath = Field(description="Folder of pictures, at least 4; some of them will judge instead of teach.")
    keyword: Words = Field(
        min_length=1, max_length=100, description="The word that will stand for the subject in prompts."
    )
    class_word: Words = Field(
        "", alias="class", description="What the subject is, in a word or two, as in dog or style."
    )
    methods: str = Field(
        "dreambooth,lora,embedding", description="What to compare, as in lora,lokr,pivotal; the names of limner train."
    )
    minutes: Annotated[float | None, Usual(0, 2880)] = Field(
        None, gt=0, allow_inf_nan=False, description="Time for the training of each method; by default to its own stop."
    )
    train: tuple[str, ...] = Field(
        (), description="A setting of limner train for all methods, name=value, or one's own as lora.rank=4; repeat it."
    )
    out: FilePath | None = Field(None, description="Folder for everything; by default compare-KEYWORD.")
