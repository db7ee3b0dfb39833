"""`limner prepare` from end to end: look, decide, write, describe; each step goes on where a stopped one was."""

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from limner.base.find import resolution_of
from limner.captions.caption import Captions
from limner.checking.examine import examining
from limner.checking.findings import Wanted
from limner.checking.measure import Measure
from limner.checking.pool import Workers, cores
from limner.checking.store import Store
from limner.checking.verdict import ALL_KINDS, Remark, Verdict
from limner.config import PrepareSettings, nearest
from limner.config.checking import RESOLUTION
from limner.data.buckets import buckets, usual_step
from limner.data.source import find_sources
from limner.data.tree import left_out
from limner.errors import UserError
from limner.events import Chosen, Event, Warned
from limner.files import locked
from limner.inventory import named
from limner.preparation.choices import NAME, NOTHING, Choice, check_names, read_choices
from limner.preparation.classes import check_class, write_class
from limner.preparation.decide import Rules, better_twins, decide
from limner.preparation.describe import describe
from limner.preparation.folder import LEDGER, claim, clear_unfinished, foreign, remove_unwanted
from limner.preparation.layouts import DATASET, DECISIONS, PAGE, STATE
from limner.preparation.ledger import Ledger, plain, read_fact
from limner.preparation.masks import masks_of
from limner.preparation.pictures import complete_masks, write_pictures
from limner.preparation.report import write_report
from limner.texts import display
from limner.vision.faces import Faces

ASKED, MADE_FOR = "settings", "resolution"  # what the ledger remembers of the folder


@dataclass
class Made:
    """The data set that was written. written: pictures that were not there yet. lost: the mean share cut away.
    of_class: pictures of the class beside them.

    enlarged: how many have more pixels than their source had. sizes, captions, left_out: how many of each size, from
    each origin, and for each reason.
    """

    folder: Path
    pictures: int = 0
    kept: int = 0
    written: int = 0
    masks: int = 0
    of_class: int = 0
    lost: float = 0.0
    enlarged: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    captions: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: tuple[Remark, ...] = ()

    @property
    def page(self) -> Path:
        return self.folder / PAGE

    @property
    def choices(self) -> Path:
        return self.folder / NAME

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        paths = {"folder": str(self.folder), "page": str(self.page), "choices": str(self.choices)}
        paths |= {"dataset": str(self.folder / DATASET), "decisions": str(self.folder / DECISIONS)}
        counts = {name: dict(getattr(self, name)) for name in ("sizes", "captions", "left_out")}
        figures = {
            name: getattr(self, name) for name in ("pictures", "kept", "written", "masks", "of_class", "enlarged")
        }
        figures["lost"] = round(self.lost, 4)
        return figures | counts | {"remarks": [asdict(remark) for remark in self.remarks]} | paths


def preparing(settings: PrepareSettings) -> Generator[Event, None, Made]:
    """Make a data set of a folder or zip of pictures. Raises UserError.

    What is wrong with the settings, the choices and the folders is found before a picture is opened.
    """
    claim(settings.out, settings.images)
    asked = settings
    if settings.resolution is None:
        by_base = "base" in settings.model_fields_set
        settings = settings.model_copy(update={"resolution": resolution_of(settings.base) if by_base else RESOLUTION})
        if not by_base:
            why = (
                "no base is given, and most Stable Diffusion 1.x models want that; for XL, which wants 1024, say --base"
            )
            yield Chosen("resolution", RESOLUTION, why)
    rules = _rules(settings)
    captions = Captions(settings)
    masks = masks_of(settings)
    if masks is not None:
        masks.check(settings.images)
    check_class(settings)
    choices = read_choices(settings.out / NAME)
    total = _count(settings, choices)
    made = Made(settings.out, pictures=total)
    with ExitStack() as stack:
        stack.enter_context(locked(settings.out / STATE, option="--out"))
        ledger = stack.enter_context(Ledger(settings.out / STATE / LEDGER))
        store = stack.enter_context(
            Store(settings.out / STATE / "facts", Measure(faces=Faces(settings.face_model)), "--out")
        )
        workers = stack.enter_context(Workers(settings.workers or cores()))
        clear_unfinished(settings.out)
        ledger.remember(ASKED, _absolute(asked).model_dump_json(exclude_unset=True, by_alias=True))
        ledger.remember(MADE_FOR, str(settings.side))
        step = settings.bucket_step or usual_step(settings.side)
        if step != usual_step(settings.side):
            yield Warned(f"limner train has buckets in steps of {usual_step(settings.side)} pixels, and crops again")
        yield from map(Warned, left_out(settings.images))
        yield from map(Warned, masks.unused(settings.images) if masks is not None else ())
        wanted = Wanted(
            settings.side,
            settings.subject,
            sizes=tuple(rules.sizes),
            most_enlargement=settings.most_enlargement,
        )
        verdict = yield from examining(find_sources(settings.images), wanted, workers, store, total)
        made.remarks = verdict.remarks
        _decide(verdict, choices, rules, ledger)
        yield from write_pictures(settings, verdict, choices, ledger, workers, made)
        complete_masks(settings, ledger)
        yield from describe(settings, verdict, choices, captions, ledger)
        made.of_class = yield from write_class(settings, rules.sizes, ledger, workers.count)
        yield from write_report(settings, rules.sizes, ledger, made)
        yield from _tidy(settings.out, ledger)
    return made


def settings_of(folder: Path) -> tuple[PrepareSettings, int] | None:
    """The settings by which a folder was prepared, and the resolution that it was made for; None if it was not, or if
    that is not known."""
    asked, made = (read_fact(folder / STATE / LEDGER, name) for name in (ASKED, MADE_FOR))
    try:
        return (PrepareSettings.model_validate_json(asked), int(made)) if asked and made else None
    except ValueError:  # of another version
        return None


def _absolute(settings: PrepareSettings) -> PrepareSettings:
    """The settings with paths that hold wherever the next command is given."""
    places = {name: getattr(settings, name) for name in settings.model_fields_set}
    absolute: dict[str, Any] = {name: place.absolute() for name, place in places.items() if isinstance(place, Path)}
    models = {name: places[name] for name in ("base", "mask_model", "caption_model") if places.get(name)}
    absolute |= {name: str(Path(model).absolute()) for name, model in models.items() if Path(model).exists()}
    return settings.model_copy(update=absolute)


def _rules(settings: PrepareSettings) -> Rules:
    for kind in (*settings.keep, *settings.drop):
        if kind not in ALL_KINDS:
            near = nearest(kind, ALL_KINDS)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(ALL_KINDS)}"
            raise UserError(f"there is no kind of finding {kind!r} to keep or drop; {hint}")
    sizes = buckets(settings.side, settings.bucket_step, settings.bucket_count)
    return Rules(frozenset(settings.keep), frozenset(settings.drop), sizes, settings.most_enlargement)


def _count(settings: PrepareSettings, choices: Mapping[str, Choice]) -> int:
    """How many sources there are. Raises UserError if there is none, or if a choice names one that is not there."""
    missing = set(choices)
    total = 0
    for source in find_sources(settings.images):
        missing.discard(plain(source.name))
        total += 1
    if not total:
        raise UserError(
            f"no pictures in {display(settings.images)}; give the folder or the zip that holds your pictures"
        )
    if missing:
        check_names(
            choices, missing, (plain(source.name) for source in find_sources(settings.images)), settings.out / NAME
        )
    return total


def _decide(verdict: Verdict, choices: Mapping[str, Choice], rules: Rules, ledger: Ledger) -> None:
    better = better_twins(verdict, choices, rules)
    for at, judged in enumerate(verdict):
        name = judged.facts.name
        decision = decide(judged, choices.get(plain(name), NOTHING), rules, better.get(at))
        ledger.decide(name, at, decision.to_dict())
    ledger.commit()


def _tidy(out: Path, ledger: Ledger) -> Generator[Event, None, None]:
    """Remove what belongs to the folder no more, and say what in it is not ours."""
    for place in remove_unwanted(out, ledger):
        yield Warned(f"what you changed of a picture that is not kept any more lies in {out / place}")
    for path, place in ledger.set_aside.items():
        yield Warned(f"{display(path)} was not written by prepare, which needed its name; it lies in {out / place} now")
    others = list(foreign(out, ledger))
    if others:
        yield Warned(
            f"{out} holds files that prepare did not write ({named(others)}); they are left alone, and will be "
            "trained on"
        )
