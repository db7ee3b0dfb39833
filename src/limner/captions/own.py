"""What a person wrote for a picture: in a file beside it, or in a metadata.jsonl of its folder or one above."""

import posixpath

from limner.data.caption_marks import CaptionMarks
from limner.data.decode import Unusable
from limner.data.folder import MAX_CAPTION_BYTES, caption_lines
from limner.data.listing import CAPTIONS
from limner.data.metadata import METADATA, Captions
from limner.data.source import Source, names_of


class OwnCaptions:
    """Finds them in folders and zips. Of the tables it keeps those that the last picture needed.

    marks: what other trainers' marks were seen in them. lines: how many the last text stood on.
    """

    def __init__(self) -> None:
        self.marks = CaptionMarks()
        self.lines = 0
        self._tables: dict[str, Captions | None] = {}

    def of(self, source: Source) -> str | None:
        """The text on one line; None if there is none or it is blank.

        Raises Unusable, in the picture's name, for a file beside it, and UserError for a table that is damaged.
        """
        lines = self._beside(source) or self._in_tables(source)
        text, self.lines = " ".join(lines) or None, len(lines)
        self.marks.see(source.name, text, len(lines))
        return text

    def _beside(self, source: Source) -> list[str]:
        for ending in CAPTIONS:
            data = source.beside(ending, MAX_CAPTION_BYTES)
            if data is not None:
                name = source.name_beside((ending,)) or ending
                return caption_lines(data, posixpath.basename(name))
        return []

    def _in_tables(self, source: Source) -> list[str]:
        self._tables = {folder: self._table(source, folder) for folder in _above(source.name)}
        for folder, table in self._tables.items():
            inside = source.name[len(folder) + 1 :] if folder else source.name
            text = None if table is None else table.text(inside)
            if text is not None:
                return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        return []

    def _table(self, source: Source, folder: str) -> Captions | None:
        if folder in self._tables:
            return self._tables[folder]
        name = names_of(source.root, folder, source.archive).find(METADATA)
        if name is None:
            return None
        table = Source(source.root, f"{folder}/{name}" if folder else name, source.archive)
        try:
            return Captions(table.read(), table.path)
        except (KeyError, Unusable):
            return None


def _above(name: str) -> list[str]:
    """The folders that hold a file, from the root, the nearest first; "" is the root itself."""
    folders = [posixpath.dirname(name)]
    while folders[-1]:
        folders.append(posixpath.dirname(folders[-1]))
    return folders
