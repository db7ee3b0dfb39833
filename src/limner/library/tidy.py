"""Files of the shelf called otherwise, or put away; what lies beside a file under its name goes with it."""

import itertools
from pathlib import Path

from limner.errors import UserError
from limner.library.filenames import clean_stem
from limner.library.scan import PICTURES, SUFFIXES
from limner.library.shelf import ShelfFile
from limner.library.store import Store

TRASH = ".trash"  # in the models folder, hidden, so that nobody takes what is in it for a model
BESIDE = (*PICTURES, ".json", ".yaml", ".txt", ".civitai.info")  # notes and pictures of the webui and its kin


def rename(store: Store, file: ShelfFile, stem: str) -> str:
    """Give a file another stem in its folder; returns its new name. Raises UserError if that cannot be.

    Its hashes, and where it came from, stay known.
    """
    path = _here(file)
    clean = clean_stem(stem, "")
    if not clean or clean != stem.strip():
        hint = f"; {clean} would do" if clean else ""
        raise UserError(f"{stem[:100]!r} cannot be the name of a file everywhere, and in prompts{hint}")
    target = path.with_name(clean + path.suffix)
    name = target.relative_to(file.root).as_posix()
    if name == file.name:
        return name
    _move([(path, target), *((each, target.with_name(clean + ending)) for each, ending in _beside(path))])
    with store.changing():
        store.rename(file.root, file.name, name)
    return name


def remove(store: Store, file: ShelfFile) -> Path:
    """Put a file into the trash folder; returns where it is now. Raises UserError if that cannot be."""
    path = _here(file)
    folder = (file.root / TRASH / file.name).parent
    stems = itertools.chain([path.stem], (f"{path.stem} ({number})" for number in itertools.count(2)))
    stem = next(stem for stem in stems if not (folder / f"{stem}{path.suffix}").exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write in {folder}: {error.strerror}; make it writable") from error
    target = folder / f"{stem}{path.suffix}"
    _move([(path, target)])
    for each, ending in _beside(path):
        beside = folder / f"{stem}{ending}"
        if not beside.exists():
            _move([(each, beside)])
    with store.changing():
        store.remove(file.root, file.name)
    return target


def _here(file: ShelfFile) -> Path:
    """The file's path, if it is there still, and not by a link that leads out."""
    folder = file.path.parent.resolve()
    if not folder.is_relative_to(file.root) or not file.path.is_file():
        raise UserError(f"{file.name} is not there any more; look for new files")
    return file.path


def _beside(path: Path) -> list[tuple[Path, str]]:
    """What belongs to a file, with its ending; nothing if another model has the same stem."""
    if any(path.with_suffix(suffix).exists() for suffix in SUFFIXES if suffix != path.suffix):
        return []
    named = [(path.with_name(path.stem + ending), ending) for ending in BESIDE]
    return [(each, ending) for each, ending in named if each.is_file()]


def _move(moves: list[tuple[Path, Path]]) -> None:
    """Move files, none over another one. Raises UserError before the first if one of the names is taken."""
    taken = next((target for _, target in moves if target.exists() or target.is_symlink()), None)
    if taken is not None:
        raise UserError(f"there is a {taken.name} already; choose another name")
    try:
        for source, target in moves:
            source.rename(target)
    except OSError as error:
        raise UserError(f"cannot move {moves[0][0].name}: {error.strerror}; make its folder writable") from error
