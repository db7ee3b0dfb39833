"""`limner demo` on the command line."""

import time
from collections.abc import Iterator
from contextlib import closing

from limner.cli.follow import Followed, follow
from limner.cli.output import Bar, Output, duration, quoted
from limner.config import DemoSettings
from limner.demo import BASE, Drawn, Sheet, run_demo
from limner.device import peak_memory_bytes
from limner.events import Event

SAID = {"before": "drawing with the base alone", "after": "drawing with the LoRA", "without": "drawing with it at 0"}


def show_demo(settings: DemoSettings, output: Output) -> dict:
    """Run the demo, tell what happens, and print what to do next."""
    result = Followed()
    began = time.monotonic()
    output.say("the built-in base is about to learn a style from 24 pictures; it takes a few minutes")
    seen = _Seen(output)
    with closing(run_demo(settings)) as happenings:
        follow(seen.events(happenings), output, result)
    sheet = seen.sheet
    assert sheet is not None
    assert result.exported is not None
    seconds = time.monotonic() - began
    output.say(f"done in {duration(seconds)}")
    output.result(f"the sheet: {sheet.path}")
    output.result("next:")
    output.result(f'  limner generate "{sheet.prompt}" --base {BASE} --models {quoted(sheet.models)}')
    output.result("  limner train YOUR_PICTURES --keyword zqvx --class dog --base YOUR_BASE")
    return {
        "sheet": str(sheet.path),
        "prompt": sheet.prompt,
        "models": str(sheet.models),
        "file": str(sheet.lora),
        "size_bytes": result.exported.size_bytes,
        "unchanged_at_0": sheet.unchanged,
        "steps": result.done.step if result.done else result.step,
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

    def events(self, happenings: Iterator[Event | Drawn | Sheet]) -> Iterator[Event]:
        bar: Bar | None = None
        for event in happenings:
            if isinstance(event, Drawn):
                self.drawing += event.seconds
                bar = bar or Bar(self.output, SAID[event.what], event.total)
                bar.at(event.done)
                if event.done == event.total:
                    bar.close()
                    bar = None
            elif isinstance(event, Sheet):
                self.sheet = event
            else:
                yield event
