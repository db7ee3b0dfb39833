"""`limner demo` on the command line."""

import time
from collections.abc import Iterator
from contextlib import closing

from limner.cli.follow import Followed, follow
from limner.cli.output import Output, duration
from limner.config import DemoSettings
from limner.demo import Sheet, Shown, run_demo
from limner.device import peak_memory_bytes
from limner.events import Event

SAID = {"before": "drawn with the base alone", "after": "drawn with the LoRA", "without": "drawn with the LoRA at 0"}


def show_demo(settings: DemoSettings, output: Output) -> dict:
    """Run the demo, tell what happens, and print what to do next."""
    result = Followed()
    began = time.monotonic()
    seen = _Seen(output)
    with closing(run_demo(settings)) as happenings:
        follow(seen.events(happenings), output, result)
    sheet = seen.sheet
    assert sheet is not None
    assert result.exported is not None
    seconds = time.monotonic() - began
    output.say(f"done in {duration(seconds)}")
    output.result(f"the sheet: {sheet.path}\n\nnext:")
    output.result(f'  limner generate "{sheet.prompt}" --models {sheet.models}')
    output.result("  limner train YOUR_PICTURES --keyword zqvx --class dog --base YOUR_BASE")
    return {
        "sheet": str(sheet.path),
        "prompt": sheet.prompt,
        "models": str(sheet.models),
        "file": str(sheet.lora),
        "size_bytes": result.exported.size_bytes,
        "unchanged_at_0": sheet.unchanged,
        "steps": result.steps,
        "training_seconds": round(result.seconds, 3),
        "drawing_seconds": round(seen.drawing, 3),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }


class _Seen:
    """Takes the demo's own events out of a training's, and the time that drawing took."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.sheet: Sheet | None = None
        self.drawing = 0.0

    def events(self, happenings: Iterator[Event | Shown | Sheet]) -> Iterator[Event]:
        for event in happenings:
            if isinstance(event, Shown):
                self.drawing += event.seconds
                self.output.say(f"{len(event.pictures)} pictures {SAID[event.what]}, in {duration(event.seconds)}")
            elif isinstance(event, Sheet):
                self.sheet = event
            else:
                yield event
