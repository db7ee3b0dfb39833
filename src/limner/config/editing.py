"""The settings of the commands that change finished files: `limner resize`, `merge`, `extract` and `convert`."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from limner.config.settings import FilePath, Settings

FilePrecision = Literal["fp16", "bf16", "fp32"]


class Edited(Settings):
    """What to write."""

    title: ClassVar[str] = "What to write"

    out: FilePath = Field(description="The file to write, .safetensors.")
    overwrite: bool = Field(False, description="Replace the file if it is there already.")
    file_precision: FilePrecision | None = Field(None, description="Number format of the file; by default as it was.")


class Directions(Settings):
    """How many directions a layer's change keeps."""

    title: ClassVar[str] = "How much to keep"

    rank: int | None = Field(None, ge=1, le=4096, description="Most directions of a layer.")
    energy: float | None = Field(
        None, gt=0, le=1, description="Share of each layer's change to keep, in squared length, as in 0.95."
    )
    ratio: float | None = Field(
        None, gt=0, lt=1, description="Leave out directions shorter than this times the layer's longest, as in 0.1."
    )

    @property
    def is_given(self) -> bool:
        return any(value is not None for value in (self.rank, self.energy, self.ratio))


class ResizeSettings(Directions, Edited):
    """Settings of `limner resize`."""

    title: ClassVar[str] = "What to change"

    lora: FilePath = Field(description="The LoRA's file.")

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if not self.is_given:
            raise ValueError("nothing says how small the LoRA is to be; give --rank, --energy or --ratio")
        return self


class MergeSettings(Directions, Edited):
    """Settings of `limner merge`."""

    title: ClassVar[str] = "What to change"

    base: str = Field(description="The checkpoint or folder; with --into lora the first LoRA, told as the others.")
    lora: tuple[str, ...] = Field(
        description="FILE, FILE:strength, or FILE:text strength:UNet strength, as in a prompt's tag; may be repeated."
    )
    into: Literal["checkpoint", "lora"] = Field("checkpoint", description="What comes of it.")

    @model_validator(mode="after")
    def _shortens_loras_only(self) -> Self:
        if self.into == "checkpoint" and self.is_given:
            raise ValueError("--rank, --energy and --ratio are for several LoRAs in one; add --into lora")
        return self


class ExtractSettings(Directions, Edited):
    """Settings of `limner extract`."""

    title: ClassVar[str] = "What to change"

    tuned: str = Field(description="The fine-tuned checkpoint, a file or a folder in diffusers' layout.")
    base: str = Field(description="The checkpoint that it was tuned from.")
    conv: bool = Field(False, description="Take the UNet's convolutions too, for a LoCon.")
    text_encoder: bool = Field(False, description="Take the text encoder's layers too.")
    file_precision: FilePrecision = Field("fp16", description="Number format of the file.")

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if not self.is_given:
            raise ValueError("nothing says how large the LoRA is to be; give --rank or --energy")
        return self


class ConvertSettings(Edited):
    """Settings of `limner convert`."""

    title: ClassVar[str] = "What to change"

    file: str = Field(description="The LoRA, embedding or checkpoint, or a checkpoint's folder in diffusers' layout.")
    out: FilePath = Field(description="The file to write, .safetensors, or a checkpoint's folder.")
    to: str | None = Field(
        None,
        description="The format: kohya, diffusers, embedding or checkpoint; by default what most programs expect.",
    )
    ema: Literal["drop", "use"] = Field(
        "drop", description="Whether a checkpoint's averages (EMA) are left out, or take the place of its weights."
    )
