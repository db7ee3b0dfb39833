"""Real pictures for the evaluator: the bundled samples."""

from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.data.folder import Picture, load_folder
from limner.evaluate.features import Evaluator

SAMPLES = Path(limner.__file__).parent / "samples"


@pytest.fixture(scope="session")
def samples() -> dict[str, Image.Image]:
    """The 24 sample images by name."""
    return {path.stem: Image.open(path).convert("RGB") for path in sorted(SAMPLES.glob("*.png"))}


@pytest.fixture(scope="session")
def references() -> list[Picture]:
    return load_folder(SAMPLES).pictures[:6]


@pytest.fixture(scope="session")
def evaluator() -> Evaluator:
    return Evaluator()
