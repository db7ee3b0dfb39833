"""What the tests of comparing share: an entry with given figures, and a page taken apart."""

import base64
import io
from collections.abc import Sequence
from html.parser import HTMLParser

from PIL import Image

from limner.compare.entry import Entry
from limner.compare.training import Trained
from limner.evaluate.fidelity import Fidelity
from limner.evaluate.metrics import Figure, Spread
from limner.evaluate.report import Report


def entry(
    method: str,
    score: float,
    spread: float | None = 0.02,
    size: int = 1_000_000,
    seconds: float = 60.0,
    kept: float = 1.0,
    copies: float = 0.0,
) -> Entry:
    report = Report(
        file="a.safetensors",
        kind="lora",
        size_bytes=size,
        subject="object",
        by_object=False,
        evaluator="none",
        prompts=4,
        pictures=12,
        references=3,
        held_out=True,
        likeness=Figure(score, 0.0, 1.0),
        likeness_over_seeds=Spread(score, spread),
        style=Figure(0.0, 0.0, 1.0),
        style_over_seeds=None,
        cosine=Figure(score, 0.0, 1.0),
        fidelity=Fidelity(kept, 1.0, kept, Spread(kept, 0.02), {"colour": [kept, 1.0]}),
        clip_text=None,
        unrelated_drift=0.1,
        class_drift=None,
        prediction_drift=0.1,
        near_copies=copies,
        seconds=1.0,
    )
    return Entry(method, Trained("a.safetensors", size, 100, None, None, seconds, seconds, 10**9), report)


class Parsed(HTMLParser):
    """What stands in a page: its texts, its pictures, and any address outside of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.images: list[Image.Image] = []
        self.outside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Sequence[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "src" and value and value.startswith("data:image/jpeg;base64,"):
                self.images.append(Image.open(io.BytesIO(base64.b64decode(value.split(",")[1]))))
            elif name in ("src", "href"):
                self.outside.append(str(value))

    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] if data.strip() else []
