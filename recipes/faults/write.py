"""A half of the set written: files under names that tell nothing, and truth.json."""

import io
import itertools
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image

from recipes.faults import pictures, rng_of, sources, spoil
from recipes.faults.edits import EDITS, Made, encode
from recipes.faults.pictures import PORTRAITS, TRUE, Base
from recipes.faults.plan import COPIES, FAULTS, SEVERAL_FACES

TRUTH = "truth.json"
LINES = 6  # drawings in lines


@dataclass
class Truth:
    """What is true of a file. shows: the picture. kind: of a clean picture its case; else "duplicate" or "fault".

    planted: a name of plan.FAULTS or edits.EDITS. found: findings that find it; allowed: findings that are no false
    accusation. hard: it may not be missed. original: of a duplicate, the file that it was made from. near: files with
    which it may be grouped or not: a person could say either.
    """

    file: str
    shows: str
    kind: str
    planted: str = ""
    found: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    hard: bool = False
    original: str = ""
    near: tuple[str, ...] = field(default=())


def write(half: str, out: Path, seed: int) -> list[Truth]:
    """Replace the folder of a half by a new one. The same packages and seed give the same files."""
    clean, spare = _bases(half, seed)
    made: list[tuple[Truth, Made]] = []
    for base in clean:
        made.append((Truth("", base.name, base.kind, allowed=(*base.allowed, *_small(base.image))), _stored(base)))
    made += _copies(clean, {truth.shows: data for truth, data in made}, seed)
    made += _spoilt(spare, seed)
    made += _faces([base for base in clean if base.name in PORTRAITS], seed)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    order = rng_of(seed, f"order {half}").permutation(len(made))
    for number, at in enumerate(order, 1):
        truth, (ending, data) = made[at]
        truth.file = f"{number:04}{ending}"
        (out / truth.file).write_bytes(data)
    truths = sorted((truth for truth, _ in made), key=lambda truth: truth.file)
    _name(truths)
    packages = [asdict(package) for package in sources.packages()]
    text = json.dumps(
        {"half": half, "seed": seed, "packages": packages, "pictures": [asdict(t) for t in truths]}, indent=1
    )
    (out / TRUTH).write_text(text + "\n", encoding="utf-8")
    return truths


def _bases(half: str, seed: int) -> tuple[list[Base], list[Base]]:
    """The pictures that stay clean, and those that get a fault, of which no clean one shows the same."""
    photos = list(pictures.photographs(half))
    backgrounds = [base for base in photos if base.name not in (*PORTRAITS, *TRUE)]
    photos = [base for base in photos if base.kind != "behind"]
    objects = list(pictures.objects(half, seed, backgrounds))
    needed = sum(fault.count for fault in FAULTS.values())
    free = [base for base in (*photos, *objects) if base.kind in ("piece", "scene", "studio") and not base.allowed]
    order = rng_of(seed, f"spare {half}").permutation(len(free))
    spare = [free[at] for at in order[:needed]]
    if len(spare) < needed:
        raise SystemExit(f"{needed} pictures are to be spoilt, and there are {len(spare)}; add sources")
    taken = {base.name for base in spare}
    lines = list(pictures.line_art([base for base in photos if not base.allowed]))[::4][:LINES]
    clean = [base for base in (*photos, *objects) if base.name not in taken]
    return [*clean, *pictures.icons(half, seed), *lines], spare


def _small(image: Image.Image) -> tuple[str, ...]:
    """What may be said of a picture's size, for a base of 512 pixels."""
    return ("small", "too_small", "long") if min(image.size) < 512 else ()


def _stored(base: Base) -> Made:
    return encode(base.image, ".png" if base.kind in ("icon", "small icon", "lines") else ".jpg")


def _copies(clean: list[Base], stored: dict[str, Made], seed: int) -> list[tuple[Truth, Made]]:
    """COPIES of each edit, of different originals, all kinds by turns; they are made from the originals' files."""
    order = rng_of(seed, "copied").permutation(len(clean))
    originals = itertools.cycle([clean[at] for at in order if clean[at].name not in PORTRAITS])
    made = []
    for name, edit in EDITS.items():
        for number in range(COPIES):
            base = next(originals)
            ending, data = stored[base.name]
            copy = (ending, data)
            if name != "exact":
                copy = edit(Image.open(io.BytesIO(data)).convert("RGB"), rng_of(seed, f"{name} {number}"))
            made.append((Truth("", base.name, "duplicate", name, allowed=base.allowed, original=base.name), copy))
    return made


def _spoilt(spare: list[Base], seed: int) -> list[tuple[Truth, Made]]:
    made = []
    bases = iter(spare)
    for name, fault in FAULTS.items():
        for number in range(fault.count):
            base = next(bases)
            data = fault.make(base.image, rng_of(seed, f"{name} {number}"))
            made.append((Truth("", base.name, "fault", name, fault.found, hard=fault.hard), data))
    return made


def _faces(portraits: list[Base], seed: int) -> list[tuple[Truth, Made]]:
    """Two persons in one picture; it may be grouped with the portraits that it is made of."""
    names = tuple(base.name for base in portraits)
    images = [base.image for base in portraits]
    made = []
    for order in (images, images[::-1]):
        truth = Truth("", " and ".join(names), "fault", SEVERAL_FACES, (SEVERAL_FACES.replace(" ", "_"),), near=names)
        made.append((truth, encode(spoil.beside(order))))
    made[1][0].near += (made[0][0].shows,)
    return made


def _name(truths: list[Truth]) -> None:
    """Names of pictures in `original` and `near` become names of files."""
    files: dict[str, list[str]] = {}
    for truth in truths:
        if truth.kind != "duplicate":
            files.setdefault(truth.shows, []).append(truth.file)
    pair = ("motorcycle_left.png", "motorcycle_right.png")
    for truth in truths:
        truth.original = files[truth.original][0] if truth.original else ""
        near = (*truth.near, *(pair if truth.shows in pair else ()))
        truth.near = tuple(sorted({file for name in near for file in files[name]} - {truth.file}))
