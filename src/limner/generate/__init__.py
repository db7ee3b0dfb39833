"""From a request to pictures: what `limner generate`, previews, evaluation and the HTTP API all call."""

from limner.generate.draw import batches, drawing, generate, generate_each, unfinished
from limner.generate.pixels import to_image
from limner.generate.plan import Plan, make_plan
from limner.generate.request import MAX_SIDE, MIN_SIDE, RANDOM_SEED, Generated, Hires, Init, Request
from limner.generate.used import applied, use_lora
from limner.named import PromptFiles
from limner.sample import Denoised

__all__ = [
    "MAX_SIDE",
    "MIN_SIDE",
    "RANDOM_SEED",
    "Denoised",
    "Generated",
    "Hires",
    "Init",
    "Plan",
    "PromptFiles",
    "Request",
    "applied",
    "batches",
    "drawing",
    "generate",
    "generate_each",
    "make_plan",
    "to_image",
    "unfinished",
    "use_lora",
]
