"""Pictures that a base draws of a class, once: they stay in the cache, for training and prepared data sets alike."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from limner.base.model import BaseModel
from limner.data.decode import Unusable, check, read
from limner.data.folder import Picture
from limner.errors import UserError
from limner.evaluate.pictures import SMALL, TOGETHER
from limner.generate import MIN_SIDE, Request, generate
from limner.infotext import save_png

Size = tuple[int, int]  # width and height, in pixels
AT_ONCE = 4  # large pictures drawn together


def class_request(model: BaseModel, prompt: str, size: Size, resolution: int, clip_skip: int = 1) -> Request:
    """Pictures in the shape of a size that is meant for a resolution, of as many pixels as the base draws best."""
    scale = model.resolution / resolution / model.factor
    width, height = (max(round(side * scale) * model.factor, MIN_SIDE) for side in size)
    return Request(prompt, width=width, height=height, clip_skip=clip_skip)


def shares(sizes: list[Size], count: int) -> list[Size]:
    """A size for each of `count` pictures: each in its share, and if need be more to have them all."""
    different = list(dict.fromkeys(sizes))
    rest = max(0, count - len(different))
    return different + [sizes[index * len(sizes) // rest] for index in range(rest)]


def drawn(model: BaseModel, request: Request, seed: int, cache: Path) -> Iterator[list[Picture]]:
    """The pictures of a request from a seed on, without end, in the groups that are drawn together; SEED.png each.

    Those of earlier times are taken again, if they are whole. Raises UserError.
    """
    folder = cache / "class" / _key(model, request, seed)
    # always the same ones together, so that what goes on draws what it would have drawn
    at_once = TOGETHER if model.resolution <= SMALL else AT_ONCE
    while True:
        names = [f"{each}.png" for each in range(seed, seed + at_once)]
        have = _have(folder, names)
        if have is None:
            _draw(model, request, range(seed, seed + at_once), folder)
            have = _have(folder, names)
        if have is None:
            raise UserError(f"cannot read the pictures that were just written to {folder}; is the disk full?")
        yield have
        seed += at_once


def _key(model: BaseModel, request: Request, seed: int) -> str:
    """The name of the folder for the pictures of a request, whose seeds begin at `seed`: all that they depend on."""
    said = asdict(replace(request, seed=seed))
    said |= {"base": model.fingerprint, "dtype": str(model.dtype), "device": model.device.type}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def _have(folder: Path, names: list[str]) -> list[Picture] | None:
    """The pictures of these names, None unless all are there and whole."""
    found = []
    for name in names:
        try:
            data = read(folder / name)
            found.append(Picture(folder / name, hashlib.sha256(data).hexdigest(), *check(data)))
        except Unusable:
            return None
    return found


def _draw(model: BaseModel, request: Request, seeds: range, folder: Path) -> None:
    whole = replace(request, seed=seeds.start, count=len(seeds), batch_size=len(seeds))
    for picture in generate(model, whole):
        save_png(picture.image, picture.infotext, folder / f"{picture.seed}.png")
