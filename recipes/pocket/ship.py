"""Put the finished pipeline into the package: half-precision weights in diffusers' layout, beside the tokenizer."""

import hashlib
import json
import shutil

from diffusers import StableDiffusionPipeline

from recipes.pocket import BUILD, SHIPPED
from recipes.pocket.unet import PIPELINE

MAX_BYTES = 80_000_000  # what a clone and a wheel may carry
PARTS = ("unet", "vae", "text_encoder", "scheduler")


def fingerprint() -> str:
    """SHA-256 of the pipeline's weights; it changes with every version."""
    digest = hashlib.sha256()
    for path in sorted(PIPELINE.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run() -> None:
    """Replace the shipped weights, and open them as anyone would."""
    size = sum(path.stat().st_size for part in PARTS for path in (PIPELINE / part).rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise RuntimeError(f"the pipeline is {size / 1e6:.0f} MB, more than the {MAX_BYTES / 1e6:.0f} MB that fit")
    for part in PARTS:
        shutil.rmtree(SHIPPED / part, ignore_errors=True)
        shutil.copytree(PIPELINE / part, SHIPPED / part, copy_function=shutil.copyfile)
    for config in SHIPPED.glob("*/config.json"):  # the folder that a part was read from is nobody's business
        settings = json.loads(config.read_text())
        settings.pop("_name_or_path", None)
        config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    for name in ("model_index.json", "recipe.json"):
        shutil.copy(PIPELINE / name, SHIPPED / name)
    StableDiffusionPipeline.from_pretrained(SHIPPED)
    (BUILD / "shipped").write_text(fingerprint())
    print(f"shipped {size / 1e6:.1f} MB")


def done() -> bool:
    """Whether the package holds this version of the pipeline."""
    mark = BUILD / "shipped"
    return mark.exists() and mark.read_text() == fingerprint()


if __name__ == "__main__":
    run()
