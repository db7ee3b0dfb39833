"""Pictures of one prompt side by side while two or three things of it change: what `limner grid` draws."""

import csv
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from PIL import Image

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import Drawing, GridSettings, nearest
from limner.device import choose_device, choose_dtype
from limner.errors import UserError
from limner.generate import RANDOM_SEED, Request, generate, make_plan
from limner.generate.read import read_request
from limner.infotext import format_infotext, parse_infotext
from limner.named import PromptFiles
from limner.prompt import parse_prompt
from limner.samplers import find_sampler
from limner.sheet import Block, draw_grid, grid_size
from limner.upscalers import find_upscaler

OF_A_PICTURE = [name for name in Drawing.model_fields if name not in ("count", "batch_size")]
SHORT = {"cfg": "cfg_scale", "negative": "negative_prompt"}
BASE = "base"
WORDS = "words"  # of the prompt, where it says {words}
MOST_CELLS = 400
MOST_PIXELS = 100_000_000  # of the whole picture; beyond, viewers give up


@dataclass(frozen=True)
class Axis:
    """What changes along one direction: a setting of a picture, the base, or a {name} that stands in the prompt."""

    name: str
    values: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """What stands beside a row or column; a long prompt, or words of it, speak for themselves."""
        return [value if self.name in ("prompt", WORDS) else f"{self.name} {value}" for value in self.values]


@dataclass(frozen=True)
class Cell:
    """A picture to draw. place: its numbers along x, y and z."""

    place: tuple[int, int, int]
    base: str
    request: Request


@dataclass(frozen=True)
class DrawnCell:
    cell: Cell
    image: Image.Image
    infotext: str
    warnings: tuple[str, ...] = ()  # about its base, with the first that it drew


ONE = Axis("", ("",))  # along a direction that is not used


def read_axis(text: str, option: str, settings: GridSettings) -> Axis:
    """The axis of `name=value,value`; a value with a comma stands in double quotes. Raises UserError."""
    name, equals, rest = text.partition("=")
    name = SHORT.get(name.strip().replace("-", "_"), name.strip().replace("-", "_"))
    values = tuple(value.strip() for value in next(csv.reader([rest], skipinitialspace=True), []))
    if not equals or not name or not all(values) or not values:
        raise UserError(f"{option} {text} will not do: write it as name=value,value, as in seed=1,2,3")
    if len(set(values)) < len(values):
        raise UserError(f"{option} {text} names {max(values, key=values.count)} twice; say it once")
    if name not in (*OF_A_PICTURE, BASE) and f"{{{name}}}" not in settings.prompt + settings.negative_prompt:
        near = nearest(name, [*OF_A_PICTURE, BASE])
        meant = f"; did you mean {near}?" if near else f"; there are {', '.join([*OF_A_PICTURE, BASE])}"
        raise UserError(
            f"{option} {name} is no setting of a picture, and the prompt has no {{{name}}} where it would stand{meant}"
        )
    return Axis(name, values)


def read_axes(settings: GridSettings, options: tuple[str, str, str] = ("--x", "--y", "--z")) -> tuple[Axis, Axis, Axis]:
    """x, y and z, those left out with a single empty value. options: what errors call them. Raises UserError."""
    given = zip(options, (settings.x, settings.y, settings.z), strict=True)
    axes = [ONE if text is None else read_axis(text, option, settings) for option, text in given]
    named = [axis.name for axis in axes if axis is not ONE]
    if len(set(named)) < len(named):
        raise UserError(f"two axes change {max(named, key=named.count)}; put all its values on one")
    return axes[0], axes[1], axes[2]


def plan_cells(settings: GridSettings, axes: Sequence[Axis]) -> list[Cell]:
    """Every picture of the grid, those of one base together. Raises UserError for a value that will not do."""
    number = len(axes[0].values) * len(axes[1].values) * len(axes[2].values)
    if number > MOST_CELLS:
        raise UserError(f"the grid would have {number} pictures, more than {MOST_CELLS}; leave out some values")
    own = {name: getattr(settings, name) for name in OF_A_PICTURE}
    if own["seed"] == RANDOM_SEED:
        own["seed"] = secrets.randbelow(2**32)
    cells = []
    for place in product(*(range(len(axis.values)) for axis in axes)):
        chosen = {axis.name: axis.values[at] for axis, at in zip(axes, place, strict=True) if axis is not ONE}
        base = chosen.pop(BASE, settings.base)
        cells.append(Cell((place[0], place[1], place[2]), base, _request(own, chosen)))
    return sorted(cells, key=lambda cell: [each.base for each in cells].index(cell.base))


def _request(own: Mapping[str, Any], chosen: Mapping[str, str]) -> Request:
    values = dict(own) | {name: value for name, value in chosen.items() if name in own}
    for text in ("prompt", "negative_prompt"):
        for name, value in chosen.items():
            values[text] = values[text].replace(f"{{{name}}}", value)
    return read_request(Drawing.read(values, "the grid"))


def check_cells(cells: Sequence[Cell], files: PromptFiles) -> None:
    """Find what is wrong without a base. Raises UserError."""
    for cell in cells:
        find_sampler(cell.request.sampler, cell.request.schedule)
        if cell.request.hires is not None:
            find_upscaler(cell.request.hires.upscaler)
        for tag in parse_prompt(cell.request.prompt).loras:
            files.find_lora(tag.name)


def opener(settings: GridSettings) -> Callable[[str], BaseModel]:
    """How the command opens a base."""
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.precision, device)
    return lambda base: open_base(base, device, dtype, settings.prediction_type, settings.vae)


def draw_cells(
    cells: Sequence[Cell], files: PromptFiles, open_model: Callable[[str], BaseModel]
) -> Iterator[DrawnCell]:
    """Each picture as `limner generate` draws it. All of a base's are found possible before its first. UserError."""
    model: BaseModel | None = None
    base = None
    for cell in cells:
        if model is None or cell.base != base:
            model, base = None, cell.base  # the old one goes before the new one comes
            model = open_model(base)
            _check_possible(cells, base, model, files)
        (picture,) = generate(model, cell.request, files)
        yield DrawnCell(cell, picture.image, picture.infotext, (*model.warnings, *picture.remarks))
        model.warnings = ()


def _check_possible(cells: Sequence[Cell], base: str, model: BaseModel, files: PromptFiles) -> None:
    """Raise UserError unless the base can draw all of its cells, and the page can hold all cells of that size."""
    plans = [make_plan(model, cell.request, files) for cell in cells if cell.base == base]
    columns, rows, blocks = (1 + max(cell.place[way] for cell in cells) for way in range(3))
    widths, heights = zip(*(plan.size for plan in plans), strict=True)
    width, height = grid_size(columns, rows, blocks, max(widths), max(heights))
    if width * height > MOST_PIXELS:
        raise UserError(
            f"the grid would be a picture of {width:,} x {height:,} pixels, too large to look at; leave out some "
            "values, or make the pictures smaller with --width and --height"
        )


def compose(drawn: Sequence[DrawnCell], axes: Sequence[Axis]) -> Image.Image:
    """The labelled picture: x to the right, y downwards, a block for each z; every cell in its own pixels."""
    images = {each.cell.place: each.image for each in drawn}
    x, y, z = axes
    blocks = [
        Block(
            z.labels[k] if z is not ONE else "",
            [[images[i, j, k] for i in range(len(x.values))] for j in range(len(y.values))],
        )
        for k in range(len(z.values))
    ]
    return draw_grid(blocks, x.labels, y.labels if y is not ONE else [""])


def common_infotext(settings: GridSettings, drawn: Sequence[DrawnCell], axes: Sequence[Axis]) -> str:
    """A `parameters` text of what is the same in all cells, and of the axes as the webui's own grids name them."""
    said = [parse_infotext(each.infotext).settings for each in drawn]
    common = {name: value for name, value in said[0].items() if all(each.get(name) == value for each in said)}
    for letter, axis in zip("XYZ", axes, strict=True):
        if axis is not ONE:
            common |= {f"{letter} Type": axis.name, f"{letter} Values": ", ".join(axis.values)}
    return format_infotext(settings.prompt, settings.negative_prompt, {"Script": "X/Y/Z plot"} | common)
