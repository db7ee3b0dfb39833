"""The data-set files of kohya's sd-scripts: [general], [[datasets]], [[datasets.subsets]], inner values first.

Names and meanings as sd-scripts documents them. What Limner does otherwise is named in a warning; a name that
neither of them knows, and a value of the wrong kind, is an error.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from limner.config import nearest, read_toml
from limner.data.buckets import buckets, usual_step
from limner.data.caption import Tags
from limner.data.dataset import DataSet, Part, split_tokens
from limner.data.listing import CAPTIONS_OF_KOHYA
from limner.errors import UserError

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _side(value: Any) -> bool:
    sides = value if isinstance(value, list) else [value, value]
    return len(sides) == 2 and all(_count(side) and side > 0 for side in sides)


# What Limner takes over, with the kind of value; and what a person is told that this should be.
SUBSET: dict[str, Check] = {
    "num_repeats": _count,
    "shuffle_caption": _switch,
    "keep_tokens": _count,
    "caption_separator": _text,
    "caption_prefix": _text,
    "caption_suffix": _text,
    "caption_extension": _text,
    "caption_dropout_rate": _share,
    "caption_tag_dropout_rate": _share,
    "class_tokens": _text,
    "flip_aug": _switch,
    "random_crop": _switch,
    "alpha_mask": _switch,
    "conditioning_data_dir": _text,
}
OWN: dict[str, Check] = {"image_dir": _text, "is_reg": _switch}
DATASET: dict[str, Check] = {"resolution": _side, "batch_size": _count}
KINDS: dict[Check, str] = {
    _text: "text in quotes", _switch: "true or false", _count: "a whole number", _share: "a number from 0 to 1",
    _side: "a number of pixels, or two of them in brackets",
}  # fmt: skip

# What Limner does in its own way, or not at all.
OTHERWISE = {
    "color_aug", "face_crop_aug_range", "keep_tokens_separator", "secondary_separator", "enable_wildcard",
    "caption_dropout_every_n_epochs", "token_warmup_min", "token_warmup_step", "cache_info", "enable_bucket",
    "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale", "network_multiplier",
    "resize_interpolation", "skip_image_resolution", "custom_attributes", "validation_split", "validation_seed",
}  # fmt: skip
HARMLESS = {"enable_bucket": True, "cache_info": True, "token_warmup_min": 1, "network_multiplier": 1}


def read_dataset_toml(path: Path) -> DataSet:
    """The data set of a file; paths in it are relative to its folder. Raises UserError."""
    values = read_toml(path)
    if "metadata_file" in _names(values):
        raise UserError(f"{path} names a metadata_file, which Limner does not read; use image_dir with caption files")
    _check_names(path, "the file", values, {"general", "datasets"})
    general = _table(path, "[general]", values.get("general", {}), SUBSET | DATASET, {})
    warned = _passed_over(general) - _shapes(general)
    parts: list[Part] = []
    sets: list[dict[str, Any]] = []
    for number, held in enumerate(_list(path, "datasets", values.get("datasets", [])), 1):
        where = f"[[datasets]] {number}"
        dataset = _table(path, where, held, SUBSET | DATASET, {"subsets": list})
        warned |= _passed_over(dataset) - _shapes(general | dataset)
        sets.append(general | dataset)
        for index, inner in enumerate(_list(path, f"subsets of {where}", dataset.get("subsets", [])), 1):
            subset = _table(path, f"{where}, subset {index}", inner, SUBSET | OWN, {})
            warned |= _passed_over(subset)
            if "image_dir" not in subset:
                raise UserError(f"{path}: {where}, subset {index} has no image_dir; give the folder of its pictures")
            parts.append(_part(path, general | dataset | subset))
    none = [part.folder for part in parts if part.repeats == 0]
    used = tuple(part for part in parts if part.repeats)
    if not any(not part.is_class for part in used):
        raise UserError(f"{path} names no pictures to learn from; give an image_dir in [[datasets.subsets]]")
    warnings = [f"{path}: {folder} is to be repeated 0 times; it is left out" for folder in none]
    if warned:
        warnings.append(f"{path}: Limner does this in its own way or not at all: {', '.join(sorted(warned))}")
    resolutions = {_one_side(path, each["resolution"]) for each in sets if "resolution" in each}
    batch_sizes = {each["batch_size"] for each in sets if each.get("batch_size")}
    return DataSet(
        path,
        used,
        _only(path, "resolution", resolutions),
        _only(path, "batch_size", batch_sizes),
        tuple(warnings),
    )


def _part(path: Path, values: Mapping[str, Any]) -> Part:
    is_class = values.get("is_reg", False)
    keyword, class_word = split_tokens(values.get("class_tokens", ""), is_class)
    separator = values.get("caption_separator", ",")
    if separator.strip() != ",":
        raise UserError(f"{path}: caption_separator = {separator!r} will not do; Limner's captions are split at commas")
    shuffle, tag_dropout = values.get("shuffle_caption"), values.get("caption_tag_dropout_rate")
    tags = None
    if shuffle is not None or tag_dropout is not None:
        tags = Tags(bool(shuffle), values.get("keep_tokens", 0), tag_dropout or 0.0)
    masks = values.get("conditioning_data_dir")
    extension = values.get("caption_extension")
    return Part(
        folder=_beside(path, values["image_dir"]),
        keyword=keyword,
        class_word=class_word,
        repeats=values.get("num_repeats", 1),
        is_class=is_class,
        captions=CAPTIONS_OF_KOHYA if extension is None else (f".{extension.removeprefix('.')}",),
        prefix=values.get("caption_prefix", ""),
        suffix=values.get("caption_suffix", ""),
        tags=tags,
        dropout=values.get("caption_dropout_rate"),
        crops=0 if values.get("random_crop") is False else None,
        mirror=values.get("flip_aug"),
        masks=None if masks is None else _beside(path, masks),
        alpha_masks=values.get("alpha_mask"),
    )


def _beside(path: Path, text: str) -> Path:
    return path.parent / Path(text).expanduser()


def _table(path: Path, where: str, values: Any, known: Mapping[str, Check], others: Mapping[str, type]) -> dict:
    """A table whose names are known and whose values are of their kinds. Raises UserError."""
    if not isinstance(values, dict):
        raise UserError(f"{path}: {where} is no table; write its settings below it, one a line")
    _check_names(path, where, values, {*known, *others, *OTHERWISE})
    for name, check in known.items():
        if name in values and not check(values[name]):
            raise UserError(f"{path}: {name} = {values[name]!r} in {where} will not do; write {KINDS[check]}")
    return values


def _check_names(path: Path, where: str, values: Mapping[str, Any], known: set[str]) -> None:
    for name in values:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else "remove it"
            raise UserError(f"{path}: unknown setting {name!r} in {where}; {hint}")


def _list(path: Path, what: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise UserError(f"{path} has no {what}; a data-set file has [[datasets]], and [[datasets.subsets]] in each")
    return values


def _passed_over(values: Mapping[str, Any]) -> set[str]:
    """The names in a table that Limner does not follow, unless they ask for nothing."""
    return {name for name, value in values.items() if name in OTHERWISE and _asks(name, value)}


def _shapes(values: Mapping[str, Any]) -> set[str]:
    """The names of settings of buckets that ask for what Limner does by itself at that resolution."""
    side = values.get("resolution")
    if not isinstance(side, int):
        return set()
    try:
        sides = [each for size in buckets(side) for each in size]
    except UserError:
        return set()
    ours = {"min_bucket_reso": min(sides), "max_bucket_reso": max(sides), "bucket_reso_steps": usual_step(side)}
    return {name for name, value in ours.items() if values.get(name) == value}


def _asks(name: str, value: Any) -> bool:
    return value != HARMLESS[name] if name in HARMLESS else value not in (False, 0, None, "")


def _names(values: Any) -> set[str]:
    """All names in nested tables and lists."""
    if isinstance(values, list):
        return {name for each in values for name in _names(each)}
    if isinstance(values, dict):
        return {*values, *(name for each in values.values() for name in _names(each))}
    return set()


def _one_side(path: Path, value: int | list[int]) -> int:
    if isinstance(value, int):
        return value
    if value[0] != value[1]:
        raise UserError(
            f"{path}: resolution = {value} will not do; give one side, as Limner finds the shapes by itself"
        )
    return value[0]


def _only(path: Path, name: str, found: set[int]) -> int | None:
    """The only value of a setting of a whole run; None where there is none. Raises UserError for several."""
    if len(found) > 1:
        values = " and ".join(str(each) for each in sorted(found))
        raise UserError(f"{path} has data sets of {name} {values}, and a run has one; make them the same")
    return next(iter(found), None)
