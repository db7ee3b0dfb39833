"""The verbs that find models and keep them in order: each calls limner.library, and shows what it yields."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from limner.cli.app import verb
from limner.cli.output import Output, megabytes
from limner.config import ModelsSettings

if TYPE_CHECKING:
    from limner.library.reader import Reader
    from limner.library.shelf import ShelfFile
    from limner.library.store import Store

MOST_WORDS = 60  # characters of a file's keywords in a table


@verb(ModelsSettings, "query")
def models(settings: ModelsSettings, output: Output) -> dict:
    """List the checkpoints, LoRAs and embeddings that you have: what each is for, its keyword, who loads it."""
    from limner.library.reader import Reader
    from limner.library.scan import shelf_root
    from limner.library.store import Store

    root = shelf_root(settings.models)
    kinds = [settings.type] if settings.type else []
    families = [settings.base] if settings.base else []
    with Store() as store, Reader() as reader:
        passed_over = update(store, root, reader, output)
        found = store.find(root, settings.query, kinds, families, settings.limit)
        if settings.hash and any(file.hashes is None for file in found):
            _hash(store, root, found, reader, output)
            found = store.find(root, settings.query, kinds, families, settings.limit)
        counts = store.count(root, settings.query, kinds, families)
    total = sum(counts.values())
    output.table(("file", "kind", "base", "keyword", "size", "hash", "loads in"), map(_row, found))
    if total > len(found):
        output.say(f"{len(found)} of {total}; say more words, or --limit {total}")
    elif not total:
        output.say(f"nothing of that kind in {root}" if settings.query or kinds or families else f"{root} is empty")
    unread = [file.problem for file in found if file.problem]
    for problem in unread:
        output.warn(problem)
    return {"models": str(root), "counts": counts, "files": [file.as_dict() for file in found], "left_out": passed_over}


def update(store: "Store", root: Path, reader: "Reader", output: Output) -> list[dict[str, str]]:
    """Bring the index up to date, telling of it; returns what was passed over."""
    from limner.library.scan import PassedOver, Reading, Scanned, scan

    passed_over = []
    with output.progress("new file", 0) as bar, closing(scan(store, root, reader)) as events:
        for event in events:
            if isinstance(event, Reading):
                bar.total = event.total
                bar.at(event.done)
            elif isinstance(event, PassedOver):
                passed_over.append({"file": event.name, "reason": event.reason})
            elif isinstance(event, Scanned) and (event.read or event.removed):
                output.say(f"{event.total} files, {event.read} of them read now, {event.removed} gone")
    for each in passed_over:
        output.say(f"left out: {each['file']} {each['reason']}")
    return passed_over


def _hash(store: "Store", root: Path, files: "list[ShelfFile]", reader: "Reader", output: Output) -> None:
    from limner.library.scan import Hashing, hash_files

    with output.progress("file to hash", 0) as bar:
        for event in hash_files(store, root, files, reader):
            if isinstance(event, Hashing):
                bar.total = event.total
                bar.at(event.done)
            else:
                output.warn(event.reason)


def _row(file: "ShelfFile") -> tuple[str, ...]:
    words = ", ".join(file.keywords)
    kind = file.kind if file.form in ("", "lora") else file.form
    pickled = " (pickle)" if file.container == "pickle" else ""
    hashes = file.hashes
    return (
        file.name,
        f"{kind or 'cannot be read'}{pickled}",
        file.family,
        words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}...",
        megabytes(file.size_bytes),
        "" if hashes is None else (file.kind == "lora" and hashes.autov3) or hashes.autov2,
        _readers(file),
    )


def _readers(file: "ShelfFile") -> str:
    """Who loads it, with a star at whom something is left out or wrong."""
    told = file.details.get("readers", {})
    if told and all(loads and not says for loads, says in told.values()):
        return "all"
    return ", ".join(f"{name}*" if says else name for name, says in file.readers.items())
