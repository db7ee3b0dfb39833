"""`limner check` as a person follows it: a table, what the set lacks, a contact sheet and a page to look through."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limner.base.find import resolution_of
from limner.captions.own import OwnCaptions
from limner.checking.compared import Comparing
from limner.checking.contact import draw_contact
from limner.checking.examine import examine
from limner.checking.findings import Wanted
from limner.checking.measure import Measure
from limner.checking.page import About, page
from limner.checking.pool import cores
from limner.checking.store import Store
from limner.checking.summary import MARKS, TITLES, Summary, brief, summarise
from limner.checking.verdict import Judged, Verdict
from limner.cli.app import Interrupted
from limner.cli.output import Bar, Output, duration, quoted
from limner.config import METHOD_NAMES, CheckSettings
from limner.config.checking import RESOLUTION
from limner.data.caption_marks import CaptionMarks
from limner.data.decode import Unusable
from limner.data.source import Source, find_sources
from limner.data.templates import kind_of
from limner.data.tree import left_out
from limner.errors import UserError
from limner.events import Warned
from limner.files import atomic_path, lies_in, require_cache, require_ours, require_writable, write_text
from limner.infotext import marked
from limner.texts import display
from limner.vision.faces import Faces

PAIRS = "pair that may show the same"
MARK = b"limner check"  # stands in what is written, so that the next time it may be replaced
SHEET, PAGE = "sheet.png", "index.html"
KINDS = "PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF or GIF"
MOST_ROWS = 200  # of the table
MOST_FINE = 12  # pictures without findings that have a row each; more are told in one
MOST_CAPTION = 80  # characters of a caption in the table


def check_pictures(settings: CheckSettings, output: Output) -> dict[str, Any]:
    """Measure, judge and show. Raises UserError if no picture can be used."""
    began = time.monotonic()
    wanted = _wanted(settings)
    total = sum(1 for _ in find_sources(settings.images))
    if not total:
        raise UserError(f"no pictures in {settings.images}; put {KINDS} images there")
    if settings.out is not None:
        _check_out(settings.out, settings.images)
    require_cache(settings.cache)
    with Store(_place(settings), Measure(faces=Faces(settings.face_model))) as store:
        warnings: list[str] = []
        verdict = _look(settings, wanted, store, total, warnings, output)
        summary = summarise(verdict)
        if not summary.usable:
            number = "its only picture" if total == 1 else f"any of its {total} pictures"
            problem = summary.first_problem
            raise UserError(f"cannot use {number} in {settings.images} ({problem}); put {KINDS} images there")
        captions = Captions(output)
        for source in find_sources(settings.images):
            captions(source)
        for sentence in [*left_out(settings.images), *captions.marks.remarks()]:
            output.warn(sentence)
            warnings.append(sentence)
        _tell(settings, verdict, summary, captions, output)
        files = _write(settings, verdict, summary, captions) if settings.out is not None else {}
        for path in files.values():
            output.result(path)
        if not files:
            base = "" if settings.base is None else f" --base {quoted(settings.base)}"
            more = f"limner check {quoted(settings.images)}{base} --out FOLDER"
            output.say(f"to look through them on a contact sheet and a page: {more}")
        output.say(f"done in {duration(time.monotonic() - began)}")
        answer = _answer(settings, verdict, summary, captions) if output.json else {}
    warnings += captions.warnings.values()
    return answer | files | {"warnings": warnings, "seconds": round(time.monotonic() - began, 3)}


class Captions:
    """What stands beside pictures as their captions; what cannot be read is told once, and left out."""

    def __init__(self, output: Output) -> None:
        self.warnings: dict[str, str] = {}
        self._output, self._own = output, OwnCaptions()

    @property
    def marks(self) -> CaptionMarks:
        """What other trainers' marks were seen, once every caption was asked for."""
        marks, self._own.marks = self._own.marks, CaptionMarks()
        return marks

    def __call__(self, source: Source) -> str:
        try:
            return self._own.of(source) or ""
        except Unusable as problem:
            if source.name not in self.warnings:
                self.warnings[source.name] = f"{display(source.name)} {problem}"
                self._output.warn(self.warnings[source.name])
            return ""


def _wanted(settings: CheckSettings) -> Wanted:
    from limner.methods.method import find_methods

    find_methods(METHOD_NAMES.get(settings.method, settings.method))  # a misspelt one is found before any picture
    subject = kind_of(settings.class_word) if settings.subject == "auto" else settings.subject
    resolution = settings.resolution
    if resolution is None and settings.base is not None:
        resolution = resolution_of(settings.base)
    return Wanted(resolution or RESOLUTION, subject, settings.method)


def _place(settings: CheckSettings) -> Path:
    """Where facts of these pictures are kept: a folder for each folder or zip that was looked at."""
    name = hashlib.sha256(str(settings.images.absolute()).encode("utf-8", "surrogatepass")).hexdigest()
    return settings.cache / "checked" / name[:16]


def _look(
    settings: CheckSettings, wanted: Wanted, store: Store, total: int, warnings: list[str], output: Output
) -> Verdict:
    looking = examine(find_sources(settings.images), wanted, settings.workers or cores(), store)
    bar, done = Bar(output, "picture", total), 0
    try:
        while True:
            try:
                event = next(looking)
            except StopIteration as end:
                return end.value
            if isinstance(event, Warned):
                output.warn(event.message)
                warnings.append(event.message)
                continue
            if not isinstance(event, Comparing):
                done += 1
                bar.at(done)
                continue
            if bar.what != PAIRS:
                bar.close()
                bar = Bar(output, PAIRS, event.total)
            bar.at(event.done)
    except KeyboardInterrupt:
        message = (
            f"interrupted after {done} of {total} pictures; give the same command again, and it goes on from there"
        )
        raise Interrupted(message, measured=done) from None
    finally:
        looking.close()
        bar.close()


def _tell(settings: CheckSettings, verdict: Verdict, summary: Summary, captions: Captions, output: Output) -> None:
    if not output.json:
        rows = list(_rows(verdict, summary, captions))
        columns = ["file", "size", "findings"] + (["caption"] if any(row[-1] for row in rows) else [])
        output.table(columns, (row[: len(columns)] for row in rows))
    counts = ", ".join(f"{summary.marks[mark]} {TITLES[mark]}" for mark in MARKS if summary.marks[mark])
    output.result(f"{summary.kept} of {len(verdict)} pictures in {settings.images} are worth training on ({counts})")
    for line in set_lines(verdict):
        output.result(line)
    for remark in verdict.remarks:
        output.result(f"{'!' if remark.level == 'fault' else '-'} {remark.sentence}")


def _rows(verdict: Verdict, summary: Summary, captions: Captions) -> Iterator[tuple[str, str, str, str]]:
    """Worst first; pictures without findings in one row where they are many, and no more than MOST_ROWS."""
    few = summary.marks["fine"] <= MOST_FINE
    listed = summary.worst_first()
    for number, at in enumerate(listed):
        judged = verdict[at]
        if number == MOST_ROWS and not (judged.proposal.keep and not judged.findings):
            left = len(verdict) - number - (0 if few else summary.marks["fine"])
            yield f"{left} more", "", "with --out FOLDER or --json you see more of them", ""
            break
        if judged.proposal.keep and not judged.findings and (not few or number >= MOST_ROWS):
            break
        caption = captions(judged.source)
        shown = caption if len(caption) <= MOST_CAPTION else caption[: MOST_CAPTION - 3] + "..."
        size = f"{judged.facts.width}x{judged.facts.height}" if judged.facts.width else ""
        yield judged.facts.name, size, _findings(judged), shown
    if not few:
        yield f"{summary.marks['fine']} others", "", "nothing to say", ""


def _findings(judged: Judged) -> str:
    return brief(judged) if judged.proposal.keep else f"leave out: it {brief(judged)}"


def set_lines(verdict: Verdict) -> Iterator[str]:
    """What there is in the set, in words; nothing of what could not be told."""
    variety = verdict.variety
    if variety.count < 2:
        return
    named: dict[str, Counter[str]] = {
        "framing": variety.framings,
        "light": variety.lights,
        "background": variety.backgrounds,
        "shape": variety.shapes,
    }
    parts = [
        f"{name}: {', '.join(f'{count} {value}' for value, count in counts.most_common(5))}"
        for name, counts in named.items()
        if counts
    ]
    yield "; ".join(parts)


def _write(settings: CheckSettings, verdict: Verdict, summary: Summary, captions: Captions) -> dict[str, str]:
    assert settings.out is not None
    title = f"{len(verdict)} pictures in {settings.images.absolute().name}"
    sheet = settings.out / SHEET
    _check_out(settings.out, settings.images)  # again, for something may have come there meanwhile
    with atomic_path(sheet, "--out") as temporary:
        draw_contact(title, verdict, summary).save(temporary, format="PNG", pnginfo=marked(MARK))
    about = About(title, list(set_lines(verdict)), captions)
    write_text(settings.out / PAGE, "".join(page(about, verdict, summary)), "--out")
    return {"sheet": str(sheet), "page": str(settings.out / PAGE)}


def _check_out(out: Path, images: Path) -> None:
    """Raise UserError unless sheet and page can be written, where they take no other file's place and are no pictures
    of the set."""
    if images.is_dir() and lies_in(out, images):
        raise UserError(f"{out} lies in {images}, whose pictures are looked at; give a folder outside of it with --out")
    for name in (SHEET, PAGE):
        require_ours(out / name, MARK)
    require_writable(out / PAGE)


def _answer(settings: CheckSettings, verdict: Verdict, summary: Summary, captions: Captions) -> dict[str, Any]:
    """Everything, as plain values."""
    pictures, skipped = [], []
    for judged in verdict:
        told: dict[str, Any] = {"file": judged.facts.name}
        if judged.facts.problem:
            skipped.append(told | {"reason": judged.facts.problem})
            continue
        told |= {"caption": captions(judged.source) or None, "keep": judged.proposal.keep}
        told |= {"reason": judged.proposal.reason, "findings": [asdict(finding) for finding in judged.findings]}
        facts = judged.facts.to_dict()
        pictures.append(told | {name: facts[name] for name in facts if name not in ("name", "problem", "hashes")})
    names = [[verdict.facts(at).name for at in group.members] for group in verdict.groups]
    return {
        "folder": str(settings.images),
        "wanted": {name: getattr(verdict.wanted, name) for name in ("resolution", "subject", "method")},
        "counts": {mark: summary.marks[mark] for mark in MARKS} | {"pictures": len(verdict), "kept": summary.kept},
        "kinds": dict(summary.kinds),
        "set": verdict.variety.to_dict(),
        "remarks": [asdict(remark) for remark in verdict.remarks],
        "duplicates": names,
        "skipped": skipped,
        "pictures": pictures,
    }
