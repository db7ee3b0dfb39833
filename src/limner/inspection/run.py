"""The folder of a run: what it was asked for, what it was made from, and how far it came."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from limner.errors import UserError
from limner.run.folder import Log, RunFolder
from limner.run.kept import Kept
from limner.texts import read_text


@dataclass(frozen=True)
class Run:
    """A run's facts. settings: run.toml, the methods' own in tables of their names. base: the base's SHA-256.

    pictures, held_out, class_pictures: {SHA-256: caption} of what it learned from, is judged by, and has of the class.
    loss: the mean of its last tenth. measured: the figures of the last measurement. kept: steps of the states on disk.
    warnings: sentences about what is damaged; the facts are then those of the whole part.
    """

    path: str
    kind: str
    settings: dict[str, Any]
    base: str
    versions: dict[str, str]
    pictures: dict[str, str]
    held_out: dict[str, str]
    class_pictures: dict[str, str]
    steps: int
    seconds: float
    loss: float | None
    measured: dict[str, float]
    kept: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine_run(path: Path) -> Run:
    """Raises UserError if it is no folder of a run, or damaged."""
    folder = RunFolder(path)
    record, log = folder.record(), Log(folder.log_file)
    try:
        settings = tomlkit.parse(read_text(folder.settings_file, is_data=True)).unwrap()
    except (OSError, ValueError, TOMLKitError) as error:
        raise UserError(f"{folder.settings_file} is damaged or gone; put the run's own file there") from error
    return Run(
        path=str(path),
        kind="run",
        settings=settings,
        base=record.base,
        versions=record.versions,
        pictures={source.sha256: source.caption for source in record.sources},
        held_out={source.sha256: source.caption for source in record.held_out},
        class_pictures={source.sha256: source.caption for source in record.class_sources},
        steps=log.steps[-1]["step"] if log.steps else 0,
        seconds=log.seconds,
        loss=log.final_loss(),
        measured=log.measurements[-1]["measured"] if log.measurements else {},
        kept=tuple(Kept(folder.kept).steps()),
        warnings=(log.problem,) if log.problem else (),
    )
