"""Masks: which part of a picture counts, by an image beside it, in a folder of masks, or by its own alpha channel."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from limner.data.colour import eight_bits
from limner.data.decode import Unusable, check, decode, read, read_again
from limner.data.names import name_key, stem_of
from limner.texts import display

FOLDER = "masks"  # below the pictures, where there is one
FAINTEST = 1  # of 255; a mask of zeros and ones looks black to everybody
# cat.mask.png beside cat.jpg; cat-masklabel.png is what OneTrainer writes.
ENDINGS = (".mask", "-masklabel")


@dataclass(frozen=True)
class Mask:
    """White counts, black does not. path: of the mask's image, or, if `is_alpha`, of the picture itself."""

    path: Path
    sha256: str
    is_alpha: bool = False

    def open(self) -> Image.Image:
        """Mode "L", in the picture's size. Raises UserError if the file is not the one that was checked."""
        return _grey(decode(read_again(self.path, self.sha256)), self.is_alpha)


def picture_of(stem: str) -> str | None:
    """The stem of the picture whose mask a file of this stem is; None for any other file."""
    return next((stem[: -len(each)] for each in ENDINGS if stem.lower().endswith(each) and len(stem) > len(each)), None)


class MaskNames:
    """The files among some images that are masks by their names, found by the stems of their images.

    in_folder_of_masks: whether they may have their images' own names too.
    """

    def __init__(self, names: Iterable[str], in_folder_of_masks: bool) -> None:
        self._alike: dict[str, list[tuple[str, str]]] = {}
        for name in sorted(names):
            stem = picture_of(stem_of(name)) or (stem_of(name) if in_folder_of_masks else None)
            if stem is not None:
                self._alike.setdefault(name_key(stem), []).append((stem, name))

    def of(self, image: str, images: Collection[str] = ()) -> str | None:
        """The mask of an image, whatever the case of its name, but not one that is to the letter another image's.

        images: the stems of all.
        """
        stem = stem_of(image)
        found = self._alike.get(name_key(stem), [])
        exact = next((name for owner, name in found if owner == stem), None)
        return exact or next((name for owner, name in found if owner not in images), None)


def load_mask(path: Path, size: tuple[int, int]) -> Mask:
    """The mask of a picture of that width and height. Raises Unusable, in the name of the picture."""
    try:
        data = read(path)
    except Unusable as problem:
        raise Unusable(f"has a mask {display(path.name)} that {problem}") from problem
    open_mask(path.name, data, size)
    return Mask(path, hashlib.sha256(data).hexdigest())


def open_mask(name: str, data: bytes, size: tuple[int, int]) -> Image.Image:
    """Mode "L" of the file `name` that is the mask of a picture of that width and height.

    Raises Unusable, in the name of the picture.
    """
    try:
        found = check(data)
    except Unusable as problem:
        raise Unusable(f"has a mask {display(name)} that {problem}") from problem
    if found != size:
        sides = f"{found[0]}x{found[1]}", f"{size[0]}x{size[1]}"
        raise Unusable(f"has a mask {display(name)} of {sides[0]} pixels, but is {sides[1]} itself; make them the same")
    grey = _grey(decode(data), False)
    if _range(grey)[1] <= FAINTEST:
        raise Unusable(f"has a mask {display(name)} that is all black, so nothing would count; paint the subject white")
    return grey


def alpha_mask(path: Path, data: bytes, sha256: str) -> Mask | None:
    """The mask in a picture's own alpha channel; None if nothing is transparent. Raises Unusable if everything is."""
    return None if alpha_of(decode(data)) is None else Mask(path, sha256, is_alpha=True)


def alpha_of(image: Image.Image) -> Image.Image | None:
    """A picture's alpha channel as mode "L"; None if nothing is transparent. Raises Unusable if everything is."""
    if not image.has_transparency_data:
        return None
    alpha = _grey(image, True)
    low, high = _range(alpha)
    if high == 0:
        raise Unusable("is all transparent, so nothing would count")
    return alpha if low < 255 else None


def _grey(image: Image.Image, is_alpha: bool) -> Image.Image:
    """The alpha channel, or the image in grey, on black where it is transparent."""
    if is_alpha:
        return image.convert("RGBA").getchannel("A")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        black = Image.new("RGBA", whole.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, whole)
    return eight_bits(image).convert("L")


def _range(grey: Image.Image) -> tuple[int, int]:
    """The darkest and the brightest value, 0..255."""
    levels = np.asarray(grey)
    return int(levels.min()), int(levels.max())
