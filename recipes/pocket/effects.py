"""Draw an icon in another style: strokes around its shapes, and raster operations on its pixels.

Each takes a standalone SVG and returns RGBA, float32 in 0..1, of WORK pixels a side, with straight alpha.
"""

import re

import cv2
import numpy as np

from recipes.pocket.icons import rasterise

WORK = 256  # pixels that effects work at; widths below are of this size
INK = np.array((26, 26, 32), np.float32) / 255
FILL = re.compile(r'fill="(?!none)[^"]*"')


def plain(svg: str) -> np.ndarray:
    return rasterise(svg, WORK).astype(np.float32) / 255


def comic(svg: str) -> np.ndarray:
    """Thick dark lines around every shape, and strong colours."""
    rgba = plain(stroked(svg, 0.036))
    hsv = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.25, 0, 1)
    hsv[..., 2] = np.where(hsv[..., 1] > 0.25, np.clip(hsv[..., 2] * 1.08, 0, 1), hsv[..., 2])
    return np.dstack([cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), rgba[..., 3]])


def line_art(svg: str) -> np.ndarray:
    """Dark lines around white shapes, as in a colouring book."""
    return plain(stroked(svg, 0.04, "#fff"))


def silhouette(svg: str) -> np.ndarray:
    """One dark shape; lines inside it are cut out, so that it can be told what it is."""
    lines = plain(stroked(svg, 0.036, "#fff"))
    inside = lines[..., 3]
    inner = cv2.erode(inside, _disc(23))
    cut = np.minimum(_dilate((1 - lines[..., 0]) * inside, 3), inner)
    return _coloured(INK, inside * (1 - cut))


def sticker(svg: str) -> np.ndarray:
    """A broad white border, and the shadow of a thing that lies on the background."""
    rgba = shrunk(plain(svg), 0.82)
    border = cv2.GaussianBlur(_dilate(rgba[..., 3], 27), (0, 0), 1.2)
    shadow = cv2.GaussianBlur(np.roll(border, (7, 5), (0, 1)), (0, 0), 4) * 0.55
    return over(rgba, over(_coloured(1.0, border), _coloured(0.1, shadow)))


def glossy(svg: str) -> np.ndarray:
    """As if inflated: lit from the upper left, with highlights, and a shadow on the floor."""
    rgba = shrunk(plain(svg), 0.9)
    solid = (rgba[..., 3] > 0.5).astype(np.uint8)
    radius = 26.0
    depth = np.clip(cv2.distanceTransform(solid, cv2.DIST_L2, 5) / radius, 0, 1)
    height = cv2.GaussianBlur(np.sqrt(1 - (1 - depth) ** 2) * radius, (0, 0), 3)
    down, right = np.gradient(height)
    normal = np.dstack([-right, -down, np.ones_like(height)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    light = np.array((-0.5, -0.65, 0.6)) / np.linalg.norm((-0.5, -0.65, 0.6))
    half = light + np.array((0, 0, 1))
    half /= np.linalg.norm(half)
    diffuse = np.clip(normal @ light, 0, 1)[..., None]
    shine = 0.85 * np.clip(normal @ half, 0, 1)[..., None] ** 28
    lit = rgba[..., :3] * (0.45 + 0.75 * diffuse) * (1 - shine) + shine
    return over(np.dstack([np.clip(lit, 0, 1), rgba[..., 3]]), _floor_shadow(solid))


def _floor_shadow(solid: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(solid)
    shadow = np.zeros(solid.shape, np.float32)
    centre = int(columns.mean()), min(WORK - 10, int(rows.max()) + 2)
    cv2.ellipse(shadow, centre, (int(np.ptp(columns) * 0.4) + 1, 9), 0, 0, 360, 1, -1)
    return _coloured(0.0, cv2.GaussianBlur(shadow, (0, 0), 5) * 0.5)


def watercolor(svg: str) -> np.ndarray:
    """Pale washes that run a little beyond their shapes and dry darker at the rim."""
    rng = np.random.default_rng([*svg.encode()[-64:]])
    spread = _warped(_premultiplied(shrunk(plain(svg), 0.92)), rng)
    rgba = _straight(cv2.GaussianBlur(spread, (0, 0), 1.8))
    alpha = np.clip(rgba[..., 3] * 1.1, 0, 1)
    rim = np.clip(1 - cv2.GaussianBlur(alpha, (0, 0), 7), 0, 1) * alpha * 1.6
    wash = np.clip(0.45 + 0.12 * _noise(rng, 14), 0.2, 0.75) + 0.6 * rim
    pale = 1 - (1 - rgba[..., :3] * 0.95) * np.clip(wash, 0, 1)[..., None]
    return np.dstack([pale, alpha])


def neon(svg: str) -> np.ndarray:
    """Glowing tubes along the shapes' edges, and nothing inside."""
    rgba = shrunk(plain(svg), 0.86)
    outline = np.clip(_dilate(rgba[..., 3], 7) - cv2.erode(rgba[..., 3], _disc(5)), 0, 1)
    tubes = np.maximum(_edges(rgba), outline)
    soft = _straight(cv2.GaussianBlur(_premultiplied(rgba), (0, 0), 5))
    hsv = cv2.cvtColor(np.ascontiguousarray(soft[..., :3]), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.5 + 0.25, 0, 1)
    hsv[..., 2] = 1
    colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    glow = np.clip(cv2.GaussianBlur(tubes, (0, 0), 10) * 2.4, 0, 0.9)
    return over(np.dstack([colour * 0.3 + 0.7, tubes]), np.dstack([colour, glow]))


def leaded(svg: str) -> np.ndarray:
    """Shapes with dark lines around them, for panes of glass."""
    return plain(stroked(svg, 0.03))


def panes(rgb: np.ndarray, rng: np.random.Generator, size: float = 19) -> np.ndarray:
    """Stained glass of a whole picture (h, w, 3) in 0..1: panes of unequal tone with lead between them."""
    height, width = rgb.shape[:2]
    rows, columns = np.mgrid[-1 : height // size + 2, -1 : width // size + 2]
    jitter = rng.uniform(-0.3, 0.3, (2, *rows.shape))
    centres = np.stack([rows + jitter[0], columns + 0.5 * (rows % 2) + jitter[1]], axis=-1).reshape(-1, 2) * size
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1])
    nearest = np.partition(distance, 1, axis=2)
    inward = (nearest[..., 1] - nearest[..., 0])[..., None]
    tone = rng.uniform(-0.13, 0.13, len(centres))[distance.argmin(2)][..., None]
    lead = np.clip(1.6 - 0.75 * inward, 0, 1)
    lit = np.clip(rgb * (0.94 + 0.12 * np.clip(inward / 8, 0, 1)) + tone, 0, 1)
    return lit * (1 - lead) + lead * 0.08


def pixelated(rgba: np.ndarray, side: int, cell: int) -> np.ndarray:
    """An icon of about that side in square cells of few tones, each all there or not at all."""
    count = max(4, round(side / cell))
    cells = _straight(cv2.resize(_premultiplied(rgba), (count, count), interpolation=cv2.INTER_AREA))
    cells[..., :3] = np.round(cells[..., :3] * 5) / 5
    cells[..., 3] = cells[..., 3] > 0.35
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)


def stroked(svg: str, width: float, fill: str | None = None) -> str:
    """The SVG with a dark line of that share of its side around every shape, all filled alike if a colour is given."""
    found = re.fullmatch(r'<svg [^>]*viewBox="([^"]*)"[^>]*>(.*)</svg>', svg, re.DOTALL)
    assert found is not None
    left, top, across, down = (float(number) for number in found[1].split())
    line = across * width
    body, filled = (FILL.sub(f'fill="{fill}"', found[2]), f'fill="{fill}"') if fill else (found[2], "")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left - line} {top - line} {across + 2 * line} {down + 2 * line}" width="{across}" height="{down}">'
        f'<g {filled} stroke="#1a1a20" stroke-width="{line}" stroke-linejoin="round" stroke-linecap="round">{body}</g>'
        "</svg>"
    )


def over(top: np.ndarray, below: np.ndarray) -> np.ndarray:
    """One RGBA before another."""
    seen = below[..., 3:] * (1 - top[..., 3:])
    alpha = top[..., 3:] + seen
    rgb = (top[..., :3] * top[..., 3:] + below[..., :3] * seen) / np.maximum(alpha, 1e-6)
    return np.concatenate([rgb, alpha], axis=2)


def shrunk(rgba: np.ndarray, share: float) -> np.ndarray:
    """The icon smaller in the middle, with room for what lies around it."""
    side = int(WORK * share)
    start = (WORK - side) // 2
    canvas = np.zeros_like(rgba)
    inner = cv2.resize(_premultiplied(rgba), (side, side), interpolation=cv2.INTER_AREA)
    canvas[start : start + side, start : start + side] = inner
    return _straight(canvas)


def resized(rgba: np.ndarray, side: int) -> np.ndarray:
    return _straight(cv2.resize(_premultiplied(rgba), (side, side), interpolation=cv2.INTER_AREA))


def _premultiplied(rgba: np.ndarray) -> np.ndarray:
    return np.dstack([rgba[..., :3] * rgba[..., 3:], rgba[..., 3]]).astype(np.float32)


def _straight(premultiplied: np.ndarray) -> np.ndarray:
    alpha = premultiplied[..., 3:]
    return np.clip(np.concatenate([premultiplied[..., :3] / np.maximum(alpha, 1e-4), alpha], axis=2), 0, 1)


def _coloured(colour: np.ndarray | float, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([np.broadcast_to(colour, (*alpha.shape, 3)), alpha]).astype(np.float32)


def _disc(width: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))


def _dilate(mask: np.ndarray, width: int) -> np.ndarray:
    return cv2.dilate(mask, _disc(width))


def _noise(rng: np.random.Generator, size: float) -> np.ndarray:
    """Smooth noise of deviation 1, its spots about that many pixels wide."""
    noise = cv2.GaussianBlur(rng.standard_normal((WORK, WORK), dtype=np.float32), (0, 0), size)
    return noise / noise.std()


def _warped(rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:WORK, :WORK].astype(np.float32)
    return cv2.remap(rgba, x + 3 * _noise(rng, 9), y + 3 * _noise(rng, 9), cv2.INTER_LINEAR)


def _edges(rgba: np.ndarray) -> np.ndarray:
    """Where colours meet inside an icon, 0..1; specks are left out."""
    rgb = cv2.bilateralFilter((rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]).astype(np.float32), 7, 0.1, 3)
    steps = np.max([cv2.morphologyEx(rgb[..., c], cv2.MORPH_GRADIENT, _disc(3)) for c in range(3)], axis=0)
    found = ((steps > 0.25) & (cv2.erode(rgba[..., 3], _disc(5)) > 0.5)).astype(np.uint8)
    _, labels, table, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    large = table[:, cv2.CC_STAT_AREA] >= 40
    large[0] = False
    return cv2.GaussianBlur(_dilate(large[labels].astype(np.float32), 6), (0, 0), 0.8)
