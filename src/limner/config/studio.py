"""The settings of `limner studio`."""

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from limner.config.common import ModelsFolder
from limner.config.settings import FilePath


class StudioSettings(ModelsFolder):
    """Settings of `limner studio`."""

    title: ClassVar[str] = "Where"

    folder: FilePath = Field(
        default_factory=lambda: studio_folder(),
        description="What the studio keeps: pictures, runs, the queue; $LIMNER_STUDIO, else where programs keep data.",
    )
    host: str = Field(
        "127.0.0.1", description="Address to listen at; any but this machine's own needs $LIMNER_PASSWORD."
    )
    port: int = Field(7860, ge=0, le=65535, description="Port to listen at; 0 for any that is free.")
    no_browser: bool = Field(False, description="Do not open the page in a browser.")


def studio_folder() -> Path:
    import platformdirs  # here, for the command line's help need not wait for it

    return Path(os.environ.get("LIMNER_STUDIO") or platformdirs.user_data_path("limner") / "studio")
