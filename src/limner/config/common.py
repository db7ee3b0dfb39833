"""What several commands have settings for: the machine, chance, and what there is to start from."""

import os
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from limner.config.settings import FilePath, Settings

# Where the webui looks for a kind of file, below its models folder.
KIND_FOLDERS = {"lora": "Lora", "embedding": "embeddings", "checkpoint": "Stable-diffusion"}
Precision = Literal["auto", "bf16", "fp16", "fp32"]
Prediction = Literal["auto", "epsilon", "v_prediction", "flow"]


class Machine(Settings):
    """Where and how exactly to compute."""

    title: ClassVar[str] = "Every command"

    device: str = Field("auto", description="cpu, cuda, mps or xpu; auto takes the best one present.")
    precision: Precision = Field(
        "auto", description="Number format of the network; auto takes what the device is fast in."
    )


def cache_folder() -> Path:
    import platformdirs  # here, for the command line's help need not wait for it

    return Path(os.environ.get("LIMNER_CACHE") or platformdirs.user_cache_path("limner"))


class Cache(Settings):
    """What was computed or drawn once."""

    title: ClassVar[str] = "What to write"

    cache: FilePath = Field(
        default_factory=lambda: cache_folder(),
        description="Folder of encoded pictures and captions; $LIMNER_CACHE, else the user's own cache.",
    )


class FaceModel(Settings):
    title: ClassVar[str] = "Pictures"

    face_model: FilePath | None = Field(
        None, description="YuNet's .onnx file, which sees more faces than the detectors that come with OpenCV."
    )


class ClassPrompt(Settings):
    """What pictures of the class are drawn by."""

    title: ClassVar[str] = "What not to forget"

    class_prompt: str | None = Field(None, description="What they show; by default the template without the keyword.")
    class_seed: int = Field(0, ge=0, lt=2**62, description="Of the first picture of the class that the base draws.")


class Seed(Settings):
    title: ClassVar[str] = Machine.title

    seed: int = Field(0, ge=0, lt=2**63, description="Decides everything random: the same seed gives the same result.")


class Base(Settings):
    title: ClassVar[str] = "Models"

    base: str = Field(
        "pocket",
        description="Base model: pocket, a checkpoint file, a folder in diffusers' layout, or a hub id in the cache.",
    )
    prediction_type: Prediction = Field(
        "auto", description="What the base predicts; auto finds out, and says so if the base's file says otherwise."
    )
    vae: FilePath | None = Field(None, description="Another VAE than the base's own: a file, or a diffusers folder.")


class LoadSettings(Base, Machine):
    """Settings of `limner.load`: how a base is opened, which every command that takes one has among its own."""


class ModelsFolder(Settings):
    title: ClassVar[str] = "Models"

    models: FilePath = Field(
        default_factory=lambda: Path(os.environ.get("LIMNER_MODELS") or "models"),
        description="Folder of models as the webui has it, LoRAs in its subfolder Lora; $LIMNER_MODELS, else models.",
    )


class Models(ModelsFolder, Base):
    """What there is to start from."""
