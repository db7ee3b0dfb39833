"""The verbs that find models and keep them in order: each calls limner.library, and shows what it yields."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from limner.cli.app import Unfinished, verb
from limner.cli.output import Output, megabytes, quoted
from limner.config import DownloadSettings, ModelsSettings, SearchSettings, TidySettings

if TYPE_CHECKING:
    from limner.library.choose import Terms
    from limner.library.civitai import Civitai
    from limner.library.download import Shelf
    from limner.library.offer import Fetched, Offer, OfferedFile
    from limner.library.reader import Reader
    from limner.library.shelf import ShelfFile
    from limner.library.store import Store

SITES = {"civitai": "Civitai", "hub": "the hub"}
MOST_WORDS = 60  # characters of a file's keywords in a table


@verb(SearchSettings, "query")
def search(settings: SearchSettings, output: Output) -> dict:
    """Look for models here, at Civitai and on the hub: one table, with ids that limner download takes."""
    from limner.library import search as searching
    from limner.library.civitai import Civitai
    from limner.library.hub import Hub
    from limner.library.offer import Asking, Failed, Found, Waiting
    from limner.library.reader import Reader
    from limner.library.store import Store

    sources = settings.source or searching.SOURCES
    root = settings.models.resolve() if settings.models.is_dir() else None
    wanted = searching.Request(
        settings.query, settings.type, settings.base, settings.sort, settings.limit, settings.nsfw
    )
    offers, failed = [], {}
    with Store() as store:
        if root is not None:
            with Reader() as reader:
                update(store, root, reader, output)
        for event in searching.search(store, root, wanted, sources, Civitai(store), Hub()):
            if isinstance(event, Found):
                offers.append(event.offer)
            elif isinstance(event, Waiting):
                output.say(f"{event.reason}; again in {event.seconds:.0f} s")
            elif isinstance(event, Asking):
                output.say(f"asking {SITES[event.source]} ...")
            elif isinstance(event, Failed):
                failed[event.source] = event.reason
    output.table(("id", "title", "kind", "base", "size", "downloads", "keyword", "remarks"), map(_offer_row, offers))
    if failed and failed.keys() == set(sources) - {"local"}:
        reasons = "; ".join(f"nothing from {SITES[source]}: {reason}" for source, reason in failed.items())
        raise Unfinished(reasons, found=[offer.as_dict() for offer in offers], failed=failed)
    for source, reason in failed.items():
        output.warn(f"nothing from {SITES.get(source, source)}: {reason}")
    if not offers:
        output.say("nothing found; say fewer words, or leave out --type and --base")
    return {"found": [offer.as_dict() for offer in offers], "failed": failed}


@verb(DownloadSettings, "id")
def download(settings: DownloadSettings, output: Output) -> dict:
    """Fetch a model that limner search found, verified, into the folder of its kind."""
    from limner.library.choose import Terms
    from limner.library.civitai import Civitai
    from limner.library.download import Shelf
    from limner.library.ids import parse_id
    from limner.library.reader import Reader
    from limner.library.store import Store

    source = parse_id(settings.id)[0]
    settings.models.mkdir(parents=True, exist_ok=True)
    root = settings.models.resolve()
    with Store() as store, Reader() as reader:
        update(store, root, reader, output)
        output.say(f"asking {SITES.get(source, source)} ...")
        terms = Terms(settings.file, settings.pickle, settings.unverified, int(settings.max_gb * 1e9))
        done = _fetch(settings.id, Shelf(root, store, reader), Civitai(store), terms, output)
        file = store.get(root, done.path.relative_to(root).as_posix())
    assert file is not None
    for name, says in file.readers.items():
        if says:
            output.warn(f"{name} {says}")
    if done.was_here:
        output.say("this very file is here already")
    output.result(str(done.path))
    words = ", ".join(file.keywords)
    tag = {"lora": f"use it in prompts as <lora:{done.path.stem}:1>", "embedding": f"say {done.path.stem} in a prompt"}
    output.say(
        tag.get(done.kind, f"train on it with limner train --base {quoted(done.path)}")
        + (f"; its keywords: {words}" if words else "")
    )
    return {"was_here": done.was_here} | file.as_dict()


def _fetch(id: str, shelf: "Shelf", civitai: "Civitai", terms: "Terms", output: Output) -> "Fetched":
    """Follow a download to its end."""
    from limner.library.download import download as downloading
    from limner.library.hub import Hub
    from limner.library.offer import Chosen, Fetched, Progress, Told, Waiting

    done = None
    with output.progress("MB", 0) as bar, closing(downloading(id, shelf, civitai, Hub(), terms)) as events:
        for event in events:
            if isinstance(event, Progress) and event.done >= 1e6:
                bar.total = round((event.total or event.done) / 1e6)
                bar.at(round(event.done / 1e6))
            elif isinstance(event, Waiting):
                output.say(f"{event.reason}; again in {event.seconds:.0f} s")
            elif isinstance(event, Told):
                output.say(event.message)
            elif isinstance(event, Chosen):
                output.say(_about(event.offer, event.file))
            elif isinstance(event, Fetched):
                done = event
    assert done is not None
    return done


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


@verb(TidySettings, rename="models tidy")
def tidy(settings: TidySettings, output: Output) -> dict:
    """Remove what interrupted commands left in the models folder; parts of downloads once they are a week old."""
    from limner.library.clearing import clear_models
    from limner.library.scan import shelf_root

    root = shelf_root(settings.models)
    removed, kept = clear_models(root)
    for path, size in removed:
        output.say(f"removed: {path.relative_to(root)} ({megabytes(size)})")
    for path, size in kept:
        output.say(f"kept: {path.relative_to(root)} ({megabytes(size)}), with which a download can go on")
    size = sum(each for _, each in removed)
    output.result(f"{len(removed)} unfinished files removed, {megabytes(size)}" if removed else "nothing to remove")
    return {
        "models": str(root),
        "removed": [str(path.relative_to(root)) for path, _ in removed],
        "kept": [str(path.relative_to(root)) for path, _ in kept],
        "size_bytes": size,
    }


def _about(offer: "Offer", file: "OfferedFile") -> str:
    """What a person sees before anything is fetched."""
    size = "" if file.size_bytes is None else megabytes(file.size_bytes)
    whose = offer.creator and f"by {offer.creator}"
    facts = [offer.version, offer.kind, offer.base or offer.family, whose, offer.remark]
    facts += [file.name, size, file.format, file.precision]
    return f"{offer.title}: {', '.join(fact for fact in facts if fact)}"


def _offer_row(offer: "Offer") -> tuple[str, ...]:
    main, words = offer.main, ", ".join(offer.keywords)
    size = "" if main is None or main.size_bytes is None else megabytes(main.size_bytes)
    pickled = " (pickle)" if main is not None and main.format == "pickle" else ""
    here = "" if offer.here is None or offer.source == "local" else "here already"
    return (
        offer.id,
        offer.title if not offer.version else f"{offer.title}, {offer.version}",
        f"{offer.kind}{pickled}",
        offer.base or offer.family,
        size,
        "" if offer.downloads is None else f"{offer.downloads:,}",
        words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}...",
        ", ".join(filter(None, (here, offer.remark))),
    )


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
                bar.at(event.read)
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
    if told and all(loads is None for loads, _ in told.values()):
        return "not known"
    return ", ".join(f"{name}*" if says else name for name, says in file.readers.items())
