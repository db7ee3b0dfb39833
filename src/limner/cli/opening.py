"""What a command says before it opens something large: at once, for importing torch alone takes seconds."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from limner.cli.output import Output
from limner.config import read_toml
from limner.errors import UserError

if TYPE_CHECKING:
    from limner.base.model import BaseModel
    from limner.base.open import Opening
    from limner.config import Machine

BYTES_OF_A_MEGABYTE = 1_000_000


def say_opening(output: Output, *names: str | Path | None, doing: str = "opening") -> None:
    """Say what is opened from now on, with kind and size, if anybody reads it."""
    if output.quiet:
        return
    from limner.base.announce import about_base

    for name in names:
        if name is not None:
            output.say(f"{doing} {about_base(name)}")


def base_of(run: Path) -> str | None:
    """The base of a run's folder, if that can be read."""
    try:
        return str(read_toml(run / "run.toml").get("base") or "") or None
    except UserError:
        return None


def open_with_bar(settings: "Machine", output: Output) -> "BaseModel":
    """The base of a command's settings, opened with a bar; its warnings are said. Raises UserError."""
    from limner.base.open import opening
    from limner.device import choose_device, choose_dtype

    device = choose_device(settings.device)
    dtype = choose_dtype(settings.precision, device)
    base, prediction, vae = (getattr(settings, name) for name in ("base", "prediction_type", "vae"))
    model = watched(opening(base, device, dtype, prediction, vae), output)
    for warning in model.warnings:
        output.warn(warning)
    return model


def watched(steps: "Generator[Opening, None, BaseModel]", output: Output) -> "BaseModel":
    """A base that is being opened, followed by a bar in megabytes to its end."""
    with output.progress("opening the base, MB", 0) as bar, closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            bar.total = max(1, step.total // BYTES_OF_A_MEGABYTE)
            bar.at(min(bar.total, step.done // BYTES_OF_A_MEGABYTE))
