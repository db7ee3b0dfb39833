"""From a request to pictures, batch by batch and step by step."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from limner.base.model import BaseModel
from limner.generate.enlarge import enlarge, schedule_length
from limner.generate.pixels import decoded
from limner.generate.plan import Plan, calls, make_plan
from limner.generate.request import Generated, Request
from limner.generate.start import start, turned
from limner.generate.told import infotext
from limner.generate.used import applied
from limner.generators import finish, retold
from limner.guidance import Guidance, encode, side_by_side
from limner.named import PromptFiles
from limner.sample import Denoised, Start, count_steps, draw_noise, make_scheduler, sampling

Drawing: TypeAlias = Generator[Denoised, None, list[Generated]]


def generate(model: BaseModel, request: Request, files: PromptFiles | None = None) -> Iterator[Generated]:
    """Draw the pictures, batch by batch; everything that can be wrong with the request is found before the first.

    Between two pictures the model is as it was: the prompt's LoRAs and embeddings are in it only while a batch is
    computed. torch's global random state is neither read nor changed, nor are gradients recorded, so a training run
    can call this. Raises UserError.
    """
    plan = make_plan(model, request, files or PromptFiles())
    return (picture for numbers in batches(plan) for picture in finish(drawing(model, plan, numbers)))


def batches(plan: Plan) -> Iterator[range]:
    """The numbers, from 0, of the pictures that are drawn together."""
    count, size = plan.request.count, plan.request.batch_size
    return (range(start, min(start + size, count)) for start in range(0, count, size))


@torch.no_grad()  # while it computes, not between two steps
def drawing(model: BaseModel, plan: Plan, numbers: range) -> Drawing:
    """Draw one batch, step by step. Closing the generator leaves it, and the model as it was. Raises UserError."""
    with applied(model, plan.loras, plan.embeddings):
        latents = yield from _passes(model, plan, numbers)
    return _finished(model, plan, numbers, latents)


@torch.no_grad()
def unfinished(model: BaseModel, plan: Plan, numbers: range, last: Denoised) -> list[Generated]:
    """What a batch was to become when it was left after this step."""
    return _finished(model, plan, numbers, last.latents, last.step)


def _finished(
    model: BaseModel, plan: Plan, numbers: range, latents: Tensor, stopped_at: int | None = None
) -> list[Generated]:
    images = decoded(model, latents)
    if plan.canvas is not None:
        images = [plan.canvas.finished(image, place) for place, image in enumerate(images)]
    return [
        Generated(image, plan.seed_of(number), infotext(model, plan, number, stopped_at), plan.remarks)
        for image, number in zip(images, numbers, strict=True)
    ]


def generate_each(model: BaseModel, requests: Sequence[Request], files: PromptFiles | None = None) -> list[Generated]:
    """The first picture of each request, in one batch where they differ in nothing but plain prompts and seeds.

    What it yields is what `generate` would, up to the rounding of a larger batch. Raises UserError.
    """
    plans = [make_plan(model, replace(request, count=1), files or PromptFiles()) for request in requests]
    likes = [replace(plan, request=replace(plan.request, prompt="", seed=0, subseed=0), parts=[]) for plan in plans]
    if any(like != likes[0] or like.loras or like.embeddings or like.canvas or like.second for like in likes):
        return [_alone(model, plan) for plan in plans]
    with torch.no_grad():
        guidance = side_by_side([_guidance(model, plan) for plan in plans])
    if guidance is None:
        return [_alone(model, plan) for plan in plans]
    noise, generators = zip(*(_noise(model, plan, range(1)) for plan in plans), strict=True)
    with torch.no_grad():
        steps = plans[0].request.steps
        latents = finish(_sample(model, plans[0], guidance, torch.cat(noise), [one for (one,) in generators], steps))
        return [
            picture
            for one, plan in zip(latents.split(1), plans, strict=True)
            for picture in _finished(model, plan, range(1), one)
        ]


def _alone(model: BaseModel, plan: Plan) -> Generated:
    return finish(drawing(model, plan, range(1)))[0]


def _passes(model: BaseModel, plan: Plan, numbers: range) -> Generator[Denoised, None, Tensor]:
    """Latents of a batch: drawn once, or made larger then and drawn again, the steps of both counted as one work."""
    request, second = plan.request, plan.second
    noise, generators = _noise(model, plan, numbers)
    begin = None
    if request.init is not None and plan.canvas is not None:
        begin = start(model, request.init, plan.canvas, noise, request.steps)
    first = _sample(model, plan, _guidance(model, plan), noise, generators, request.steps, begin)
    if second is None or request.hires is None:
        return (yield from first)
    more = second.request.steps
    length = schedule_length(more, request.hires.strength)
    scheduler = make_scheduler(model, plan.sampler, plan.schedule)
    done = count_steps(scheduler, request.steps)
    steps = done + count_steps(scheduler, length, length - more)
    latents = yield from retold(first, lambda step: replace(step, steps=steps))
    noise, generators = _noise(model, second, numbers)
    begin = Start(enlarge(model, request.hires, latents, (plan.width, plan.height)), length - more)
    guidance = _guidance(model, second, calls(request, plan.sampler))
    again = _sample(model, second, guidance, noise, generators, length, begin)
    return (yield from retold(again, lambda step: replace(step, step=done + step.step, steps=steps)))


def _guidance(model: BaseModel, plan: Plan, calls_before: int = 0) -> Guidance:
    """calls_before: of an earlier pass."""
    request = plan.request
    return encode(
        model,
        plan.parts,
        request.negative_prompt,
        request.cfg_scale,
        calls(request, plan.sampler),
        clip_skip=request.clip_skip,
        before=calls_before,
    )


def _noise(model: BaseModel, plan: Plan, numbers: range) -> tuple[Tensor, list[torch.Generator]]:
    """The noise of some pictures, and what it goes on from."""
    size = (plan.height // model.factor, plan.width // model.factor, model.channels)
    noise, generators = draw_noise([plan.seed_of(number) for number in numbers], *size)
    if plan.request.subseed_strength:
        other, _ = draw_noise([plan.subseed_of(number) for number in numbers], *size)
        noise = turned(noise, other, plan.request.subseed_strength)
    return noise, generators


@torch.no_grad()
def _sample(
    model: BaseModel,
    plan: Plan,
    guidance: Guidance,
    noise: Tensor,
    generators: list[torch.Generator],
    steps: int,
    begin: Start | None = None,
) -> Generator[Denoised, None, Tensor]:
    """Latents from noise, with the model as it is. steps: of the whole schedule."""
    scheduler = make_scheduler(model, plan.sampler, plan.schedule)
    return (yield from sampling(model, guidance, scheduler, steps, noise, generators, begin))
