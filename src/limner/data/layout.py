"""What a folder of pictures is laid out as: pictures themselves, or kohya's subfolders such as "10_zvq dog"."""

import itertools
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from limner.data.dataset import DataSet, Part, split_tokens
from limner.data.dataset_toml import read_dataset_toml
from limner.data.listing import CAPTIONS_OF_KOHYA, LOOKING, SUFFIXES
from limner.data.metadata import METADATA, read_captions
from limner.data.names import Names, ending_of, names_in
from limner.data.source import find_folders, find_sources
from limner.errors import UserError
from limner.inventory import named
from limner.texts import display

NAMED = re.compile(r"(\d+)_(.*)")
# The folders of a project of kohya's GUI: pictures, and pictures of the class.
PICTURES, CLASS_PICTURES = ("img", "image"), ("reg",)
MOST_COUNTED = 10_000  # images in subfolders
DATASET = "dataset.toml"  # the data-set file by which a folder is known for one that is prepared


def find_dataset(images: Path) -> DataSet:
    """The data set at a path: a folder of pictures, one of kohya's or `datasets`', a data-set file of sd-scripts, or
    a folder with dataset.toml in it.

    Folders are listed, not opened; one that is missing is left for who opens it to say. Raises UserError.
    """
    if images.suffix.lower() == ".toml" and not images.is_dir():
        return read_dataset_toml(images)
    names = names_in(images, LOOKING)
    toml = names.find(DATASET)
    if toml is not None and (images / toml).is_file():
        return read_dataset_toml(images / toml)
    named_folders = _named(images)
    if not named_folders:
        project = [folder for name in PICTURES for folder in _named(images / name)]
        classes = [folder for name in CLASS_PICTURES for folder in _named(images / name)]
        return _of_kohya(images, project, classes) if project else DataSet(images, _of_metadata(images, names))
    if _has_pictures(images):
        return DataSet(images, (Part(images),))
    return _of_kohya(images, named_folders, [])


def _named(folder: Path) -> list[Path]:
    """Subfolders with kohya's names, in order."""
    try:
        return sorted(path for path in folder.iterdir() if NAMED.fullmatch(path.name) and path.is_dir())
    except OSError:
        return []


def _has_pictures(folder: Path) -> bool:
    return any(ending_of(name) in SUFFIXES and not name.startswith(".") for name in os.listdir(folder))  # noqa: PTH208


def left_below(dataset: DataSet) -> Iterator[str]:
    """Sentences on images in subfolders of a data set, which training does not take. Raises UserError if there are
    only such."""
    used = {part.folder for part in dataset.parts}
    roots = [dataset.root] if dataset.root.is_dir() else [folder for folder in used if folder.is_dir()]
    for root in sorted(roots):
        linked = next((folder.linked for folder in find_folders(root)), ())
        if linked:
            yield (
                f"{display(root)}: {named(list(linked))} {'is a link' if len(linked) == 1 else 'are links'} to another "
                "folder, and what is in there is not trained on"
            )
        counts = Counter(
            source.folder
            for source in itertools.islice(find_sources(root), MOST_COUNTED)
            if root / source.folder not in used
        )
        if not counts:
            continue
        total = counts.total()
        number = f"{total:,} image{'' if total == 1 else 's'}"
        folders = f"{'a subfolder' if len(counts) == 1 else 'subfolders'} of {display(root)} ({named(list(counts))})"
        advice = (
            "training takes only the images of a folder itself, so move them up, or make one data set of all with "
            "limner prepare"
        )
        if used == {root} and not _has_pictures(root):
            raise UserError(f"no images in {display(root)} itself, but {number} in {folders}; {advice}")
        yield f"{number} in {folders} {'is' if total == 1 else 'are'} left out: {advice}"


def _of_metadata(root: Path, names: Names) -> tuple[Part, ...]:
    """The folder itself, or if it has no images the subfolders of those that its metadata.jsonl names."""
    if not names.find(METADATA) or _has_pictures(root):
        return (Part(root),)
    table = read_captions(root, names)
    folders = sorted({posixpath.dirname(name) for name in (table.names if table else ())})
    inside = [folder for folder in folders if not folder.startswith("/") and ".." not in folder.split("/")]
    return tuple(Part(root / folder) for folder in inside) or (Part(root),)


def _of_kohya(root: Path, pictures: list[Path], classes: list[Path]) -> DataSet:
    parts = [_part(folder, False) for folder in pictures] + [_part(folder, True) for folder in classes]
    none = [part.folder.name for part in parts if part.repeats == 0]
    warnings = [f"{display(root / name)} is to be repeated 0 times; it is left out" for name in none]
    used = tuple(part for part in parts if part.repeats)
    if not any(not part.is_class for part in used):
        raise UserError(
            f"every folder of images in {display(root)} is to be repeated 0 times; rename one as 1_KEYWORD CLASS"
        )
    return DataSet(root, used, warnings=tuple(warnings))


def _part(folder: Path, is_class: bool) -> Part:
    match = NAMED.fullmatch(folder.name)
    assert match is not None
    keyword, class_word = split_tokens(match[2], is_class)
    return Part(folder, keyword, class_word, int(match[1]), is_class, CAPTIONS_OF_KOHYA)
