"""Settings of `limner generate` as a request: the pictures that they name are opened."""

from pathlib import Path

from PIL import Image

from limner.config import Drawing
from limner.data.decode import Unusable, decode, problems, read
from limner.errors import UserError
from limner.generate.request import Init, Request

OF_THE_REQUEST = [name for name in Request.__dataclass_fields__ if name != "init"]


def read_request(drawing: Drawing) -> Request:
    """Raises UserError if a picture cannot be used."""
    values = {name: getattr(drawing, name) for name in OF_THE_REQUEST}
    if drawing.init_image is None:
        if drawing.mask is not None:
            raise UserError(f"the mask {drawing.mask} has no picture to lie on; give one with --init-image")
        return Request(**values)
    init = Init(
        images=(read_picture(drawing.init_image),),
        strength=drawing.strength,
        resize=drawing.resize,
        mask=None if drawing.mask is None else read_picture(drawing.mask),
        mask_invert=drawing.mask_invert,
        mask_blur=drawing.mask_blur,
        fill=drawing.mask_fill,
        only_masked=drawing.only_masked,
        padding=drawing.mask_padding,
    )
    return Request(**values, init=init)


def read_picture(path: Path, name: str = "") -> Image.Image:
    """A picture's pixels, upright. name: what to call it instead of by its path. Raises UserError."""
    try:
        with problems():
            return decode(read(path))
    except Unusable as problem:
        raise UserError(f"{name or path} {problem}") from problem
