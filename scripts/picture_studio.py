"""docs/images/studio.png: the Train page with the sample pictures, as a browser shows it. Needs Chromium.

.venv/bin/python scripts/picture_studio.py
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

import limner

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from studio.browser import chromium  # noqa: E402
from studio.served import Served  # noqa: E402

PICTURE = ROOT / "docs/images/studio.png"
SAMPLES = sorted((Path(limner.__file__).parent / "samples").glob("*.png"))
SIZE = {"width": 1280, "height": 1070}
COLOURS = 160  # of the palette: emoji and a plain page have few
MOST_BYTES = 200_000
PATIENCE = 300_000  # milliseconds that looking at the pictures may take


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        studio = Served(Path(folder) / "kept", Path(folder) / "models")
        try:
            with chromium() as browser:
                page = browser.new_page(viewport=SIZE, reduced_motion="reduce")  # type: ignore[arg-type]
                shot = _train_page(page, studio.address)
        finally:
            studio.stop()
    with Image.open(io.BytesIO(shot)) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(PICTURE, optimize=True)
    size = PICTURE.stat().st_size
    assert size < MOST_BYTES, f"{PICTURE} has {size:,} bytes; fewer colours make it smaller"


def _train_page(page: Page, address: str) -> bytes:
    """With all samples looked at, and keyword and class said."""
    page.goto(f"{address}/train")
    page.get_by_label("Keyword", exact=True).fill("zqvx")
    page.get_by_label("Class", exact=True).fill("emoji")
    page.get_by_label("Choose files").set_input_files(SAMPLES)
    expect(page.get_by_text(f"{len(SAMPLES)} pictures: ")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".tile .picture:enabled")).to_have_count(len(SAMPLES), timeout=PATIENCE)
    expect(page.locator(".toast")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator("#open-jobs")).to_be_hidden(timeout=PATIENCE)
    return page.screenshot()


if __name__ == "__main__":
    main()
