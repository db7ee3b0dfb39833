"""`limner prepare` as a person follows it."""

import time
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from limner.cli.app import Interrupted
from limner.cli.follow import Followed, follow
from limner.cli.output import Output, duration, quoted
from limner.config import PrepareSettings
from limner.events import Event

if TYPE_CHECKING:
    from limner.preparation.prepare import Made


def show_prepare(settings: PrepareSettings, output: Output) -> dict[str, Any]:
    """Prepare, and say what was kept, what was not and why, and what to do next."""
    from limner.preparation.prepare import preparing

    began = time.monotonic()
    result = Followed()
    made: list[Made] = []

    def events() -> Generator[Event, None, None]:
        made.append((yield from preparing(settings)))

    try:
        with closing(events()) as told:
            follow(told, output, result)
    except KeyboardInterrupt:
        message = "interrupted; give the same command again, and it goes on from there"
        raise Interrupted(message, folder=str(settings.out)) from None
    _tell(made[0], settings, output)
    output.say(f"done in {duration(time.monotonic() - began)}")
    return made[0].to_dict() | {"warnings": result.warnings, "seconds": round(time.monotonic() - began, 3)}


MODEL = "the model that you train for, as path/to/model.safetensors (limner search finds some)"


def _tell(made: "Made", settings: PrepareSettings, output: Output) -> None:
    from limner.checking.verdict import ALL_KINDS  # here, for help need not wait for numpy

    if made.left_out:
        named = ((ALL_KINDS[kind].title if kind in ALL_KINDS else kind, n) for kind, n in made.left_out.most_common())
        output.table(("left out", "pictures"), named)
        faults = (kind for kind, _ in made.left_out.most_common() if kind in ALL_KINDS)
        kind = next((kind for kind in faults if ALL_KINDS[kind].level == "fault"), None)
        if kind is not None:
            output.say(f"to keep what is left out for one of these reasons: --keep KIND, as in --keep {kind}")
    if made.sizes:
        output.table(("size", "pictures"), made.sizes.most_common())
    for remark in made.remarks:
        output.say(remark.sentence)
    kept = f"{made.kept} of {made.pictures} pictures are in {made.folder}"
    lost = f", {made.lost:.0%} of them cut away" if made.kept else ""
    if made.of_class:
        output.result(f"{made.of_class} pictures of the class are in {made.folder / 'class'}")
    output.result(f"{kept}{lost}, {made.enlarged} enlarged, {made.masks} with a mask; {made.written} written now")
    output.result(f"look at {made.page}; decide otherwise in {made.choices}, and give the same command again")
    keyword = "" if settings.keyword else " --keyword K"
    if made.kept:
        has_base = "base" in settings.model_fields_set
        base = quoted(settings.base) if has_base else "MODEL"
        which = "" if has_base else f"; MODEL is {MODEL}"
        output.say(f"then train: limner train {quoted(made.folder)}{keyword} --base {base}{which}")
