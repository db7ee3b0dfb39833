"""Faces, by the detectors that come with OpenCV, or by its YuNet where its weights are given."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from limner.errors import UserError
from limner.vision.pixels import Pixels, fitted, grey_of
from limner.vision.region import Region

SIDE = 240  # pixels of a square as large as the picture in which cascades look: their time grows with its area
SMALLEST = 24  # pixels of these, a tenth of the side: smaller faces are not found
STEP = 1.12  # from one size looked for to the next
STEP_SIDEWAYS, SMALLEST_SIDEWAYS = 1.25, 30  # of faces from the side, which are looked for twice
SIDE_OF_YUNET = 640
NEIGHBOURS = 4  # places around a face that must say so too
AROUND = 0.4  # of a face's side, looked at around it to confirm it
CONFIRMED_AT = 96  # pixels of a face when it is confirmed
SAME = 0.3  # overlap, of the union, from which two finds are one face
SURE = 0.75  # of YuNet's score


@dataclass(frozen=True)
class Faces:
    """Finds faces. model: YuNet's .onnx (MIT; OpenCV's zoo); without it Haar cascades (Viola and Jones 2001), from the
    front and from both sides, each find confirmed by a second cascade or by eyes. It can be pickled."""

    model: Path | None = None

    @property
    def name(self) -> str:
        """What finds them: the model's digest, or "cascades". Raises UserError if the model cannot be used."""
        if self.model is None:
            return "cascades"
        _yunet(self.model)
        return hashlib.sha256(self.model.read_bytes()).hexdigest()

    def __call__(self, rgb: Pixels) -> tuple[Region, ...]:
        """The faces of a picture, the largest first. Raises UserError if the model cannot be used."""
        aspect = max(rgb.shape[:2]) / min(rgb.shape[:2])
        rgb = fitted(rgb, round(SIDE * aspect**0.5) if self.model is None else SIDE_OF_YUNET)
        boxes = _by_cascades(rgb) if self.model is None else _by_yunet(rgb, self.model)
        high, wide = rgb.shape[:2]
        regions = [
            Region(max(0.0, x / wide), max(0.0, y / high), min(1.0, (x + w) / wide), min(1.0, (y + h) / high))
            for x, y, w, h in boxes
        ]
        return tuple(sorted(regions, key=lambda region: -region.area))


Box = tuple[float, float, float, float]  # left, top, width, height in pixels


def _by_yunet(rgb: Pixels, model: Path) -> list[Box]:
    detector = _yunet(model)
    detector.setInputSize((rgb.shape[1], rgb.shape[0]))
    _, found = detector.detect(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return [] if found is None else [(float(x), float(y), float(w), float(h)) for x, y, w, h in found[:, :4]]


@functools.cache
def _yunet(model: Path) -> Any:
    try:
        return cv2.FaceDetectorYN.create(str(model), "", (SIDE_OF_YUNET, SIDE_OF_YUNET), SURE)
    except cv2.error as error:
        raise UserError(f"{model} is no model of faces that OpenCV reads; give YuNet's .onnx file") from error


def _by_cascades(rgb: Pixels) -> list[Box]:
    grey = grey_of(rgb)
    boxes: list[Box] = [box for box in _find("frontalface_alt2", grey) if _confirmed(grey, box)]
    if boxes:
        return boxes
    wide = grey.shape[1]
    for mirrored in (False, True):
        for x, y, w, h in _find(
            "profileface", cv2.flip(grey, 1) if mirrored else grey, STEP_SIDEWAYS, SMALLEST_SIDEWAYS
        ):
            box = (wide - x - w, y, w, h) if mirrored else (x, y, w, h)
            if all(_overlap(box, other) < SAME for other in boxes) and _confirmed(grey, box):
                boxes.append(box)
    return boxes


def _find(cascade: str, grey: Pixels, step: float = STEP, smallest: int = SMALLEST) -> list[Box]:
    found = _cascade(cascade).detectMultiScale(grey, step, NEIGHBOURS, minSize=(smallest, smallest))
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in found]


def _confirmed(grey: Pixels, box: Box) -> bool:
    """Whether a second look, larger, finds a face there too, or two eyes."""
    x, y, w, h = box
    left, top = max(0, round(x - AROUND * w)), max(0, round(y - AROUND * h))
    near = grey[top : round(y + h * (1 + AROUND)), left : round(x + w * (1 + AROUND))]
    scale = CONFIRMED_AT / w
    near = cv2.resize(near, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    smallest = round(CONFIRMED_AT * 0.7)
    if _find("frontalface_default", near, STEP, smallest):
        return True
    upper = near[: near.shape[0] // 2 + near.shape[0] // 10]
    return len(_cascade("eye_tree_eyeglasses").detectMultiScale(upper, STEP, 3, minSize=(14, 14))) >= 2


def _overlap(one: Box, other: Box) -> float:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(0.0, across) * max(0.0, down)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


@functools.cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    from cv2.data import haarcascades

    return cv2.CascadeClassifier(str(Path(haarcascades) / f"haarcascade_{name}.xml"))
