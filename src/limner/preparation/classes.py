"""Pictures of the class in a prepared data set: drawn by the base or a person's own, each looked at, none twice."""

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from limner.base.find import find_base
from limner.checking.facts import Facts
from limner.checking.findings import Wanted, findings
from limner.checking.measure import Measure
from limner.checking.pool import in_order
from limner.config import PrepareSettings
from limner.data.caption import class_caption
from limner.data.decode import Unusable
from limner.data.folder import MAX_CAPTION_BYTES, text_of
from limner.data.source import Source, find_sources
from limner.errors import UserError
from limner.events import Event, Prepared, Warned
from limner.preparation.decide import Decision
from limner.preparation.folder import Texts, make_way
from limner.preparation.framing import Framing, frame
from limner.preparation.layouts import CLASS, SUFFIX, clean
from limner.preparation.ledger import Ledger
from limner.preparation.pictures import key_of, view_of
from limner.preparation.write import Task, write
from limner.texts import display
from limner.vision.hashes import distance

Size = tuple[int, int]  # width and height, in pixels

BROKEN = ("unreadable", "truncated", "blank", "dark")  # kinds of findings; a black picture is dark
ALIKE = 4  # bits of 64, up to which two pictures of a class are one
MOST_TRIES = 4  # pictures drawn for each that is wanted; a base that draws one thing again and again has no more
MOST = 10_000  # pictures that are drawn
TOGETHER = 16  # files for which it is worth to start another process
DRAWING, LOOKING, WRITING = "drawing class pictures", "looking at class pictures", "writing class pictures"


@dataclass(frozen=True)
class ClassPicture:
    """One that goes into the data set."""

    source: Source
    facts: Facts
    framing: Framing
    caption: str


@dataclass
class _Chosen:
    """Those that were taken, and how many were not because they were broken, or like one of them."""

    pictures: list[ClassPicture] = field(default_factory=list)
    broken: int = 0
    alike: int = 0

    def objection(self, facts: Facts, wanted: Wanted) -> str | None:
        """Why a picture is not to be taken, completing "it ..."."""
        found = next((each for each in findings(facts, wanted) if each.kind in BROKEN), None)
        if found is not None:
            self.broken += 1
            return found.sentence
        twin = next((each for each in self.pictures if _are_alike(each.facts, facts)), None)
        if twin is not None:
            self.alike += 1
            return f"shows the same as {display(twin.source.name)}"
        return None


def check_class(settings: PrepareSettings) -> None:
    """Raise UserError for what can be wrong before anything is drawn."""
    if settings.class_images is None:
        if settings.class_prompt is not None:
            raise UserError("there is a class_prompt, but no class_images; say how many, as in --class-images 100")
        return
    if not settings.class_word:
        raise UserError("class_images needs to know the class; say what the subject is, as in --class dog")
    if isinstance(settings.class_images, Path):
        if next(find_sources(settings.class_images), None) is None:
            raise UserError(f"no pictures in {settings.class_images}; give the folder of the class's pictures")
    elif not 1 <= settings.class_images <= MOST:
        raise UserError(f"class_images = {settings.class_images} will not do: give a number from 1 to {MOST:,}")
    else:
        find_base(settings.base)


def write_class(
    settings: PrepareSettings, sizes: Sequence[Size], ledger: Ledger, workers: int
) -> Generator[Event, None, int]:
    """Write the pictures of the class with their captions, and return how many. sizes: the buckets.

    Those that stand are not written again, and what was drawn is taken from the cache. Raises UserError.
    """
    if settings.class_images is None:
        return 0
    if isinstance(settings.class_images, Path):
        chosen = yield from _own(settings, settings.class_images, sizes, workers)
    else:
        chosen = yield from _drawn(settings, settings.class_images, _kept_sizes(ledger))
    yield from _write(settings, chosen, ledger, workers)
    return len(chosen)


def _kept_sizes(ledger: Ledger) -> list[Size]:
    """The size of every picture of the subject, the most frequent first."""
    framings = (Decision.from_dict(row.decision).framing for row in ledger.rows())
    counts = Counter((each.width, each.height) for each in framings if each is not None)
    return [size for size, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) for _ in range(count)]


def _drawn(settings: PrepareSettings, count: int, sizes: list[Size]) -> Generator[Event, None, list[ClassPicture]]:
    """So many that the base draws, in the shapes of the subject's pictures; broken ones and twins are drawn again."""
    from limner.base.open import open_base
    from limner.classes import class_request, drawn, shares
    from limner.device import choose_device, choose_dtype

    device = choose_device(settings.device)
    model = open_base(
        settings.base, device, choose_dtype(settings.precision, device), settings.prediction_type, settings.vae
    )
    yield from map(Warned, model.warnings)
    prompt = settings.class_prompt or class_caption(settings.class_word, settings.template)
    chosen, measure = _Chosen(), Measure(features=False)
    wanted = Counter(shares(sizes or [(settings.side, settings.side)], count)[:count])
    for size, most in wanted.items():
        request = class_request(model, prompt, size, settings.side)
        end, tried = len(chosen.pictures) + most, 0
        for group in drawn(model, request, settings.class_seed, settings.cache):
            for picture in group[: MOST_TRIES * most - tried]:
                tried += 1
                source = Source(picture.path.parent, picture.path.name)
                facts = measure(source).facts
                if len(chosen.pictures) < end and chosen.objection(facts, Wanted(settings.side)) is None:
                    chosen.pictures.append(ClassPicture(source, facts, _whole(facts), prompt))
            yield Prepared(len(chosen.pictures), count, DRAWING)
            if len(chosen.pictures) == end or tried == MOST_TRIES * most:
                break
    if len(chosen.pictures) < count:
        yield Warned(
            f"{model.name} drew only {len(chosen.pictures)} different pictures of {prompt!r}, not {count}: "
            f"{chosen.alike} were like another and {chosen.broken} broken; say more with --class-prompt"
        )
    return chosen.pictures


def _own(
    settings: PrepareSettings, folder: Path, sizes: Sequence[Size], workers: int
) -> Generator[Event, None, list[ClassPicture]]:
    """A person's own pictures of the class, cropped into buckets."""
    chosen, total = _Chosen(), sum(1 for _ in find_sources(folder))
    measured = in_order(Measure(features=False), find_sources(folder), _processes(workers, total))
    prompt = settings.class_prompt or class_caption(settings.class_word, settings.template)
    for done, (source, each) in enumerate(zip(find_sources(folder), measured, strict=True), 1):
        yield Prepared(done, total, LOOKING)
        objection = chosen.objection(each.facts, Wanted(settings.side))
        caption = prompt
        try:
            beside = None if objection else source.beside(".txt", MAX_CAPTION_BYTES)
            caption = (text_of(beside, f"{source.name}'s .txt") if beside else None) or prompt
        except Unusable as problem:
            yield Warned(f"{display(source.name)} {problem}; it is called {prompt!r}")
        if objection is None:
            framing = frame(each.facts, sizes, None, settings.most_enlargement)
            if framing.enlargement <= settings.most_enlargement:
                chosen.pictures.append(ClassPicture(source, each.facts, framing, caption))
                continue
            objection = f"would have to be enlarged {framing.enlargement:.3g} times"
        yield Warned(f"{display(source.path)} {objection}; it is left out of the class's pictures")
    return chosen.pictures


def _write(
    settings: PrepareSettings, chosen: list[ClassPicture], ledger: Ledger, workers: int
) -> Generator[Event, None, None]:
    texts = Texts(settings.out, ledger)
    tasks = []
    for number, picture in enumerate(chosen):
        stem = f"{CLASS}/{number:04d}-{clean(PurePosixPath(picture.source.name).stem)}".rstrip("-")
        path, facts = f"{stem}{SUFFIX[settings.format]}", picture.facts
        key = key_of(facts.sha256, view_of(picture.framing), settings.format)
        make_way(settings.out, ledger, path)
        record = ledger.want(path)
        texts.put(f"{stem}.txt", picture.caption + "\n")
        if record.changed_by_hand(settings.out):
            yield Warned(f"{settings.out / path} was changed by hand and stays; remove it to have it made anew")
        elif record.key != key or not record.stands(settings.out):
            task = Task(settings.out, picture.source, facts.sha256, key, picture.framing, settings.format, image=path)
            tasks.append(task)
    ledger.commit()  # before a file is begun, so that it is known for ours whatever happens
    for done, outcome in enumerate(in_order(write, tasks, _processes(workers, len(tasks))), 1):
        for record in outcome.records:
            ledger.wrote(record)
        if outcome.problem:
            raise UserError(f"{display(tasks[done - 1].source.path)} {outcome.problem}")
        yield Prepared(done, len(tasks), WRITING)
    ledger.commit()


def _processes(workers: int, things: int) -> int:
    return max(1, min(workers, things // TOGETHER))


def _whole(facts: Facts) -> Framing:
    box = (0.0, 0.0, float(facts.width), float(facts.height))
    return Framing(box, facts.width, facts.height, 0.0, 0.0, 1.0, "all of it")


def _are_alike(one: Facts, other: Facts) -> bool:
    return distance(dict(one.hashes)["whole"], dict(other.hashes)["whole"]) <= ALIKE
