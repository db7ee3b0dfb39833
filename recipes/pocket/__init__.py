"""The recipe of the pocket base: icons -> scenes -> autoencoder -> text encoder -> UNet -> report."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("LIMNER_POCKET_BUILD", ROOT / "build" / "pocket"))
SHIPPED = ROOT / "src" / "limner" / "base" / "pocket_weights"
SIZE = 128  # pixels, the pocket base's native resolution
