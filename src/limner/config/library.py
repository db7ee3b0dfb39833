"""The settings of the commands that find models and keep them in order: `limner search`, `download` and `models`."""

import os
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from limner.config.common import ModelsFolder
from limner.config.settings import Settings

ModelKind = Literal["checkpoint", "lora", "embedding"]
ModelFamily = Literal["sd1", "sd2", "sdxl"]
Source = Literal["local", "civitai", "hub"]
Sort = Literal["downloads", "likes", "newest"]


class Wanted(Settings):
    """What kind of model."""

    title: ClassVar[str] = "What to find"

    type: ModelKind | None = Field(None, description="Only checkpoints, LoRAs and their kin, or embeddings.")
    base: ModelFamily | None = Field(None, description="Only what is for sd1, sd2 or sdxl.")


class ModelsSettings(Wanted, ModelsFolder):
    """Settings of `limner models`."""

    title: ClassVar[str] = "What to find"

    query: str = Field("", description="Words that must stand in a file's name, keyword, title or tags.")
    limit: int = Field(50, ge=1, le=100_000, description="Most files to show.")
    hash: bool = Field(False, description="Work out the hashes that are not known yet: reads the files whole, once.")


class TidySettings(ModelsFolder):
    """Settings of `limner models tidy`."""

    title: ClassVar[str] = "What to tidy"


class SearchSettings(Wanted, ModelsFolder):
    """Settings of `limner search`."""

    title: ClassVar[str] = "What to find"

    query: str = Field(description="Words, or the hash of a file that you have.")
    sort: Sort = Field("downloads", description="What comes first of each source: downloads, likes or newest.")
    limit: int = Field(10, ge=1, le=100, description="Most rows from each source.")
    source: tuple[Source, ...] = Field(
        (), description="Only local, civitai or hub; may be repeated. All three by default."
    )
    nsfw: bool = Field(False, description="Also what Civitai does not show to everyone.")


class DownloadSettings(ModelsFolder):
    """Settings of `limner download`."""

    title: ClassVar[str] = "What to fetch"

    id: str = Field(description="As `limner search` shows it, or the address of a model's page.")
    file: str | None = Field(None, description="Which of a model's files, by name; by default the main one.")
    pickle: bool = Field(False, description="Take a pickle (.ckpt, .pt, .bin) where there is no .safetensors.")
    unverified: bool = Field(
        False,
        description="Take a file whose scans are not done or which has no published hash; never one found dangerous.",
    )
    max_gb: float = Field(20.0, gt=0, description="Most gigabytes to fetch.")


def library_path() -> Path:
    """The database of what is on the shelf and where it came from, kept where programs keep what cannot be made again;
    below $LIMNER_CACHE if that is set."""
    import platformdirs  # here, for the command line's help need not wait for it

    return Path(os.environ.get("LIMNER_CACHE") or platformdirs.user_data_path("limner")) / "library.sqlite"
