"""Where pictures come from before they are a data set: a folder with its subfolders, or a zip; nothing is unpacked."""

import functools
import os
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from limner.data import mask
from limner.data.decode import MAX_BYTES, Unusable, read
from limner.data.folder import FOREIGN, SUFFIXES
from limner.errors import UserError

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

    def read(self) -> bytes:
        """Its bytes. Raises Unusable."""
        return _member(self.root, self.name, MAX_BYTES) if self.archive else read(self.path)

    def beside(self, ending: str, most_bytes: int) -> bytes | None:
        """The bytes of the file of the same name with another ending, None if there is none. Raises Unusable."""
        name = str(PurePosixPath(self.name).with_suffix(ending))
        if self.archive:
            try:
                return _member(self.root, name, most_bytes)
            except KeyError:
                return None
        path = self.root / name
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            data = stream.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise Unusable(f"has a file {path.name} of more than {most_bytes >> 10} KiB beside it")
        return data


def find_sources(images: Path) -> Iterator[Source]:
    """The pictures at a path, in order of their names: of a folder and its subfolders, or of a zip.

    Hidden files and folders, links to folders, masks of pictures, and files of other kinds are passed over. Folders
    are listed as they are reached, so that a hundred thousand pictures take no memory; a zip stays open in each
    process that reads it. Raises UserError if there is nothing at the path or it cannot be listed, and for a zip that
    is damaged.
    """
    if images.is_dir():
        return _of_folder(images, "", [])
    if not images.exists():
        raise UserError(f"no folder {images}; give the folder or the zip that holds your pictures")
    if not zipfile.is_zipfile(images):
        raise UserError(f"{images} is neither a folder nor a zip; give the folder or the zip that holds your pictures")
    return _of_zip(images)


def _wanted(name: str) -> bool:
    hidden = any(part.startswith(HIDDEN) and part != "." for part in name.split("/"))
    return not hidden and posixpath.splitext(name)[1].lower() in SUFFIXES | FOREIGN


def _stem(name: str) -> str:
    """As of a path, of which ten thousand are slow to make."""
    return posixpath.splitext(posixpath.basename(name))[0]


def _without_masks(names: list[str]) -> list[str]:
    """The files of one folder that are not by their names masks of others in it."""
    stems = {stem for stem in map(_stem, names) if mask.picture_of(stem) is None}
    return [name for name in names if mask.picture_of(_stem(name)) not in stems]


def _are_masks(names: list[str], pictures: list[str]) -> bool:
    """Whether the files of a folder "masks" are masks of the pictures in the folder that holds it: all by their names.

    Carnival masks, say, are not.
    """
    stems = set(map(_stem, pictures))
    return all((mask.picture_of(stem) or stem) in stems for stem in map(_stem, names))


def _of_folder(root: Path, inside: str, above: list[str]) -> Iterator[Source]:
    """The sources in a folder and its subfolders. above: the pictures in the folder that holds it."""
    folder = root / inside
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        raise UserError(f"cannot list {folder} ({error.strerror}); make it readable") from error
    pictures = _without_masks([name for name, is_folder in found if not is_folder and _wanted(name)])
    if folder.name == mask.FOLDER and inside and _are_masks(pictures, above):
        return
    listed = set(pictures)
    for name, is_folder in found:
        path = f"{inside}/{name}" if inside else name
        if is_folder and not name.startswith(HIDDEN):
            yield from _of_folder(root, path, pictures)
        elif name in listed and not is_folder:
            yield Source(root, path)


def _of_zip(path: Path) -> Iterator[Source]:
    try:
        names = sorted(name for name in _archive(path, _stamp(path)).NameToInfo if not name.endswith("/"))
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} is not a zip that can be read ({error}); pack it again") from error
    if len(names) > MOST_MEMBERS:
        raise UserError(f"{path} has more than {MOST_MEMBERS:,} files; give the pictures as a folder")
    safe = [name for name in names if _wanted(name) and _is_inside(name)]
    folders: dict[str, list[str]] = {}
    for name in safe:
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    pictures = {folder: _without_masks(inside) for folder, inside in folders.items()}
    skipped = {
        folder
        for folder, inside in pictures.items()
        if (held := PurePosixPath(folder)).name == mask.FOLDER
        and _are_masks(inside, pictures.get(str(held.parent), []))
    }
    kept = {name for folder, inside in pictures.items() if folder not in skipped for name in inside}
    yield from (Source(path, name, archive=True) for name in safe if name in kept)


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in PurePosixPath(name).parts and "\\" not in name


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=1)  # in each process: reading a zip's list of members takes seconds if they are many
def _archive(path: Path, stamp: tuple[int, int]) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _member(path: Path, name: str, most_bytes: int) -> bytes:
    """The bytes of a zip's member, bounded whatever its header says. Raises Unusable, and KeyError if it is missing."""
    try:
        archive = _archive(path, _stamp(path))
        member = archive.getinfo(name)
        if member.file_size > MOST_RATIO * max(1, member.compress_size):
            raise Unusable("is packed so tightly that it cannot be a picture")
        with archive.open(member) as stream:
            data = stream.read(most_bytes + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise Unusable(f"cannot be read from {path.name} ({error})") from error
    if len(data) > most_bytes:
        raise Unusable(f"is larger than {most_bytes >> 20} MiB; export it as JPEG")
    return data
