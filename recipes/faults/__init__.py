"""A set of pictures with planted faults, and the truth of it: what `limner check` is measured on (bench/check.py)."""

import os
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(os.environ.get("LIMNER_FAULTS_PACKAGES", ROOT / "build" / "faults-packages"))  # downloads, kept
HALVES = ("tuning", "report")  # thresholds are set on the first; the second is touched for the reported figures alone


def rng_of(seed: int, name: str) -> np.random.Generator:
    """A source of chance of its own for each thing, so that adding one changes no other."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
