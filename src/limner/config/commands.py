"""The settings of the smaller commands, in sections; a section's `title` heads its options in the help."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from limner.config.common import Cache, Machine, Models, ModelsFolder, Seed
from limner.config.settings import FilePath, Settings, Usual


class Init(Settings):
    """What to start from, in the words of limner.generate.Init."""

    title: ClassVar[str] = "From a picture"

    init_image: FilePath | None = Field(None, description="A picture to start from instead of from noise alone.")
    strength: Annotated[float, Usual(0.05, 1)] = Field(
        0.75, ge=0, le=1, description="How far to leave it: 0 keeps it, 1 draws anew."
    )
    resize: Literal["crop", "stretch", "fill", "latent"] = Field(
        "crop", description="How it gets the size; fill drags its edges out, latent stretches what is encoded."
    )
    mask: FilePath | None = Field(None, description="A picture that is white where to draw anew; the rest stays.")
    mask_invert: bool = Field(False, description="Draw anew where the mask is black.")
    mask_blur: Annotated[float, Usual(0, 64)] = Field(
        4, ge=0, le=256, description="Pixels by which the mask's edge is softened."
    )
    mask_fill: Literal["original", "fill", "noise", "nothing"] = Field(
        "original", description="What is put there first: what is there, the colours around it, noise, or nothing."
    )
    only_masked: bool = Field(False, description="Draw only the part around the mask, in the full size.")
    mask_padding: Annotated[int, Usual(0, 512)] = Field(
        32, ge=0, le=16384, description="Pixels around the mask that only_masked sees as well."
    )


class Hires(Settings):
    """A second pass at a larger size, in the words of limner.generate.Hires."""

    title: ClassVar[str] = "Made larger"

    hires_scale: Annotated[float | None, Usual(1, 4)] = Field(
        None, description="Draw again, this many times larger, from what was drawn."
    )
    hires_width: Annotated[int | None, Usual(64, 4096)] = Field(
        None, description="Pixels after that, instead of the scale; what stands over goes."
    )
    hires_height: Annotated[int | None, Usual(64, 4096)] = Field(
        None, description="Pixels after that, instead of the scale."
    )
    hires_upscaler: str = Field(
        "Latent", description="What makes it larger, by the webui's name: Latent and its kinds, None, Lanczos, Nearest."
    )
    hires_steps: Annotated[int, Usual(0, 150)] = Field(
        0, ge=0, description="Steps of that second pass; 0 takes as many as the first has."
    )
    hires_strength: Annotated[float, Usual(0.05, 1)] = Field(
        0.7, ge=0, le=1, description="How far to leave what was drawn first."
    )


class Drawing(Hires, Init):
    """What to draw. Picture i of `count` has seed + i."""

    title: ClassVar[str] = "What to draw"

    prompt: str = Field(description="In the webui's grammar, with <lora:name:weight> for each LoRA.")
    negative_prompt: str = Field("", description="What the pictures should not show.")
    steps: Annotated[int, Usual(1, 150)] = Field(20, description="Steps of the sampler.")
    sampler: str = Field("DPM++ 2M", description="By the webui's name, as in Euler a, DPM++ 2M, DDIM, UniPC.")
    schedule: str = Field(
        "Automatic", description="Spacing of the steps: Automatic, Karras, Exponential, Uniform, SGM Uniform."
    )
    cfg_scale: Annotated[float, Usual(1, 20)] = Field(7.0, description="How closely to follow the prompt.")
    width: Annotated[int | None, Usual(64, 2048)] = Field(None, description="Pixels; the base's own size by default.")
    height: Annotated[int | None, Usual(64, 2048)] = Field(None, description="Pixels; the base's own size by default.")
    seed: int = Field(-1, description="Of the first picture; -1 takes a new one each time.")
    count: Annotated[int, Usual(1, 100)] = Field(1, description="How many pictures.")
    batch_size: Annotated[int, Usual(1, 32)] = Field(
        1, description="How many at once; it changes the speed, not the pictures."
    )
    clip_skip: Annotated[int, Usual(1, 4)] = Field(
        1, description="Which of the text encoder's last layers to use, counted from the end."
    )
    subseed: int = Field(-1, description="Of other noise, to vary a picture with; -1 takes a new one each time.")
    subseed_strength: Annotated[float, Usual(0, 1)] = Field(
        0.0, ge=0, le=1, description="How far to go from the seed's noise to the other."
    )


class GenerateSettings(Drawing, Models, Machine):
    """Settings of `limner generate`."""

    title: ClassVar[str] = "What to draw"

    lora: tuple[FilePath, ...] = Field(
        (), description="More LoRA files or folders for the prompt's tags; may be repeated."
    )
    embedding: tuple[FilePath, ...] = Field(
        (), description="More embeddings or folders of them, which prompts call by file name; may be repeated."
    )
    out: FilePath = Field(Path("pictures"), description="Folder for the pictures, or the name of a .png file.")
    overwrite: bool = Field(False, description="Replace the picture if there is one of that name.")


class GridSettings(GenerateSettings):
    """Settings of `limner grid`."""

    title: ClassVar[str] = "What to draw"

    x: str = Field(
        description="What changes to the right, as in seed=1,2,3 or weight=0,0.5,1, the prompt saying {weight}."
    )
    y: str | None = Field(None, description='What changes downwards, as in sampler="Euler a,DDIM".')
    z: str | None = Field(None, description="What changes from one table to the next, as in base=pocket,my/other-base.")
    out: FilePath = Field(
        Path("grid.png"), description="The picture to write, .png; unless it is named, the next free number is added."
    )

    @model_validator(mode="after")
    def _one_picture_a_cell(self) -> Self:
        if self.count != 1 or self.batch_size != 1:
            raise ValueError(
                "a grid has one picture a cell; leave out --count and --batch-size, and let seed be an axis"
            )
        return self


class InspectSettings(Seed, Machine):
    """Settings of `limner inspect`."""

    title: ClassVar[str] = "Files"

    file: FilePath = Field(description="A file of weights, a picture, or the folder of a run or of a model.")
    other: FilePath | None = Field(None, description="Another of the same kind, to say how the two differ.")


class DemoSettings(Seed, Machine):
    """Settings of `limner demo`."""

    title: ClassVar[str] = "The demo"

    out: FilePath = Field(Path("limner-demo"), description="Folder for the pictures, the LoRA and the run.")
    steps: Annotated[int | None, Usual(1, 30_000)] = Field(None, ge=1, description="Optimizer steps.")


class DoctorSettings(ModelsFolder, Cache):
    """Settings of `limner doctor`."""

    title: ClassVar[str] = "Folders"


class CompletionSettings(Settings):
    """Settings of `limner completion`."""

    title: ClassVar[str] = "The shell"

    shell: Literal["bash", "zsh", "fish", "powershell"] | None = Field(
        None, description="For which shell; by default the one that you are in."
    )
    install: bool = Field(False, description="Put the script where the shell finds it, rather than print it.")
