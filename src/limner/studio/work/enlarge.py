"""Finished pictures made larger, without a model: what the webui calls extras."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from PIL import Image

from limner.data.colour import to_srgb
from limner.data.decode import picture_at
from limner.errors import UserError
from limner.events import Prepared
from limner.infotext import picture_text, save_png
from limner.studio.inputs import input_path
from limner.studio.requests import EnlargeRequest
from limner.studio.work.task import Task
from limner.upscalers import NONE, enlarged

MULTIPLE = 8  # pixels, of which the sides are unless they are cut to a size, as in the webui
MOST_PIXELS = 1 << 26  # of what comes out
FOLDER = "pictures"  # of the job's


def perform(request: EnlargeRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """The pictures are in the job's folder, under the names of the result; "said": what was done. Raises UserError."""
    said = _said(request)
    names = []
    (task.folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(request.images, 1):
        path = input_path(task.places, name)
        image = _large(to_srgb(picture_at(path, f"picture {number}")), request)
        names.append(f"{number:05d}.png")
        save_png(image, _parameters(path), task.folder / FOLDER / names[-1], said)
        yield Prepared(number, len(request.images), "enlarging")
    return {"pictures": names, "said": said}


def _large(image: Image.Image, request: EnlargeRequest) -> Image.Image:
    """Enlarged, the second upscaler's picture laid over the first's. Without an upscaler it stays as it is."""
    if request.upscaler == NONE:
        return image
    whole, kept = sizes(request, image.size)
    if whole[0] * whole[1] > MOST_PIXELS:
        raise UserError(
            f"a picture of {image.width}x{image.height} pixels would become one of {whole[0]}x{whole[1]}, more than "
            f"{MOST_PIXELS:,} pixels; enlarge it less"
        )
    large = enlarged(image, whole, request.upscaler)
    if request.second_upscaler != NONE and request.share:
        large = Image.blend(large, enlarged(image, whole, request.second_upscaler), request.share)
    left, top = ((there - here) // 2 for there, here in zip(whole, kept, strict=True))
    return large if whole == kept else large.crop((left, top, left + kept[0], top + kept[1]))


def sizes(request: EnlargeRequest, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """What a picture of that size is enlarged to, and what of its middle is kept."""
    ratio = request.scale
    if request.width and request.height:
        ratio = max(request.width / size[0], request.height / size[1])
    width, height = (int(side * ratio) for side in size)
    if request.width and request.height and request.crop:
        return (max(width, request.width), max(height, request.height)), (request.width, request.height)
    whole = max(width // MULTIPLE, 1) * MULTIPLE, max(height // MULTIPLE, 1) * MULTIPLE
    return whole, whole


def _said(request: EnlargeRequest) -> str:
    """As the webui writes it into a picture."""
    if request.upscaler == NONE:
        return ""
    said = {"Postprocess upscale by": f"{request.scale:g}"}
    if request.width and request.height:
        size = f"{request.width}x{request.height}"
        said = {"Postprocess upscale to": size} | ({"Postprocess crop to": size} if request.crop else {})
    said["Postprocess upscaler"] = request.upscaler
    if request.second_upscaler != NONE and request.share:
        said["Postprocess upscaler 2"] = request.second_upscaler
    return ", ".join(f"{name}: {value}" for name, value in said.items())


def _parameters(path: Path) -> str:
    """How the picture was made, which the larger one tells as well; "" if it does not tell."""
    try:
        return picture_text(path) or ""
    except UserError:  # it is of a kind that tells nothing
        return ""
