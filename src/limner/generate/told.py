"""The `parameters` text of a picture."""

import importlib.metadata
import re
from pathlib import Path

from limner.base.model import BaseModel
from limner.generate.plan import Plan
from limner.generate.request import Fill, Hires, Init, Request
from limner.infotext import format_infotext

MASKED: dict[Fill, str] = {
    "fill": "fill",
    "original": "original",
    "noise": "latent noise",
    "nothing": "latent nothing",
}


def infotext(model: BaseModel, plan: Plan, number: int, stopped_at: int | None = None) -> str:
    """stopped_at: the step after which the picture was left as it was."""
    request = plan.request
    settings: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": plan.sampler,
        "Schedule type": plan.schedule,
        "CFG scale": f"{request.cfg_scale:g}",
        "Seed": plan.seed_of(number),
        "Size": f"{plan.width}x{plan.height}",
        "Model hash": model.sha256[:10],
        "Model": Path(model.name).name.removesuffix(".safetensors"),
        "VAE hash": None if model.vae_sha256 is None else model.vae_sha256[:10],
        "VAE": None if model.vae_source is None else model.vae_source.name,
        "Variation seed": plan.subseed_of(number) if request.subseed_strength else None,
        "Variation seed strength": f"{request.subseed_strength:g}" if request.subseed_strength else None,
        "Denoising strength": _strength(request),
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        "Stopped at step": stopped_at,
        "RNG": "CPU",
        **({} if request.hires is None else _of_hires(request.hires)),
        "Lora hashes": _hashes({used.tag.name: used.hash for used in plan.loras}),
        "Lora parts not applied": _not_applied(plan),
        "TI hashes": _hashes({used.weights.name: used.hash for used in plan.embeddings}),
        "Version": f"limner {importlib.metadata.version('limner')}",
    }
    if request.init is not None and request.init.mask is not None:
        settings |= _of_mask(request.init)
    return format_infotext(request.prompt, request.negative_prompt, settings)


def _strength(request: Request) -> str | None:
    from_what = request.init or request.hires
    return None if from_what is None else f"{from_what.strength:g}"


def _of_hires(hires: Hires) -> dict[str, object]:
    is_sized = bool(hires.width or hires.height)
    return {
        "Hires upscale": None if is_sized else f"{hires.scale:g}",
        "Hires resize": f"{hires.width or 0}x{hires.height or 0}" if is_sized else None,
        "Hires steps": hires.steps or None,
        "Hires upscaler": hires.upscaler,
    }


def _of_mask(init: Init) -> dict[str, object]:
    return {
        "Mask mode": "Inpaint not masked" if init.mask_invert else None,
        "Mask blur": f"{init.mask_blur:g}" if init.mask_blur else None,
        "Masked content": MASKED[init.fill],
        "Inpaint area": "Only masked" if init.only_masked else None,
        "Masked area padding": init.padding if init.only_masked else None,
    }


def _not_applied(plan: Plan) -> str | None:
    """Parts of tags that changed nothing, as in "zqvx: lbw=OUTALL"."""
    parts = (f"{used.tag.name}: {' '.join(used.tag.not_applied)}" for used in plan.loras if used.tag.not_applied)
    return ", ".join(parts) or None


def _hashes(by_name: dict[str, str]) -> str | None:
    """Names and hashes as the webui lists them, without the marks that divide its list."""
    plain = {re.sub("[,:]", "", name): digits for name, digits in by_name.items()}
    return ", ".join(f"{name}: {digits}" for name, digits in plain.items()) or None
