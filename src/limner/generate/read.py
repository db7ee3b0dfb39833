"""Settings of `limner generate` as a request: the pictures that they name are opened."""

from limner.config import Drawing
from limner.data.decode import picture_at
from limner.errors import UserError
from limner.generate.request import Hires, Init, Request

OF_THE_REQUEST = [name for name in Request.__dataclass_fields__ if name not in ("init", "hires")]


def read_request(drawing: Drawing) -> Request:
    """Raises UserError if a picture cannot be used."""
    values = {name: getattr(drawing, name) for name in OF_THE_REQUEST}
    if drawing.init_image is None:
        if drawing.mask is not None:
            raise UserError(f"the mask {drawing.mask} has no picture to lie on; give one with --init-image")
        return Request(**values, hires=_hires(drawing))
    init = Init(
        images=(picture_at(drawing.init_image),),
        strength=drawing.strength,
        resize=drawing.resize,
        mask=None if drawing.mask is None else picture_at(drawing.mask),
        mask_invert=drawing.mask_invert,
        mask_blur=drawing.mask_blur,
        fill=drawing.mask_fill,
        only_masked=drawing.only_masked,
        padding=drawing.mask_padding,
    )
    return Request(**values, init=init, hires=_hires(drawing))


def _hires(drawing: Drawing) -> Hires | None:
    values = {name: getattr(drawing, f"hires_{name}") for name in Hires.__dataclass_fields__}
    if values["scale"] is None and not values["width"] and not values["height"]:
        fields = Drawing.model_fields
        others = [name for name in values if getattr(drawing, f"hires_{name}") != fields[f"hires_{name}"].default]
        if others:
            raise UserError(f"hires_{others[0]} has no second pass to be of; give one with --hires-scale, as in 2")
        return None
    return Hires(**{name: value for name, value in values.items() if value is not None})
