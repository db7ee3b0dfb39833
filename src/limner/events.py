"""What happens in a run, in the order in which it happens: the loop yields these, everything else reads them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UsingBase:
    """The base that what follows rests on, named before anything else. about: its name with what it is."""

    base: str
    about: str


@dataclass(frozen=True)
class Chosen:
    """A setting that was left open has been decided. reason: completes "because ..."."""

    name: str
    value: object
    reason: str


@dataclass(frozen=True)
class Prepared:
    """So many of the run's crops are encoded, or so much of `what` is done."""

    done: int
    total: int
    what: str = "encoding pictures"


@dataclass(frozen=True)
class Started:
    """The loop begins; the run's folder has all that is needed to go on after a stop."""

    folder: Path
    steps: int


@dataclass(frozen=True)
class Step:
    """An optimizer step is done. step: counted from 1. lr: the first group's. seconds: without the readers'."""

    step: int
    loss: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class Saved:
    """The run can go on from here, whatever happens; and if this state gets damaged, from that after step `before`."""

    step: int
    path: Path
    before: int = 0


@dataclass(frozen=True)
class Preview:
    """A picture of the state after a step."""

    step: int
    prompt: str
    path: Path


@dataclass(frozen=True)
class Measured:
    """A figure of the state after a step."""

    step: int
    name: str
    value: float


@dataclass(frozen=True)
class Warned:
    """Something the user should know, though it stops nothing."""

    message: str


@dataclass(frozen=True)
class Kept:
    """The state after this step becomes the file. reason: a clause, with its figures."""

    step: int
    reason: str


@dataclass(frozen=True)
class Exported:
    """The file is written, and verified for each of the readers. kind: of weights, as in limner.weights."""

    path: Path
    size_bytes: int
    readers: tuple[str, ...]
    kind: str = "lora"


@dataclass(frozen=True)
class Done:
    """The run is over. reason: a sentence."""

    step: int
    reason: str


Event = UsingBase | Chosen | Prepared | Started | Step | Saved | Preview | Measured | Warned | Kept | Exported | Done
