"""What a folder with its subfolders, or a zip, holds that is not used, in sentences: nothing is passed over."""

import posixpath
from pathlib import Path

from limner.data.decode import Unusable
from limner.data.folder import unused_masks
from limner.data.listing import CAPTIONS
from limner.data.metadata import METADATA, Captions
from limner.data.source import Folder, Source, find_folders, left_in_zip
from limner.inventory import Inventory

NOT_FOLLOWED = "they are links to folders elsewhere, which are not followed"


def left_out(images: Path, endings: tuple[str, ...] = CAPTIONS, masks: bool = True) -> list[str]:
    """Sentences on files, links, masks, and rows of metadata.jsonl that are not used. Raises UserError.

    endings: of caption files. masks: whether those in folders of their own are of use.
    """
    files = Inventory(())
    said: list[str] = []
    tables: list[tuple[str, Captions, list[str]]] = []
    archive = not images.is_dir()
    listings = {}
    for folder in find_folders(images):
        start = f"{folder.name}/" if folder.name else ""
        listings[folder.name] = folder.listing
        if folder.is_masks:
            above = listings[posixpath.dirname(folder.name)]
            said += unused_masks(images / folder.name, folder.listing, above.images)
            continue
        if folder.linked:
            files.leave(NOT_FOLLOWED, *(start + name for name in folder.linked))
        folder.listing.account(files, endings, start)
        table = _table(images, folder, start, archive)
        if table is not None:
            tables.append((start, table, []))
        for above, _, names in tables:
            if start.startswith(above):
                names += [(start + name).removeprefix(above) for name in folder.listing.images]
    if archive:
        for reason, names in left_in_zip(images).items():
            files.leave(reason, *names)
    said = files.remarks(images, "file", "files") + said
    return said + [sentence for _, table, names in tables for sentence in table.remarks(names)]


def _table(images: Path, folder: Folder, start: str, archive: bool) -> Captions | None:
    """The metadata.jsonl of a folder. Raises UserError if it is damaged."""
    name = folder.listing.names.find(METADATA)
    if name is None:
        return None
    source = Source(images, start + name, archive)
    try:
        return Captions(source.read(), source.path)
    except (KeyError, Unusable):
        return None
