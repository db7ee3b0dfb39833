"""From a request to pictures: what `limner generate`, previews, evaluation and the HTTP API all call."""

import importlib.metadata
import math
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.files import sha256_file
from limner.formats import load_weights
from limner.guidance import Guidance, encode, fragments, side_by_side
from limner.infotext import format_infotext
from limner.methods.method import apply_weights
from limner.named import HASH_LENGTH, PromptFiles, short_hash
from limner.prompt import LoraTag, Part, parse_prompt
from limner.sample import AUTOMATIC, SAMPLERS, draw_noise, find_sampler, make_scheduler, sample
from limner.weights import Weights

MIN_SIDE, MAX_SIDE = 64, 4096  # pixels
MAX_STEPS = 1000
RANDOM_SEED = -1


@dataclass(frozen=True)
class Request:
    """What to draw. Image i of `count` has seed + i, and -1 is any seed. Sizes in pixels, None for the base's own."""

    prompt: str
    negative_prompt: str = ""
    steps: int = 20
    sampler: str = "DPM++ 2M"
    schedule: str = AUTOMATIC
    cfg_scale: float = 7.0
    width: int | None = None
    height: int | None = None
    seed: int = RANDOM_SEED
    count: int = 1
    batch_size: int = 1
    clip_skip: int = 1


@dataclass(frozen=True)
class Generated:
    """One picture, the seed that made it, and its `parameters` text."""

    image: Image.Image
    seed: int
    infotext: str


@dataclass(frozen=True)
class UsedLora:
    """A prompt's tag, what is in its file, cut to the rank that the tag asks for, and the webui's hash of the file."""

    tag: LoraTag
    weights: Weights
    hash: str


@dataclass(frozen=True)
class UsedEmbedding:
    """What is in the file of an embedding that a prompt says, and the webui's hash of the file."""

    weights: Weights
    hash: str


@dataclass(frozen=True)
class Plan:
    """A request that was found to be possible, with everything in it made definite."""

    request: Request
    parts: list[Part]
    loras: list[UsedLora]
    embeddings: list[UsedEmbedding]
    sampler: str
    schedule: str | None
    width: int
    height: int


def generate(model: BaseModel, request: Request, files: PromptFiles | None = None) -> Iterator[Generated]:
    """Draw the pictures, batch by batch; everything that can be wrong with the request is found before the first.

    Between two pictures the model is as it was: the prompt's LoRAs and embeddings are in it only while a batch is
    computed. torch's global random state is neither read nor changed, nor are gradients recorded, so a training run
    can call this. Raises UserError.
    """
    plan = make_plan(model, request, files or PromptFiles())
    return _batches(model, plan)


def make_plan(model: BaseModel, request: Request, files: PromptFiles) -> Plan:
    """Check a request against the model and the files there are, and read those that it names. Raises UserError."""
    sampler, schedule = find_sampler(request.sampler, request.schedule)
    make_scheduler(model, sampler, schedule)  # which says so if they do not suit the model
    width = model.resolution if request.width is None else request.width
    height = model.resolution if request.height is None else request.height
    _check_numbers(model, request, sampler, width, height)
    prompt = parse_prompt(request.prompt)
    texts = fragments([*(part.text for part in prompt.parts), request.negative_prompt], _calls(request, sampler))
    seed = secrets.randbelow(2**32) if request.seed == RANDOM_SEED else request.seed
    return Plan(
        request=replace(request, seed=seed),
        parts=prompt.parts,
        loras=[use_lora(model, tag, files.find_lora(tag.name)) for tag in prompt.loras],
        embeddings=_said(model, files, texts),
        sampler=sampler,
        schedule=schedule,
        width=width,
        height=height,
    )


def _check_numbers(model: BaseModel, request: Request, sampler: str, width: int, height: int) -> None:
    for name, pixels in (("width", width), ("height", height)):
        if not MIN_SIDE <= pixels <= MAX_SIDE or pixels % model.factor:
            raise UserError(
                f"{name} {pixels} will not do: it must be a multiple of {model.factor} from {MIN_SIDE} to {MAX_SIDE}"
            )
    bounds = {
        "steps": (request.steps, 1, SAMPLERS[sampler].max_steps or MAX_STEPS),
        "seed": (request.seed, RANDOM_SEED, 2**63 - request.count),
        "count": (request.count, 1, 10_000),
        "batch_size": (request.batch_size, 1, 10_000),
        "clip_skip": (request.clip_skip, 1, model.text_layers),
    }
    for name, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise UserError(f"{name} {value} will not do: with this base and sampler it must be from {low} to {high}")
    if not math.isfinite(request.cfg_scale):
        raise UserError(f"cfg_scale {request.cfg_scale} will not do: it must be a number, as in 7")


def _calls(request: Request, sampler: str) -> int:
    """How often the network is asked, which is what timed edits count."""
    return request.steps * SAMPLERS[sampler].calls_per_step


def use_lora(model: BaseModel, tag: LoraTag, path: Path) -> UsedLora:
    """Read the file that a tag means. Raises UserError if it is not a LoRA of the model's family."""
    weights = _read(model, path)
    if weights.kind == "embedding":
        raise UserError(
            f"{path} is an embedding, not a LoRA; give it with --embedding and say {path.stem} in the prompt"
        )
    if weights.kind == "checkpoint":
        raise UserError(f"{path} is a whole model, not a LoRA; give it with --base")
    if tag.rank is not None:
        weights = _cut(weights, tag.rank)
    return UsedLora(tag, weights, short_hash(path))


def _said(model: BaseModel, files: PromptFiles, texts: Iterable[str]) -> list[UsedEmbedding]:
    """The embeddings that the texts say; a word that the model knows already, as one in training, is that one."""
    new = [name for name in files.embeddings() if name not in model.words]
    used = []
    for path in (files.find_embedding(name) for name in model.words.said(new, texts)):
        weights = _read(model, path)
        if weights.kind != "embedding":
            raise UserError(f"{path} is a {weights.kind}, not an embedding; move it to where those are")
        used.append(UsedEmbedding(replace(weights, name=path.stem), sha256_file(path)[:HASH_LENGTH]))
    return used


def _read(model: BaseModel, path: Path) -> Weights:
    """A file's weights. Raises UserError if they are of another family than the model."""
    weights = load_weights(path)
    if weights.family != model.family.name:
        raise UserError(
            f"{path} was made for {weights.family}, not for {model.family.title} as {model.name} is; use another base"
        )
    return weights


def _cut(weights: Weights, rank: int) -> Weights:
    """The first `rank` rows and columns of each LoRA pair, at the strength per rank that the whole has; others of its
    family stay whole, as in the webui."""
    tensors = dict(weights.tensors)
    for name, leaves in weights.modules().items():
        if not {"lora_down", "lora_up"} <= leaves.keys() <= {"lora_down", "lora_up", "alpha"}:
            continue
        down, up = leaves["lora_down"], leaves["lora_up"]
        whole = down.shape[0]
        kept = min(max(rank, 1), whole)
        tensors[f"{name}.lora_down"], tensors[f"{name}.lora_up"] = down[:kept], up[:, :kept]
        tensors[f"{name}.alpha"] = leaves.get("alpha", torch.tensor(float(whole))) * (kept / whole)
    return replace(weights, tensors=tensors)


def _batches(model: BaseModel, plan: Plan) -> Iterator[Generated]:
    first, count = plan.request.seed, plan.request.count
    seeds = list(range(first, first + count))
    for start in range(0, count, plan.request.batch_size):
        batch = seeds[start : start + plan.request.batch_size]
        for seed, image in zip(batch, _draw(model, plan, batch), strict=True):
            yield Generated(image, seed, _infotext(model, plan, seed))


def generate_each(model: BaseModel, requests: Sequence[Request], files: PromptFiles | None = None) -> list[Generated]:
    """The first picture of each request, in one batch where they differ in nothing but plain prompts and seeds.

    What it yields is what `generate` would, up to the rounding of a larger batch. Raises UserError.
    """
    plans = [make_plan(model, replace(request, count=1), files or PromptFiles()) for request in requests]
    likes = [replace(plan, request=replace(plan.request, prompt="", seed=0), parts=[]) for plan in plans]
    if any(like != likes[0] or like.loras or like.embeddings for like in likes):
        return [next(_batches(model, plan)) for plan in plans]
    with torch.no_grad():
        guidance = side_by_side([_guidance(model, plan) for plan in plans])
    if guidance is None:
        return [next(_batches(model, plan)) for plan in plans]
    images = _sample(model, plans[0], guidance, [plan.request.seed for plan in plans])
    return [
        Generated(image, plan.request.seed, _infotext(model, plan, plan.request.seed))
        for image, plan in zip(images, plans, strict=True)
    ]


def _draw(model: BaseModel, plan: Plan, seeds: list[int]) -> list[Image.Image]:
    """The pictures of one batch."""
    with torch.no_grad(), applied(model, plan.loras, plan.embeddings):
        return _sample(model, plan, _guidance(model, plan), seeds)


def _guidance(model: BaseModel, plan: Plan) -> Guidance:
    request = plan.request
    calls = _calls(request, plan.sampler)
    return encode(model, plan.parts, request.negative_prompt, request.cfg_scale, calls, clip_skip=request.clip_skip)


@torch.no_grad()
def _sample(model: BaseModel, plan: Plan, guidance: Guidance, seeds: list[int]) -> list[Image.Image]:
    """A picture of each seed, with the model as it is."""
    noise, generators = draw_noise(seeds, plan.height // model.factor, plan.width // model.factor, model.channels)
    scheduler = make_scheduler(model, plan.sampler, plan.schedule)
    latents = sample(model, guidance, scheduler, plan.request.steps, noise, generators)
    pixels = model.decode(latents).float()
    if not bool(torch.isfinite(pixels).all()):
        raise UserError(
            "the picture holds values that are no numbers; use --precision fp32 or weaker LoRAs and emphasis"
        )
    return [to_image(one) for one in pixels]


@contextmanager
def applied(
    model: BaseModel, loras: Iterable[UsedLora] = (), embeddings: Iterable[UsedEmbedding] = ()
) -> Iterator[None]:
    """The LoRAs in the model, added up, the embeddings among its words, and all as it was afterwards in any case."""
    with ExitStack() as undo:
        for word in embeddings:
            undo.callback(apply_weights(model, word.weights))
        for used in loras:
            undo.callback(apply_weights(model, used.weights, used.tag.unet_strength, used.tag.text_strength))
        yield


def to_image(pixels: Tensor) -> Image.Image:
    """An RGB picture of pixels (3, h, w) in -1..1; values beyond are clipped."""
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _infotext(model: BaseModel, plan: Plan, seed: int) -> str:
    request = plan.request
    settings = {
        "Steps": request.steps,
        "Sampler": plan.sampler,
        "Schedule type": plan.schedule,
        "CFG scale": f"{request.cfg_scale:g}",
        "Seed": seed,
        "Size": f"{plan.width}x{plan.height}",
        "Model hash": model.sha256[:10],
        "Model": Path(model.name).name.removesuffix(".safetensors"),
        "VAE hash": None if model.vae_sha256 is None else model.vae_sha256[:10],
        "VAE": None if model.vae_source is None else model.vae_source.name,
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        "RNG": "CPU",
        "Lora hashes": _hashes({used.tag.name: used.hash for used in plan.loras}),
        "TI hashes": _hashes({used.weights.name: used.hash for used in plan.embeddings}),
        "Version": f"limner {importlib.metadata.version('limner')}",
    }
    return format_infotext(request.prompt, request.negative_prompt, settings)


def _hashes(by_name: dict[str, str]) -> str | None:
    """Names and hashes as the webui lists them, without the marks that divide its list."""
    plain = {re.sub("[,:]", "", name): digits for name, digits in by_name.items()}
    return ", ".join(f"{name}: {digits}" for name, digits in plain.items()) or None
