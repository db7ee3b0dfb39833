"""What a folder of pictures is laid out as: pictures themselves, or kohya's subfolders such as "10_zvq dog"."""

import re
from pathlib import Path, PurePosixPath

from limner.data.dataset import DataSet, Part, split_tokens
from limner.data.dataset_toml import read_dataset_toml
from limner.data.folder import CAPTIONS_OF_KOHYA, SUFFIXES
from limner.data.metadata import METADATA, read_captions
from limner.errors import UserError

NAMED = re.compile(r"(\d+)_(.*)")
# The folders of a project of kohya's GUI: pictures, and pictures of the class.
PICTURES, CLASS_PICTURES = ("img", "image"), ("reg",)
DATASET = "dataset.toml"  # the data-set file by which a folder is known for one that is prepared


def find_dataset(images: Path) -> DataSet:
    """The data set at a path: a folder of pictures, one of kohya's or `datasets`', a data-set file of sd-scripts, or
    a folder with dataset.toml in it.

    Folders are listed, not opened; one that is missing is left for who opens it to say. Raises UserError.
    """
    if images.suffix.lower() == ".toml" and not images.is_dir():
        return read_dataset_toml(images)
    if (images / DATASET).is_file():
        return read_dataset_toml(images / DATASET)
    named = _named(images)
    if not named:
        project = [folder for name in PICTURES for folder in _named(images / name)]
        classes = [folder for name in CLASS_PICTURES for folder in _named(images / name)]
        return _of_kohya(images, project, classes) if project else DataSet(images, _of_metadata(images))
    if _has_pictures(images):
        names = ", ".join(folder.name for folder in named[:3])
        warning = f"{images} holds pictures itself, so its subfolders ({names}) are left out; give one kind alone"
        return DataSet(images, (Part(images),), warnings=(warning,))
    return _of_kohya(images, named, [])


def _named(folder: Path) -> list[Path]:
    """Subfolders with kohya's names, in order."""
    try:
        return sorted(path for path in folder.iterdir() if NAMED.fullmatch(path.name) and path.is_dir())
    except OSError:
        return []


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir())


def _of_metadata(root: Path) -> tuple[Part, ...]:
    """The folder itself, or if it has no pictures the subfolders of those that its metadata.jsonl names."""
    if not (root / METADATA).is_file() or _has_pictures(root):
        return (Part(root),)
    folders = sorted({PurePosixPath(name).parent for name in read_captions(root)})
    inside = [folder for folder in folders if not folder.is_absolute() and ".." not in folder.parts]
    return tuple(Part(root / folder) for folder in inside) or (Part(root),)


def _of_kohya(root: Path, pictures: list[Path], classes: list[Path]) -> DataSet:
    parts = [_part(folder, False) for folder in pictures] + [_part(folder, True) for folder in classes]
    none = [part.folder.name for part in parts if part.repeats == 0]
    warnings = tuple(f"{root / name} is to be repeated 0 times; it is left out" for name in none)
    used = tuple(part for part in parts if part.repeats)
    if not any(not part.is_class for part in used):
        raise UserError(f"every folder of pictures in {root} is to be repeated 0 times; rename one as 1_KEYWORD CLASS")
    return DataSet(root, used, warnings=warnings)


def _part(folder: Path, is_class: bool) -> Part:
    match = NAMED.fullmatch(folder.name)
    assert match is not None
    keyword, class_word = split_tokens(match[2], is_class)
    return Part(folder, keyword, class_word, int(match[1]), is_class, CAPTIONS_OF_KOHYA)
