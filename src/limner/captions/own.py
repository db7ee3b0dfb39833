"""What a person wrote for a picture: in a file beside it, or in a metadata.jsonl of its folder or one above."""

from pathlib import PurePosixPath

from limner.data.decode import Unusable
from limner.data.folder import CAPTIONS, MAX_CAPTION_BYTES, text_of
from limner.data.metadata import METADATA, captions_in
from limner.data.source import Source


class OwnCaptions:
    """Finds them in folders and zips. Of the tables it keeps those that the last picture needed."""

    def __init__(self) -> None:
        self._tables: dict[PurePosixPath, dict[str, str]] = {}

    def of(self, source: Source) -> str | None:
        """The text on one line; None if there is none or it is blank.

        Raises Unusable, in the picture's name, for a file beside it, and UserError for a table that is damaged.
        """
        for ending in CAPTIONS:
            data = source.beside(ending, MAX_CAPTION_BYTES)
            if data is not None:
                text = text_of(data, PurePosixPath(source.name).stem + ending)
                if text is not None:
                    return text
                break
        path = PurePosixPath(source.name)
        tables = {folder: self._table(source, folder) for folder in path.parents}
        self._tables = tables
        found = (table.get(str(path.relative_to(folder))) for folder, table in tables.items())
        return next((text for text in found if text is not None), None)

    def _table(self, source: Source, folder: PurePosixPath) -> dict[str, str]:
        if folder in self._tables:
            return self._tables[folder]
        table = Source(source.root, str(folder / METADATA), source.archive)
        if not source.archive and not table.path.is_file():
            return {}
        try:
            return captions_in(table.read(), table.path)
        except (KeyError, Unusable):
            return {}
