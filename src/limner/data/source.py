"""Where images come from before they are a data set: a folder with its subfolders, or a zip; nothing is unpacked."""

import functools
import os
import posixpath
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limner.data import mask
from limner.data.decode import MAX_BYTES, Unusable, read
from limner.data.listing import LOOKING, Listing
from limner.data.names import Names, name_key, names_in, stem_of
from limner.errors import UserError
from limner.texts import display

MOST_MEMBERS = 1_000_000  # of a zip
MOST_RATIO = 200  # bytes of a member that one byte of the zip may become; pictures hardly shrink
HIDDEN = (".", "__MACOSX")  # beginnings of names that hold no pictures of anybody


@dataclass(frozen=True)
class Source:
    """A file that is or looks like a picture. name: its path from the root, with slashes, by which it is known.

    archive: the zip that it is a member of; else it is the file root / name.
    """

    root: Path
    name: str
    archive: bool = False

    @property
    def path(self) -> Path:
        """Where it lies, for messages; of a member the path it would have beside the others in a folder."""
        return self.root / self.name

    @property
    def is_there(self) -> bool:
        if not self.archive:
            return os.path.isfile(self.path)  # noqa: PTH113 (Path.is_file() raises for a name that is too long)
        return self.name in _archive(self.root, _stamp(self.root))[1]

    @property
    def folder(self) -> str:
        """The folder that it lies in, from the root; "" for the root itself."""
        return posixpath.dirname(self.name)

    def read(self) -> bytes:
        """Its bytes. Raises Unusable."""
        return _member(self.root, self.name, MAX_BYTES) if self.archive else read(self.path)

    def beside(self, ending: str, most_bytes: int) -> bytes | None:
        """The bytes of the file that belongs to it and has another ending, None if there is none. Raises Unusable."""
        name = self.name_beside((ending,))
        if name is None:
            return None
        try:
            if self.archive:
                return _member(self.root, name, most_bytes)
            with (self.root / name).open("rb") as stream:
                data = stream.read(most_bytes + 1)
        except (KeyError, FileNotFoundError):
            return None
        if len(data) > most_bytes:
            last = display(posixpath.basename(name))
            raise Unusable(f"has a file {last} of more than {most_bytes >> 10} KiB beside it")
        return data

    def name_beside(self, endings: tuple[str, ...]) -> str | None:
        """The file that belongs to it by its name, as Names.beside has it: its path from the root, with slashes."""
        if not self.archive:  # the usual name first: folders are slow to list, and lists grow old
            for ending in endings:
                usual = _inside(self.folder, stem_of(self.name) + ending)
                if os.path.isfile(self.root / usual):  # noqa: PTH113
                    return usual
        found = names_of(self.root, self.folder, self.archive).beside(posixpath.basename(self.name), endings)
        return None if found is None else _inside(self.folder, found)


@dataclass(frozen=True)
class Folder:
    """A folder below the root. name: its path from there, "" for the root itself. linked: folders in it that are links
    to others, and are not followed. is_masks: whether it holds masks of the images above it."""

    name: str
    listing: Listing
    linked: tuple[str, ...] = ()
    is_masks: bool = False


def find_sources(images: Path) -> Iterator[Source]:
    """The pictures at a path, in order of their names: of a folder and its subfolders, or of a zip.

    Hidden files and folders, links to folders, masks of pictures, and files of other kinds are passed over: tree.py
    says which. Folders are listed as they are reached, so that a hundred thousand pictures take no memory; a zip stays
    open in each process that reads it. Raises UserError if there is nothing at the path or it cannot be listed, and
    for a zip that is damaged.
    """
    return (each for each in _walk(images) if isinstance(each, Source))


def find_folders(images: Path) -> Iterator[Folder]:
    """All folders at a path, each before those in it. Raises UserError as find_sources does."""
    return (each for each in _walk(images) if isinstance(each, Folder))


def names_of(root: Path, folder: str, archive: bool) -> Names:
    """The names of the files in a folder below a root."""
    if not archive:
        return names_in(root / folder, LOOKING)
    found = _zipped(root, _stamp(root))[0].get(folder)
    return Names(()) if found is None else found.listing.names


def left_in_zip(path: Path) -> dict[str, list[str]]:
    """Members of a zip that are not used, whatever they are, by the reason."""
    return _zipped(path, _stamp(path))[1]


def _walk(images: Path) -> Iterator[Source | Folder]:
    if images.is_dir():
        return _of_folder(images, "", None)
    if not images.exists():
        raise UserError(f"no folder {display(images)}; give the folder or the zip that holds your pictures")
    if not zipfile.is_zipfile(images):
        raise UserError(
            f"{display(images)} is neither a folder nor a zip; give the folder or the zip that holds your pictures"
        )
    return _of_zip(images)


def _of_folder(root: Path, inside: str, above: Listing | None) -> Iterator[Source | Folder]:
    """A folder, and what is in it and its subfolders. above: the files of the folder that holds it."""
    folder = root / inside
    try:
        with os.scandir(folder) as entries:
            found = sorted((each.name, each.is_dir(follow_symlinks=False), each.is_dir()) for each in entries)
    except OSError as error:
        raise UserError(f"cannot list {display(folder)} ({error.strerror}); make it readable") from error
    listing = Listing(name for name, _, leads_to_folder in found if not leads_to_folder)
    linked = tuple(name for name, is_folder, leads in found if leads and not is_folder and not name.startswith(HIDDEN))
    is_masks = _are_masks(inside, listing, above)
    yield Folder(inside, listing, linked, is_masks)
    if is_masks:
        return
    images = set(listing.images)
    for name, is_folder, _ in found:
        if is_folder and not name.startswith(HIDDEN):
            yield from _of_folder(root, _inside(inside, name), listing)
        elif name in images:
            yield Source(root, _inside(inside, name))


def _of_zip(path: Path) -> Iterator[Source | Folder]:
    try:
        found = _zipped(path, _stamp(path))[0]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise UserError(f"{display(path)} is not a zip that can be read ({error}); pack it again") from error
    yield from found.values()
    used = [each for each in found.values() if not each.is_masks]
    yield from (
        Source(path, name, archive=True)
        for name in sorted(_inside(each.name, name) for each in used for name in each.listing.images)
    )


def _are_masks(folder: str, listing: Listing, above: Listing | None) -> bool:
    """Whether the files of a folder "masks" are masks of the images in the folder that holds it: most by their names.

    Carnival masks, say, are not.
    """
    if posixpath.basename(folder).lower() != mask.FOLDER:
        return False
    owners = {name_key(stem) for stem in (above.stems if above else ())}
    looking = [*listing.images, *listing.masks]
    fitting = sum(name_key(mask.picture_of(stem_of(name)) or stem_of(name)) in owners for name in looking)
    return 2 * fitting >= len(looking)


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=1)  # in each process: reading a zip's list of members takes seconds if they are many
def _archive(path: Path, stamp: tuple[int, int]) -> tuple[zipfile.ZipFile, dict[str, str]]:
    """A zip, and its members' own names by their paths with slashes: programs on Windows wrote backslashes."""
    archive = zipfile.ZipFile(path)
    if len(archive.NameToInfo) > MOST_MEMBERS:
        raise UserError(f"{display(path)} has more than {MOST_MEMBERS:,} files; give the pictures as a folder")
    names = {name.replace("\\", "/"): name for name in archive.NameToInfo if "\\" in name}
    return archive, names | {name: name for name in archive.NameToInfo if "\\" not in name}


@functools.lru_cache(maxsize=1)
def _zipped(path: Path, stamp: tuple[int, int]) -> tuple[dict[str, Folder], dict[str, list[str]]]:
    """The folders of a zip by their paths, and the members that are not used, by the reason."""
    archive, names = _archive(path, stamp)
    left: dict[str, list[str]] = {}
    files: dict[str, list[str]] = {"": []}
    for name in sorted(names):
        parts = name.split("/")
        if name.startswith("/") or ".." in parts:
            left.setdefault("their names lead out of the zip", []).append(name)
        elif not name.endswith("/") and not any(part.startswith(HIDDEN) and part != "." for part in parts):
            files.setdefault(posixpath.dirname(name), []).append(posixpath.basename(name))
    counts = Counter(each.filename for each in archive.filelist)
    twice = [f"{name}, the earlier one" for name, count in counts.items() if count > 1]
    if twice:
        left["another file in the zip has the same name, and the last one counts"] = twice
    listings = {folder: Listing(inside) for folder, inside in files.items()}
    above = {folder: listings.get(posixpath.dirname(folder)) if folder else None for folder in listings}
    folders = {
        folder: Folder(folder, listing, is_masks=_are_masks(folder, listing, above[folder]))
        for folder, listing in sorted(listings.items())
    }
    return folders, left


def _member(path: Path, name: str, most_bytes: int) -> bytes:
    """The bytes of a zip's member, bounded whatever its header says. Raises Unusable, and KeyError if it is missing."""
    try:
        archive, names = _archive(path, _stamp(path))
        member = archive.getinfo(names[name])
        if member.file_size > MOST_RATIO * max(1, member.compress_size):
            raise Unusable("is packed so tightly that it cannot be a picture")
        with archive.open(member) as stream:
            data = stream.read(most_bytes + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise Unusable(f"cannot be read from {display(path.name)} ({error})") from error
    if len(data) > most_bytes:
        raise Unusable(f"is larger than {most_bytes >> 20} MiB; export it as JPEG")
    return data
