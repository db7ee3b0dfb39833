"""Some pictures are put aside before any training, so that they can judge all methods alike."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from limner.data.dataset import DataSet, Part
from limner.data.folder import ImageFolder, Picture, load_folder
from limner.data.layout import left_below
from limner.errors import UserError
from limner.files import write_text
from limner.inventory import named
from limner.texts import display

JUDGING_SHARE = 0.2
FEWEST, FEWEST_JUDGES, MOST_JUDGES = 4, 2, 50  # pictures
T = TypeVar("T")

RECORD = "split.json"
MARK = ".limner-compare"  # a file by which a comparison knows its folder again


def split(images: Path, out: Path, seed: int) -> tuple[ImageFolder, ImageFolder]:
    """Copies of a folder's pictures, with their captions, in OUT/training and OUT/judging; those that were split by an
    earlier call are taken as they are. Pictures with the same bytes stay together.

    Raises UserError for too few pictures, or if the folder is not the one that OUT was begun with.
    """
    found = load_folder(images)
    record = {"seed": seed, "sha256": sorted(picture.sha256 for picture in found.pictures)}
    training, judging = out / "training", out / "judging"
    if (out / RECORD).exists():
        if read_note(out / RECORD, dict) != record:
            raise UserError(
                f"{out} was begun with other pictures than {images} holds now, or another seed; give another --out"
            )
        return replace(load_folder(training), remarks=_remarks(found)), load_folder(judging)
    groups = _same_bytes(found.pictures)
    if len(groups) < FEWEST:
        raise UserError(
            f"comparing needs at least {FEWEST} different pictures, as some judge instead of teach; "
            f"{images} has {len(groups)} that can be used"
        )
    count = min(max(FEWEST_JUDGES, round(JUDGING_SHARE * len(groups))), MOST_JUDGES)
    chosen = set(random.Random(seed).sample(sorted(groups), count))
    write_text(out / MARK, "limner compare writes here.\n", "--out")
    for folder in (training, judging):
        shutil.rmtree(folder, ignore_errors=True)  # of a split that was interrupted
        folder.mkdir(parents=True)
    for digest, pictures in groups.items():
        for picture in pictures[:1] if digest in chosen else pictures:
            _copy(picture, judging if digest in chosen else training)
    write_text(out / RECORD, json.dumps(record) + "\n")
    return replace(load_folder(training), remarks=_remarks(found)), load_folder(judging)


def _remarks(found: ImageFolder) -> list[str]:
    """Sentences on what of a folder is not compared with."""
    said = [f"{display(each.path)} {each.reason}; it is left out" for each in found.skipped]
    masked = [each.path.name for each in found.pictures if each.mask is not None]
    if masked:
        said.append(
            f"a comparison does not use masks; there {'is one' if len(masked) == 1 else f'are {len(masked)}'} "
            f"({named(masked)})"
        )
    below = left_below(DataSet(found.folder, (Part(found.folder),)))
    return [*said, *found.remarks, *below]


def read_note(path: Path, kind: type[T]) -> T:
    """What a comparison noted in its folder. Raises UserError if it is damaged."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(_damaged(path)) from error
    if not isinstance(held, kind):
        raise UserError(_damaged(path))
    return held


def _damaged(path: Path) -> str:
    return f"{path} is damaged; give the comparison a new folder with --out, or put the file back as it was"


def _same_bytes(pictures: list[Picture]) -> dict[str, list[Picture]]:
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.sha256, []).append(picture)
    return groups


def _copy(picture: Picture, folder: Path) -> None:
    shutil.copyfile(picture.path, folder / picture.path.name)
    if picture.caption is not None:
        (folder / picture.path.name).with_suffix(".txt").write_text(picture.caption + "\n", encoding="utf-8")
