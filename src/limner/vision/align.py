"""Whether two pictures are one picture, edited: laid over each other as well as can be, and compared where they meet.

Points (SIFT, Lowe 2004) that match in both give an affine map, of the picture or of its mirror image; it is refined on
the pixels (ECC, Evangelidis and Psarakis 2008). Then colours of one are fitted to the other's, and what is left of the
difference is looked at cell by cell: an edit explains nearly all cells, two photos of one thing do not.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.vision.recolour import CELL, Agreement, Colours, agreement

SIDE = 256  # pixels of the longer side at which points are looked for
POINTS = 400  # at most, in a picture
RATIO = 0.85  # of the distances of the nearest and the second nearest descriptor (Lowe 2004, section 7.1)
REACH = 3.0  # pixels that a point may lie off where the map puts it
FEWEST = 5  # points that must fit the map
COARSE = 2  # times smaller than SIDE, where pixels are compared

# Measured on edits of 44 photos and 130 drawings, beside frames of videos and the photos' and drawings' nearest others.
SMOOTH, SHARP = 0.6, 0.95  # or so many of all and of these: colours of smooth skies are fitted less well
COVER = 0.9  # share of one of the two pictures that the other covers: edits crop, they do not pan
COVERED = 0.3  # share of the other
AGREEING = 0.78  # share of cells; words laid over take some
DETAILED = 0.5  # of those cells that show something: where most is plain ground, words take more of them
PLAIN = 0.25  # share of a picture in one colour, above which it has too little to tell a turn from another drawing
OFF = 0.03  # of a side, that frames may be apart
TILTED = 10.0  # degrees
CORRELATED = 0.6  # of two pictures in 32x32 pixels, from which on one frame may lie on the other
STRETCH = 1.5  # of one direction against the other

Matrix = NDArray[np.floating[Any]]  # (2, 3), affine


@dataclass(frozen=True)
class Sketch:
    """A picture as it is compared: (height, width, 3) uint8, the longer side SIDE. of: what it mirrors, if it does."""

    pixels: NDArray[np.uint8]
    of: "Sketch | None" = None

    @functools.cached_property
    def grey(self) -> NDArray[np.uint8]:
        return cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY)

    @functools.cached_property
    def points(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n, 2) places and (n, 128) descriptors of unit length."""
        if self.of is not None:
            return _mirrored(*self.of.points, self.pixels.shape[1])
        found, described = cv2.SIFT.create(POINTS, contrastThreshold=0.02).detectAndCompute(self.grey, None)
        if described is None or len(found) < FEWEST:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
        described = np.sqrt(described / np.maximum(described.sum(1, keepdims=True), 1e-6))  # Arandjelovic 2012
        return np.array([point.pt for point in found], np.float32), described

    @functools.cached_property
    def plain(self) -> bool:
        """Whether much of it is one colour."""
        coarse = (self.pixels // 8).reshape(-1, 3).astype(np.int64)
        counts = np.bincount(coarse @ [1024, 32, 1])
        return bool(counts.max() > PLAIN * len(coarse))

    @functools.cached_property
    def mirrored(self) -> "Sketch":
        return Sketch(np.ascontiguousarray(self.pixels[:, ::-1]), self)


def _mirrored(
    places: NDArray[np.float32], described: NDArray[np.float32], width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The points of a picture's mirror image, without looking for them again, which takes longest of all.

    A descriptor has 4 rows of 4 cells of 8 directions, along and across the point's own direction, which is mirrored
    with the picture: what lay on one side of it lies on the other, and each direction is turned the other way.
    """
    cells = described.reshape(-1, 4, 4, 8)[:, ::-1, :, (-np.arange(8)) % 8]
    return np.c_[width - 1 - places[:, 0], places[:, 1]].astype(np.float32), cells.reshape(-1, 128)


@dataclass(frozen=True)
class Alignment:
    """How a picture lies on another. mirrored: it was first. turn: degrees anticlockwise, of the other, -180..180.

    covers: the share of the one that the other covers, and of the other that the one covers. shift: mean difference of
    colours before they were fitted, 0..255. placed: whether the frames lie as an edit leaves them.
    """

    mirrored: bool
    turn: float
    covers: tuple[float, float]
    agreement: Agreement
    shift: float
    placed: bool

    @property
    def same(self) -> bool:
        """Whether the two are one picture, edited."""
        return self.placed and max(self.covers) >= COVER and min(self.covers) >= COVERED and self._agree

    @property
    def _agree(self) -> bool:
        mostly = self.agreement.all >= AGREEING and self.agreement.detailed >= DETAILED
        return mostly or (self.agreement.all >= SMOOTH and self.agreement.detailed >= SHARP)

    @property
    def tilt(self) -> float:
        """Degrees off the nearest quarter turn, 0..45."""
        return abs((self.turn + 45) % 90 - 45)


def sketch(image: Image.Image) -> Sketch:
    """What is compared of a picture, without its border if it has one."""
    scale = SIDE / max(image.size)
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    filter = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    return Sketch(np.asarray(image.convert("RGB").resize(size, filter)))


def align(one: Sketch, other: Sketch) -> Alignment | None:
    """The best alignment of two pictures that there is, None if they have nothing in common."""
    found = []
    for mirrored in (False, True):
        turned = other.mirrored if mirrored else other
        for matrix, fitting in (*_by_points(one, turned), *_by_frames(one, turned)):
            found.append((fitting, mirrored, turned, matrix))
    found.sort(key=lambda each: -each[0])
    tried = (_compared(one, turned, matrix, mirrored) for _, mirrored, turned, matrix in found[:4])
    best = None
    for alignment in tried:
        if alignment is not None and alignment.same:
            return alignment
        if alignment is not None and (best is None or alignment.agreement.all > best.agreement.all):
            best = alignment
    return best


def _by_points(one: Sketch, other: Sketch) -> list[tuple[Matrix, float]]:
    """The affine map (2, 3) from the other's pixels to the one's on which most matching points agree, if any do."""
    (places, described), (others, descriptions) = one.points, other.points
    if not len(places) or not len(others):
        return []
    near = described @ descriptions.T
    first = near.argmax(1)
    rows = np.arange(len(near))
    cosine = near[rows, first]
    near[rows, first] = -1
    distances = [np.sqrt(np.maximum(0, 2 - 2 * each)) for each in (cosine, near.max(1))]
    near[rows, first] = cosine
    sure = (distances[0] < RATIO * distances[1]) & (near.argmax(0)[first] == rows)
    if sure.sum() < FEWEST:
        return []
    source, target = others[first[sure]], places[sure]
    cv2.setRNGSeed(0)  # the same map whatever was done before
    matrix, fits = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=1000
    )
    if matrix is None or fits.sum() < FEWEST:
        return []
    if fits.sum() >= 12:  # enough for a map of six numbers, which also follows a stretch
        finer, more = cv2.estimateAffine2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=500)
        if finer is not None and more.sum() >= fits.sum():
            matrix, fits = finer, more
    return [(matrix, float(fits.sum()))]


def _by_frames(one: Sketch, other: Sketch) -> list[tuple[Matrix, float]]:
    """The maps that lay the other's frame on the one's, in each of four turns, where the greys then correlate."""
    height, width = one.grey.shape
    tall, wide = other.grey.shape
    corners, frame = (_corners(each).astype(np.float32) for each in (other, one))
    found: list[tuple[Matrix, float]] = []
    small, seen = (cv2.resize(each.grey, (32, 32), interpolation=cv2.INTER_AREA) for each in (one, other))
    if min(small.std(), seen.std()) < 1:
        return []
    for turn in range(4):
        shape = (tall, wide) if turn % 2 else (wide, tall)
        stretch = abs(math.log(width * shape[1] / height / shape[0]))
        correlation = float(np.corrcoef(small.ravel(), np.rot90(seen, -turn).ravel())[0, 1])
        if stretch < math.log(STRETCH) and correlation > CORRELATED:
            target = np.roll(frame, -turn, axis=0)
            laid = np.asarray(cv2.getAffineTransform(corners[:3], target[:3]), np.float64)
            found.append((laid, 10 * correlation))
    return found


def _compared(one: Sketch, other: Sketch, matrix: Matrix, mirrored: bool) -> Alignment | None:
    """What is to be said of the other laid on the one by a map, once that is refined."""
    stretch = np.linalg.svd(matrix[:, :2])[1]
    if stretch[1] < 0.2 or stretch[0] > 5 or stretch[0] > STRETCH * stretch[1]:
        return None
    matrix = _refined(one, other, matrix)
    whole, matrix = matrix, _halved(matrix)
    below, above = _half(one), _half(other)
    laid = cv2.warpAffine(above, matrix, below.shape[1::-1], flags=cv2.INTER_LINEAR).astype(np.float32)
    white = np.full(above.shape[:2], 255, np.uint8)
    inside = cv2.warpAffine(white, matrix, below.shape[1::-1], flags=cv2.INTER_NEAREST)
    inside = cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255)
    meeting = inside > 0
    count = int(meeting.sum())
    if count < 2 * CELL * CELL:
        return None
    area = abs(float(np.linalg.det(matrix[:, :2])))
    covers = (count / meeting.size, min(1.0, count / area / above[..., 0].size))
    agreeing = agreement(laid, below, meeting)
    if agreeing is None:
        return None
    turn = math.degrees(math.atan2(matrix[0, 1] - matrix[1, 0], matrix[0, 0] + matrix[1, 1]))
    shift = float(np.abs(laid[meeting] - below[meeting]).mean()) * 255
    placed = not (one.plain or other.plain) or _placed(one, other, whole, turn)
    return Alignment(mirrored, turn, covers, agreeing, shift, placed)


def _placed(one: Sketch, other: Sketch, matrix: Matrix, turn: float) -> bool:
    """Whether frames lie in each other, or have one middle, as edits leave them.

    Only of plain pictures is this asked: one drawing set on a plain ground twice, here and there, larger and smaller,
    makes two pictures, which are as alike within the drawing as an edit of one.
    """
    tilt = abs((turn + 45) % 90 - 45)
    corners = [_corners(other) @ matrix[:, :2].T + matrix[:, 2], _corners(one)]
    if np.abs(corners[0].mean(0) - corners[1].mean(0)).max() < OFF * SIDE:
        return tilt < TILTED
    least, most = (np.array([each.min(0) for each in corners]), np.array([each.max(0) for each in corners]))
    slack = OFF * SIDE
    inside = [(least[a] > least[b] - slack).all() and (most[a] < most[b] + slack).all() for a, b in ((0, 1), (1, 0))]
    return tilt < 2 and any(inside)


def _corners(sketch: Sketch) -> Matrix:
    height, width = sketch.grey.shape
    return np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5


def _refined(one: Sketch, other: Sketch, matrix: Matrix) -> Matrix:
    """The map moved until the greys correlate best; as it was where that does not converge."""
    start = cv2.invertAffineTransform(matrix).astype(np.float32)
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 1e-3)
    try:
        _, found = cv2.findTransformECC(one.grey, other.grey, start, cv2.MOTION_AFFINE, enough, None, 5)
    except cv2.error:
        return matrix
    refined = cv2.invertAffineTransform(found.astype(np.float64))
    stretch = np.linalg.svd(refined[:, :2])[1]
    return refined if stretch[1] > 0.2 and stretch[0] < STRETCH * stretch[1] else matrix


def _halved(matrix: Matrix) -> Matrix:
    """The same map between pictures COARSE times smaller."""
    corner = (COARSE - 1) / 2  # pixels are squares: the middle of the first coarse one lies between fine ones
    moved = (matrix[:, :2] @ [corner, corner] + matrix[:, 2] - corner) / COARSE
    return np.c_[matrix[:, :2], moved]


def _half(sketch: Sketch) -> Colours:
    height, width = sketch.grey.shape
    size = (max(4, width // COARSE), max(4, height // COARSE))
    return cv2.resize(sketch.pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
