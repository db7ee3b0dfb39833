"""What a prepared folder looks like: names of its files, and the files by which other programs know the data set.

sd-scripts reads dataset.toml, OneTrainer the folder of pictures with a .txt beside each, `datasets` (and with it
diffusers' scripts) that folder's metadata.jsonl. Where they are at odds:

- Every .png in a folder that sd-scripts is given is a picture to it, so masks lie in a folder of their own, under the
  pictures' names; OneTrainer knows a mask only as NAME-masklabel.png beside its picture. One of the two must be chosen.
- sd-scripts takes masks from conditioning_data_dir only with --masked_loss, refuses the setting without it, and with it
  refuses class_tokens and is_reg; so that stands in a file of its own, dataset-masked.toml.
- sd-scripts looks for image_dir from the working directory, Limner from the file; a relative path serves both, if
  sd-scripts is started in the folder, and survives that the folder is moved.
- An empty caption file stops sd-scripts, so that none is written.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from limner.data.buckets import usual_step
from limner.preparation.choices import quoted

IMAGES, MASKS, CLASS = "images", "images/masks", "class"
DATASET, MASKED = "dataset.toml", "dataset-masked.toml"
METADATA = f"{IMAGES}/metadata.jsonl"
DECISIONS, PAGE = "decisions.jsonl", "index.html"
STATE = ".limner"
BEFORE = f"{STATE}/before"
SUFFIX = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
LONGEST_STEM = 48  # characters of a source's name that are kept
MASK_OF_ONETRAINER = "-masklabel"


@dataclass(frozen=True)
class Names:
    """What the files of one picture are called, from the data set's folder, with slashes."""

    image: str
    caption: str
    mask: str
    before: str


def names_of(number: int, source: str, format: str, masks_beside: bool) -> Names:
    """The names for the picture of that number, which its number alone makes unique."""
    stem = f"{number:04d}-{clean(PurePosixPath(source).stem)}".rstrip("-")
    mask = f"{IMAGES}/{stem}{MASK_OF_ONETRAINER}.png" if masks_beside else f"{MASKS}/{stem}.png"
    return Names(f"{IMAGES}/{stem}{SUFFIX[format]}", f"{IMAGES}/{stem}.txt", mask, before_of(number))


def before_of(number: int) -> str:
    """Where the small copy of an original is, for the page."""
    return f"{BEFORE}/{number:04d}.jpg"


def clean(stem: str) -> str:
    """A name that every system and program takes: letters and digits of ASCII, joined by single hyphens."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    joined = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:LONGEST_STEM].strip("-")
    # The endings by which masks and the like are known must not end the name of a picture.
    return re.sub(r"(?i)-?(mask|masklabel|condlabel)$", "", joined)


@dataclass(frozen=True)
class Layout:
    """What dataset.toml says. sizes: the buckets. masks and class_images: whether there are any."""

    keyword: str
    class_word: str
    repeats: int
    resolution: int
    sizes: Sequence[tuple[int, int]]
    step: int | None
    masks: bool = False
    class_images: bool = False


def dataset_toml(layout: Layout) -> str:
    """The data-set file of the folder, for Limner and sd-scripts."""
    subset = {"image_dir": IMAGES, "caption_extension": ".txt", "num_repeats": layout.repeats}
    tokens = f"{layout.keyword} {layout.class_word}".strip()
    if layout.keyword and " " not in layout.keyword:  # the first word is taken for the keyword
        subset["class_tokens"] = tokens
    parts = [*_head(layout), *_table("datasets.subsets", subset)]
    if layout.class_images:
        of_class = {"image_dir": CLASS, "caption_extension": ".txt", "num_repeats": 1, "is_reg": True}
        parts += _table("datasets.subsets", of_class | {"class_tokens": layout.class_word})
    return "\n".join(parts)


def masked_toml(layout: Layout) -> str:
    """The same pictures with their masks, for sd-scripts with --masked_loss."""
    subset = {"image_dir": IMAGES, "conditioning_data_dir": MASKS, "caption_extension": ".txt"}
    return "\n".join([*_head(layout), *_table("datasets.subsets", subset | {"num_repeats": layout.repeats})])


def _head(layout: Layout) -> list[str]:
    """The file's beginning: shapes that hold every picture as it is, so that no trainer crops it again."""
    step = layout.step or usual_step(layout.resolution)
    sides = [side for size in layout.sizes for side in size]
    dataset: dict[str, object] = {
        "resolution": layout.resolution,
        "enable_bucket": True,
        "min_bucket_reso": min(sides),
        "max_bucket_reso": max(sides),
        "bucket_reso_steps": step,
    }
    comment = [
        "# A data set that limner prepare wrote. With Limner: limner train FOLDER --base MODEL",
        "# With sd-scripts, started in this folder: --dataset_config " + "dataset.toml",
    ]
    return [*comment, *_table("datasets", dataset)]


def _table(name: str, values: dict[str, object]) -> list[str]:
    return ["", f"[[{name}]]", *(f"{key} = {_value(value)}" for key, value in values.items()), ""]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)


def shares(counts: Iterable[tuple[int, int]]) -> str:
    """Buckets in words, the most used first: "512x512 (12), 448x576 (3)"."""
    found: dict[tuple[int, int], int] = {}
    for size in counts:
        found[size] = found.get(size, 0) + 1
    return ", ".join(f"{w}x{h} ({n})" for (w, h), n in sorted(found.items(), key=lambda item: (-item[1], item[0])))
