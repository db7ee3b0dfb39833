"""A set of pictures as the page shows it: what the check found, and over it what the person decided."""

from typing import Any

from limner.errors import UserError
from limner.preparation.choices import NO_MASK, NOTHING, Choice
from limner.studio.sets import PictureSet, number_of

UNKNOWN: dict[str, Any] = {
    "width": 0,
    "height": 0,
    "bytes": 0,
    "mark": "unknown",
    "findings": [],
    "kept": None,
    "why": "has not been looked at yet",
    "crop": None,
    "size": None,
    "lost": 0.0,
    "caption": "",
    "caption_from": "",
    "mask": "",
}


def listing(pictures: PictureSet, only: str | None = None) -> dict[str, Any]:
    """{pictures, checked, remarks, resolution, problem}: plain values, no places. only: the name of one picture.

    Of each picture `proposed` is what Limner would do, and the rest what will be done. problem: why the choices cannot
    be read, as after an edit by hand.
    """
    found = pictures.checked()
    known = {each["name"]: each for each in found.get("pictures", [])}
    problem, choices = "", dict[str, Choice]()
    try:
        choices = pictures.choices()
    except UserError as error:
        problem = str(error).replace(f"{pictures.choices_file}", pictures.choices_file.name)
    names = [only] if only is not None else [source.name for source in pictures.sources()]
    return {
        "pictures": [_shown(pictures, name, known.get(name, UNKNOWN), choices.get(name, NOTHING)) for name in names],
        "checked": found.get("time"),
        "asked": found.get("asked"),
        "remarks": found.get("remarks", []),
        "resolution": found.get("resolution"),
        "zips": len(list(pictures.zips.iterdir())) if pictures.zips.is_dir() else 0,
        "skipped": found.get("skipped", []),
        "problem": problem,
    }


def _shown(pictures: PictureSet, name: str, found: dict[str, Any], choice: Choice) -> dict[str, Any]:
    number = number_of(name)
    plain = UNKNOWN | found | {"name": name, "number": number}
    plain["proposed"] = {key: plain[key] for key in ("kept", "why", "crop", "caption", "caption_from", "mask")}
    plain["thumbnail"] = pictures.thumbnail(number).exists()
    plain["by_hand"] = list(choice.said)
    if plain["mark"] == "unusable":
        return plain
    if choice.keep is not None:
        plain["kept"], plain["why"] = choice.keep, "by hand"
    if choice.crop is not None:
        plain["crop"] = _shares(choice.crop, plain)
    if choice.caption is not None:
        plain["caption"], plain["caption_from"] = choice.caption, "by hand"
    if choice.mask is not None:
        drawn = choice.mask != NO_MASK and pictures.mask(number).exists()
        plain["mask"] = "by hand" if drawn else "" if choice.mask == NO_MASK else choice.mask.rsplit("/", 1)[-1]
    return plain


def _shares(crop: tuple[float, float, float, float], plain: dict[str, Any]) -> list[float]:
    """A crop in shares, which the file may say in pixels."""
    if max(crop) <= 1 or not plain["width"]:
        return [min(side, 1.0) for side in crop]
    sides = (plain["width"], plain["height"]) * 2
    return [min(side / whole, 1.0) for side, whole in zip(crop, sides, strict=True)]
