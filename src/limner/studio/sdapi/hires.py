"""The webui's "hires fix", in its words, as a second pass in Limner's."""

from collections.abc import Callable
from typing import Any

from fastapi import HTTPException

from limner.errors import UserError
from limner.samplers import AUTOMATIC, find_sampler
from limner.studio.sdapi.asked import Txt2Img, given
from limner.studio.sdapi.checkpoints import find_checkpoint
from limner.studio.state import State

STRENGTH = 0.75  # the webui's, where a request says none
SAME = ("", "use same checkpoint", "use same sampler", "use same scheduler")  # how requests say that nothing changes


def hires_values(asked: Txt2Img, values: dict[str, Any], studio: State) -> dict[str, Any] | None:
    """Of a HiresRequest; values: of the GenerateRequest that it belongs to. Raises HTTPException for what would need
    the second pass to be another one than the first."""
    if not asked.enable_hr:
        return None
    others = {
        "hr_checkpoint_name": _is_other(
            asked.hr_checkpoint_name, lambda name: find_checkpoint(studio, name).name, values["base"]
        ),
        "hr_sampler_name": _is_other(asked.hr_sampler_name, lambda name: find_sampler(name)[0], values["sampler"]),
        "hr_scheduler": _is_other(
            asked.hr_scheduler,
            lambda name: find_sampler(values["sampler"], name)[1] or AUTOMATIC,
            values["schedule"],
        ),
        "hr_prompt": (asked.hr_prompt or values["prompt"]) != values["prompt"],
        "hr_negative_prompt": (asked.hr_negative_prompt or values["negative_prompt"]) != values["negative_prompt"],
        "firstphase_width": bool(asked.firstphase_width),
        "firstphase_height": bool(asked.firstphase_height),
    }
    for name, is_other in others.items():
        if is_other:
            raise HTTPException(422, f"{name}: both of Limner's passes are drawn alike; leave it out")
    strength = asked.denoising_strength
    return {
        "scale": given(asked, "hr_scale"),
        "width": asked.hr_resize_x or None,
        "height": asked.hr_resize_y or None,
        "upscaler": given(asked, "hr_upscaler"),
        "steps": given(asked, "hr_second_pass_steps"),
        "strength": STRENGTH if strength is None else strength,
    }


def _is_other(name: str | None, find: Callable[[str], str], first: str) -> bool:
    """Whether the second pass shall have another one than the first, or one that there is not."""
    if (name or "").lower() in SAME:
        return False
    try:
        return find(name or "") != first
    except UserError:
        return True
