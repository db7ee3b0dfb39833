"""A set of pictures with planted faults, and the truth of it: what `limner check` is measured on (bench/check.py)."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(os.environ.get("LIMNER_FAULTS_PACKAGES", ROOT / "build" / "faults-packages"))  # downloads, kept
HALVES = ("tuning", "report")  # thresholds are set on the first; the second is touched for the reported figures alone
