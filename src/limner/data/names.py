"""The files of one folder, found by name as people mean it: in any case, and whichever way an accent is stored."""

import functools
import os
import posixpath
import time
import unicodedata
from collections.abc import Iterable
from pathlib import Path

UNSURE_NS = 2_000_000_000  # after a change, in which another may leave a folder's time as it is
MOST_LISTED = 4  # folders whose lists stay in memory: images come folder by folder


def name_key(name: str) -> str:
    """The same for names that differ in case or Unicode normal form alone, as macOS and Windows see them."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).lower())


def stem_of(name: str) -> str:
    """A file's name without its last ending; "cat" of "a/cat.jpg". As of a path, of which ten thousand are slow."""
    return posixpath.splitext(posixpath.basename(name))[0]


def ending_of(name: str) -> str:
    """A file's last ending in small letters, with its dot; "" if it has none."""
    return posixpath.splitext(posixpath.basename(name))[1].lower()


class Names:
    """The names of a folder's files. images: those of them that are images."""

    def __init__(self, names: Iterable[str], images: Iterable[str] = ()) -> None:
        self._alike: dict[str, list[str]] = {}
        for name in sorted(names):
            self._alike.setdefault(name_key(name), []).append(name)
        images = list(images)
        self._image_stems = {stem_of(name) for name in images}
        self._image_keys = {name_key(each) for name in images for each in (name, stem_of(name))}

    def find(self, name: str) -> str | None:
        """The file of that name, else the first whose name differs in case or normal form alone; None if none does."""
        alike = self._alike.get(name_key(name), [])
        return name if name in alike else next(iter(alike), None)

    def beside(self, image: str, endings: Iterable[str]) -> str | None:
        """The file that belongs to an image by its name: cat.txt for cat.jpg, or cat.jpg.txt.

        One that is another image's to the letter is not taken: of cat.jpg and CAT.jpg, cat.txt is the first one's.
        """
        stem = stem_of(image)
        for ending in endings:
            for wanted in (stem + ending, image + ending):
                found = self.find(wanted)
                if found is not None and (stem_of(found) == stem or stem_of(found) not in self._image_stems):
                    return found
        return None

    def has_image(self, name: str) -> bool:
        """Whether there is an image that a file belongs to by its name: cat.txt or cat.jpg.txt to cat.jpg."""
        return name_key(stem_of(name)) in self._image_keys


def names_in(folder: Path, endings: frozenset[str]) -> Names:
    """The files of a folder; none if it cannot be listed. endings: of images."""
    try:
        changed = folder.stat().st_mtime_ns
        if time.time_ns() - changed < UNSURE_NS:
            return _listed.__wrapped__(str(folder), changed, endings)
        return _listed(str(folder), changed, endings)
    except OSError:
        return Names(())


@functools.lru_cache(maxsize=MOST_LISTED)
def _listed(folder: str, changed: int, endings: frozenset[str]) -> Names:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return Names(names, (name for name in names if ending_of(name) in endings and not name.startswith(".")))
