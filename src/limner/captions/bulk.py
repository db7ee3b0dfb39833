"""The captions of a folder changed together: what each becomes, shown before anything is written."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.captions import history
from limner.captions.caption import Captions
from limner.captions.edits import Edits, read_replacements
from limner.captions.places import Place
from limner.captions.tags import prune, split
from limner.checking.facts import Facts
from limner.checking.measure import Measure
from limner.checking.pool import cores, in_order
from limner.config import Captioning, CaptionsSettings, Machine
from limner.data.caption import caption_for, says
from limner.data.caption_marks import CaptionMarks
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, decode
from limner.data.folder import Picture
from limner.data.source import Source
from limner.data.tree import left_out
from limner.errors import UserError

MEASURE = Measure(features=False)
FEW = 32  # pictures for which no worker is started


@dataclass(frozen=True)
class Change:
    """A caption before and after; before is None where there was none."""

    place: Place
    before: str | None
    after: str


@dataclass(frozen=True)
class Job:
    """A picture that gets a caption: what Make needs of it, so that it can go to a worker."""

    source: Source
    own: str | None
    keyword: str
    class_word: str


@dataclass(frozen=True)
class Make:
    """Makes one picture's caption. captions: of the settings. in_list: whether templates come from a list, for which
    the picture's bytes are needed."""

    captions: Captions
    in_list: bool

    def __call__(self, job: Job) -> tuple[str | None, str]:
        """The text, None for none, and why there is none."""
        captions = self.captions.about(job.keyword, job.class_word)
        try:
            if captions.needs_pixels(job.own):
                facts = MEASURE(job.source).facts
                if facts.problem:
                    return None, facts.problem
                image = to_srgb(decode(job.source.read()))
                return captions.caption(image, facts, job.own).text, ""
            facts = MEASURE(job.source).facts if self.in_list and not job.own else Facts(job.source.name)
            return (None, facts.problem) if facts.problem else (captions.caption(None, facts, job.own).text, "")
        except Unusable as problem:
            return None, str(problem)


class Plan:
    """What the settings make of the captions of some places. Nothing is written before `write`."""

    def __init__(self, settings: CaptionsSettings, places: Sequence[Place]) -> None:
        """Raises UserError for settings that will not do."""
        self.settings = settings
        self.places = places
        self.changes: list[Change] = []
        self.problems: list[tuple[str, str]] = [(place.name, place.problem) for place in places if place.problem]
        self.pruned: list[tuple[str, int]] = []
        self.edits = Edits(
            read_replacements(settings.replace),
            (*split(settings.remove), *split(settings.prune)),
            tuple(split(settings.add)),
            settings.prefix,
            settings.suffix,
        )
        self._captions = Captions(settings) if self._makes else None

    @property
    def _makes(self) -> bool:
        """Whether captions are made, for pictures that have none or in place of what they have."""
        edits_or_machine = {"prune", "class_word", *Machine.model_fields}
        return bool((set(Captioning.model_fields) - edits_or_machine) & self.settings.model_fields_set)

    def run(self) -> Iterator[int]:
        """Find all changes; yields how many pictures are done."""
        readable = [place for place in self.places if not place.problem]
        texts: list[str | None] = []
        for text in self._made(readable):
            place = readable[len(texts)]
            if text is None and self.edits.adds:
                text = self._called(place)
            texts.append(None if text is None else self.edits.apply(text, self.keyword(place)))
            yield len(texts)
        if self.settings.prune_common is not None:
            texts = self._without_common(readable, texts)
        for place, text in zip(readable, texts, strict=True):
            if text is not None and text != place.text and (text or place.text):
                self.changes.append(Change(place, place.text, text))

    def remarks(self) -> list[str]:
        """Sentences on what is there and not used, and on marks of other trainers in the captions."""
        marks = CaptionMarks()
        for place in self.places:
            marks.see(place.name, place.text, place.lines)
        roots = dict.fromkeys(place.part.folder for place in self.places)
        endings = {place.part.folder: place.part.captions for place in self.places}
        return [*(remark for root in roots for remark in left_out(root, endings[root])), *marks.remarks()]

    def keyword(self, place: Place) -> str:
        return self.settings.keyword or place.part.keyword

    def after(self) -> dict[str, str | None]:
        """Every picture's caption as it is to be."""
        changed = {change.place.name: change.after for change in self.changes}
        return {place.name: changed.get(place.name, place.text) for place in self.places}

    def _called(self, place: Place) -> str | None:
        """What training calls a picture that has no caption, so that what is added does not take the place of that;
        None if nobody says what it is."""
        class_word = self.settings.class_word or place.part.class_word
        return caption_for(Picture(Path(), "", 1, 1), self.keyword(place), class_word) or None

    def _made(self, places: Sequence[Place]) -> Iterator[str | None]:
        if self._captions is None:
            yield from (place.text for place in places)
            return
        jobs = [
            Job(place.source, place.text, self.keyword(place), self.settings.class_word or place.part.class_word)
            for place in places
        ]
        looked_at = sum(self._captions.needs_pixels(job.own) for job in jobs)
        workers = cores() if self._captions.in_workers and looked_at > FEW else 1
        make = Make(self._captions, "{" not in self.settings.template)
        for place, (text, problem) in zip(places, in_order(make, jobs, workers), strict=True):
            if problem:
                self.problems.append((place.name, problem))
            yield text

    def _without_common(self, places: Sequence[Place], texts: list[str | None]) -> list[str | None]:
        """Without the tags that more than a share of the captions have: they describe the subject, or what no picture
        of the set is without, so that the keyword may absorb them."""
        share = self.settings.prune_common
        assert share is not None
        counts: Counter[str] = Counter()
        captioned = [(place, text) for place, text in zip(places, texts, strict=True) if text]
        for place, text in captioned:
            tags = {tag.lower() for tag in split(text)}
            counts.update(tag for tag in tags if not (self.keyword(place) and says(tag, self.keyword(place))))
        self.pruned = [(tag, count) for tag, count in counts.most_common() if count > share * len(captioned)]
        names = [tag for tag, _ in self.pruned]
        return [
            None if text is None else prune(text, names, self.keyword(place))
            for place, text in zip(places, texts, strict=True)
        ]

    def write(self) -> Path | None:
        """Write the changes, after what was there is put down; returns where. Raises UserError."""
        if not self.changes:
            return None
        if any(change.place.source.archive for change in self.changes):
            raise UserError(f"{self.settings.images} is a zip, which is not changed; unpack it, or use limner prepare")
        root = self.settings.images if self.settings.images.is_dir() else self.settings.images.parent
        files: dict[Path, str] = {}
        tables = {}
        for change in self.changes:
            if change.place.file is not None:
                files[change.place.file] = change.after + "\n"
            for table, name in change.place.rows:
                table.set(name, change.after)
                tables[table.path] = table
        history.write(root, files | {path: table.content() for path, table in tables.items()})
        return root / history.HISTORY
