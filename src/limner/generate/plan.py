"""A request checked and made definite, before anything is computed."""

import math
import secrets
from dataclasses import dataclass, replace

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.generate.canvas import Canvas, make_canvas
from limner.generate.enlarge import schedule_length, sizes
from limner.generate.request import MAX_SIDE, MAX_STEPS, MIN_SIDE, RANDOM_SEED, Hires, Init, Request
from limner.generate.used import UsedEmbedding, UsedLora, said_embeddings, use_lora
from limner.guidance import fragments
from limner.named import PromptFiles
from limner.prompt import Part, parse_prompt, remarks_on_negative
from limner.sample import make_scheduler
from limner.samplers import SAMPLERS, find_sampler
from limner.upscalers import find_upscaler

MIN_INIT_SIDE, MAX_INIT_SIDE = 16, 16384  # pixels, of pictures to start from
MAX_BLUR = 256
MAX_SCALE = 8  # of a second pass
LEAST_STRENGTH = 0.01  # of a second pass; at none there would be nothing for it to do


@dataclass(frozen=True)
class Plan:
    """A request that was found to be possible, with everything in it made definite.

    second: the pass that begins with what this one draws, made larger; its request's steps are those that it does.
    remarks: sentences on what of the prompts, and of the files that they name, is not applied.
    """

    request: Request
    parts: list[Part]
    loras: list[UsedLora]
    embeddings: list[UsedEmbedding]
    sampler: str
    schedule: str | None
    width: int
    height: int
    canvas: Canvas | None = None
    second: "Plan | None" = None
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures in pixels, after the second pass if there is one."""
        last = self.second or self
        return last.width, last.height

    def seed_of(self, number: int) -> int:
        """The seed of one of the pictures, counted from 0."""
        return self.request.seed + (0 if self.request.subseed_strength else number)

    def subseed_of(self, number: int) -> int:
        """The seed of the noise into whose direction it is turned."""
        return self.request.subseed + number


def make_plan(model: BaseModel, request: Request, files: PromptFiles) -> Plan:
    """Check a request against the model and the files there are, and read those that it names. Raises UserError."""
    sampler, schedule = find_sampler(request.sampler, request.schedule)
    make_scheduler(model, sampler, schedule)  # which says so if they do not suit the model
    width = model.resolution if request.width is None else request.width
    height = model.resolution if request.height is None else request.height
    _check_numbers(model, request, sampler, width, height)
    request = replace(request, seed=_definite(request.seed), subseed=_definite(request.subseed))
    again = None
    if request.hires is not None:
        hires = replace(request.hires, upscaler=find_upscaler(request.hires.upscaler))
        request = replace(request, hires=hires)
        again = _again(model, request, hires, sampler, (width, height))
    prompt = parse_prompt(request.prompt)
    said = [*(part.text for part in prompt.parts), request.negative_prompt]
    texts = fragments(said, calls(request, sampler))
    if again is not None:
        texts |= fragments(said, calls(again, sampler), calls(request, sampler))
    loras = [use_lora(model, tag, files.find_lora(tag.name)) for tag in prompt.loras]
    embeddings = said_embeddings(model, files, texts)
    read = [*(used.weights for used in loras), *(used.weights for used in embeddings)]
    plan = Plan(
        request=request,
        parts=prompt.parts,
        loras=loras,
        embeddings=embeddings,
        sampler=sampler,
        schedule=schedule,
        width=width,
        height=height,
        canvas=None if request.init is None else make_canvas(request.init, (width, height)),
        remarks=(
            *prompt.remarks,
            *remarks_on_negative(request.negative_prompt),
            *(remark for used in loras for remark in used.remarks),
            *dict.fromkeys(warning for weights in read for warning in weights.warnings),
        ),
    )
    if again is None:
        return plan
    return replace(plan, second=replace(plan, request=again, width=again.width or width, height=again.height or height))


def _again(model: BaseModel, request: Request, hires: Hires, sampler: str, first: tuple[int, int]) -> Request:
    """What the second pass does, its size and steps made definite. Raises UserError."""
    if request.init is not None:
        raise UserError(
            "a second pass makes larger what was drawn from noise; of a picture that starts from another, set width "
            "and height instead"
        )
    steps, most = hires.steps or request.steps, SAMPLERS[sampler].max_steps or MAX_STEPS
    _check_bounds(
        {
            "hires scale": (hires.scale, 1, MAX_SCALE),
            "hires steps": (steps, 1, most),
            "hires strength": (hires.strength, LEAST_STRENGTH, 1),
        }
    )
    sides = [("hires width", hires.width), ("hires height", hires.height)]
    _check_sides(model, [(name, pixels) for name, pixels in sides if pixels])
    width, height = sizes(hires, first, model.factor)[1]
    _check_sides(model, [("the enlarged width", width), ("the enlarged height", height)])
    length = schedule_length(steps, hires.strength)
    if length > most:
        raise UserError(
            f"hires strength {hires.strength:g} will not do: {steps} steps at it are the last of {length}, and with "
            f"this sampler there are at most {most}; give more strength or fewer steps"
        )
    return replace(request, steps=steps, width=width, height=height, hires=None)


def _definite(seed: int) -> int:
    return secrets.randbelow(2**32) if seed == RANDOM_SEED else seed


def _check_numbers(model: BaseModel, request: Request, sampler: str, width: int, height: int) -> None:
    _check_sides(model, [("width", width), ("height", height)])
    bounds: dict[str, tuple[float, float, float]] = {
        "steps": (request.steps, 1, SAMPLERS[sampler].max_steps or MAX_STEPS),
        "seed": (request.seed, RANDOM_SEED, 2**63 - request.count),
        "count": (request.count, 1, 10_000),
        "batch_size": (request.batch_size, 1, 10_000),
        "clip_skip": (request.clip_skip, 1, model.text_layers),
        "subseed": (request.subseed, RANDOM_SEED, 2**63 - request.count),
        "subseed_strength": (request.subseed_strength, 0, 1),
    }
    if request.init is not None:
        _check_init(request.init)
        bounds["strength"] = (request.init.strength, 0, 1)
    _check_bounds(bounds)
    if not math.isfinite(request.cfg_scale):
        raise UserError(f"cfg_scale {request.cfg_scale} will not do: it must be a number, as in 7")


def _check_sides(model: BaseModel, sides: list[tuple[str, int]]) -> None:
    for name, pixels in sides:
        if not MIN_SIDE <= pixels <= MAX_SIDE or pixels % model.factor:
            raise UserError(
                f"{name} {pixels} will not do: it must be a multiple of {model.factor} from {MIN_SIDE} to {MAX_SIDE}"
            )


def _check_bounds(bounds: dict[str, tuple[float, float, float]]) -> None:
    for name, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise UserError(f"{name} {value} will not do: with this base and sampler it must be from {low} to {high}")


def _check_init(init: Init) -> None:
    if not init.images:
        raise UserError("there is no picture to start from; give one with --init-image")
    for image in (*init.images, *([init.mask] if init.mask is not None else [])):
        if max(image.size) > MAX_INIT_SIDE or min(image.size) < MIN_INIT_SIDE:
            raise UserError(
                f"a picture of {image.width}x{image.height} pixels will not do to start from, or as its mask: its "
                f"sides must be from {MIN_INIT_SIDE} to {MAX_INIT_SIDE} pixels"
            )
        if init.resize == "latent" and max(image.size) > MAX_SIDE:
            raise UserError(f"a picture stretched as latents may have {MAX_SIDE} pixels a side; resize it otherwise")
    if not 0 <= init.mask_blur <= MAX_BLUR or not 0 <= init.padding <= MAX_INIT_SIDE:
        raise UserError(f"mask_blur must be from 0 to {MAX_BLUR} pixels, and padding from 0 to {MAX_INIT_SIDE}")


def calls(request: Request, sampler: str) -> int:
    """How often the network is asked, which is what timed edits count."""
    return request.steps * SAMPLERS[sampler].calls_per_step
