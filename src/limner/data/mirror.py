"""Which pictures stay true when they are mirrored: those in which nothing has a left and a right."""

import re
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from limner.data.folder import Picture
from limner.vision.faces import Faces
from limner.vision.pixels import Pixels, grey_of
from limner.vision.text import text_share

# Of captions: sides, and what bears letters, digits or a face.
SIDED = re.compile(
    r"\b(left|right|(anti|counter)?-?clockwise|logo|text|letters?|lettering|writing|written|words?|sign|label|poster|"
    r"numbers?|digits?|plate|tattoo|watermark|face|portrait|parting)\b",
    re.IGNORECASE,
)
WRITTEN = 0.005  # share of a picture that letters cover
THUMBNAIL = 32  # pixels
FEWEST = 4  # pictures of which can be said that all face one way
ONE_WAY = 0.05  # by how much more pictures are like each other than like each other mirrored, as correlation
SURE = 3.0  # standard errors

Thumbnail = NDArray[np.float64]


def side_of(picture: Picture, caption: str) -> str | None:
    """What has a left and a right in a picture or its caption, None if nothing was found."""
    if found := SIDED.search(caption):
        return f"captions that say {found[0].lower()!r}"
    rgb = np.asarray(picture.open())
    if Faces()(rgb):
        return "faces"
    return "letters" if text_share(grey_of(rgb)) > WRITTEN else None


def all_one_way(pictures: Sequence[Picture]) -> bool:
    """Whether pictures are so much more like each other than like each other mirrored that it is no chance: a subject
    that always faces one way, or has something on one side.

    Correlations of grey thumbnails; a picture's own mirror image does not count.
    """
    if len(pictures) < FEWEST:
        return False
    seen = np.stack([_thumbnail(np.asarray(picture.open())) for picture in pictures])
    flat, mirrored = seen.reshape(len(seen), -1), seen[:, :, ::-1].reshape(len(seen), -1)
    gain = flat @ flat.T - flat @ mirrored.T
    np.fill_diagonal(gain, 0)
    gains = gain.sum(1) / (len(seen) - 1)
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > max(ONE_WAY, SURE * error))


def _thumbnail(rgb: Pixels) -> Thumbnail:
    """Grey, (THUMBNAIL, THUMBNAIL), free of its mean and of unit length; of one colour all zero."""
    small = cv2.resize(grey_of(rgb), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float64)
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-9)
