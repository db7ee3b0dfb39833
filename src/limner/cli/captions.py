"""`limner captions` as a person follows it: what the captions of a folder say, and what becomes of them."""

from pathlib import Path
from typing import Any

from limner.cli.output import Output, quoted
from limner.config import CaptionsSettings
from limner.texts import display

SHOWN = 40  # changes, where there are more
COMMON = 15  # tags


def show_captions(settings: CaptionsSettings, output: Output) -> dict[str, Any]:
    """Look at captions, show what the edits make of them, and write that if it is asked for."""
    from limner.captions.bulk import Plan
    from limner.captions.places import find_places
    from limner.errors import UserError

    if settings.undo:
        return _undo(settings, output)
    places = list(find_places(settings.images))
    if not places:
        raise UserError(f"no pictures in {settings.images}; give the folder that holds them")
    plan = Plan(settings, places)
    with output.progress("caption", len(places)) as bar:
        for done in plan.run():
            bar.at(done)
    for name, problem in plan.problems:
        output.warn(f"{display(name)} {problem}; its caption stays as it is")
    for sentence in plan.remarks():
        output.warn(sentence)
    for change in plan.changes[:SHOWN]:
        output.diff(change.place.name, change.before, change.after)
    if len(plan.changes) > SHOWN:
        output.result(f"... and {len(plan.changes) - SHOWN} more")
    facts = _statistics(plan, output)
    if plan.pruned:
        told = ", ".join(f"{tag} ({count} of {len(places)})" for tag, count in plan.pruned)
        output.result(f"left out as common: {told}")
    written = _write(plan, settings, output)
    changes = [{"file": each.place.name, "before": each.before, "after": each.after} for each in plan.changes]
    problems = [{"file": name, "problem": problem} for name, problem in plan.problems]
    return facts | {
        "warnings": plan.remarks(),
        "changes": changes,
        "problems": problems,
        "pruned": plan.pruned,
        "history": written,
    }


def _write(plan: Any, settings: CaptionsSettings, output: Output) -> str | None:
    """Write the changes if it is asked for, and say what to do next; returns where the undo is kept."""
    number = f"{len(plan.changes)} of {len(plan.places)} captions"
    if not plan.changes:
        output.say("nothing to change")
        return None
    if not settings.write:
        output.result(f"{number} would change; nothing is written yet: give the same command with --write")
        return None
    where = plan.write()
    output.result(f"{number} changed; to go back: limner captions {quoted(settings.images)} --undo")
    return str(where)


def _statistics(plan: Any, output: Output) -> dict[str, Any]:
    """Say what the captions have in common and what they lack, as they are to be."""
    from limner.captions.statistics import count, long_sentence

    captions = plan.after()
    found = count(captions, {place.name: plan.keyword(place) for place in plan.places})
    if found.tags:
        told = found.pictures - len(found.without)
        rows = [(tag, f"{number} of {told}") for tag, number in found.tags[:COMMON] if number > 1]
        if rows:
            output.table(("tag", "captions"), rows)
    if found.without:
        word = "have" if len(found.without) > 1 else "has"
        output.result(
            f"{len(found.without)} of {found.pictures} pictures {word} no caption ({_some(found.without)}); training "
            "calls them by keyword and class, --keyword writes that down"
        )
    if found.lacking:
        output.warn(
            f"{len(found.lacking)} captions lack the keyword ({_some(found.lacking)}); training puts it in front"
        )
    if found.long:
        output.warn(long_sentence([name for name, _ in found.long]))
    return {
        "pictures": found.pictures,
        "without": found.without,
        "lacking_keyword": found.lacking,
        "tags": found.tags,
        "same": found.texts,
        "long": found.long,
        "most_tokens": found.most_tokens,
    }


def _some(names: list[str]) -> str:
    from limner.captions.statistics import NAMED

    return ", ".join(map(display, names[:NAMED])) + (", ..." if len(names) > NAMED else "")


def _undo(settings: CaptionsSettings, output: Output) -> dict[str, Any]:
    from limner.captions.history import undo

    root: Path = settings.images if settings.images.is_dir() else settings.images.parent
    undone = undo(root)
    for path in undone.left:
        output.warn(f"{path} was edited since; it stays as it is")
    output.result(f"{len(undone.restored)} files are again as they were before {undone.when}")
    return {
        "restored": [str(path) for path in undone.restored],
        "left": [str(path) for path in undone.left],
        "when": undone.when,
    }
