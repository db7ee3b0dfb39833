"""The pocket base: a narrow Stable Diffusion 1.x that ships in the package, so that nothing needs a download."""

from pathlib import Path

NAME = "pocket"
FOLDER = Path(__file__).parent / "pocket_weights"
