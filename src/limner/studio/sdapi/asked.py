"""What programs ask to be drawn, in the webui's words, and the same in Limner's."""

from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from limner.errors import UserError
from limner.samplers import AUTOMATIC, find_sampler
from limner.studio.sdapi.checkpoints import find_checkpoint
from limner.studio.sdapi.options import CLIP_SKIP, MODEL, options, read_options
from limner.studio.state import State

RESIZES = ("stretch", "crop", "fill", "latent")  # by the webui's numbers
FILLS = ("fill", "original", "noise", "nothing")
DEFAULT_SAMPLER = "Euler"
MOST_TEXT = 20_000


class Drawing(BaseModel):
    """The fields that txt2img and img2img share; null is what is left out."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str | None = Field("", max_length=MOST_TEXT)
    negative_prompt: str | None = Field("", max_length=MOST_TEXT)
    styles: list[str] | None = Field(None, max_length=100, description="Of the webui's; Limner has none.")
    seed: int | None = Field(-1, ge=-1, lt=2**62)
    subseed: int | None = Field(-1, ge=-1, lt=2**62)
    subseed_strength: float | None = Field(0.0, ge=0, le=1)
    seed_resize_from_h: int | None = None
    seed_resize_from_w: int | None = None
    sampler_name: str | None = Field(None, max_length=100)
    sampler_index: str | None = Field(None, max_length=100)
    scheduler: str | None = Field(None, max_length=100)
    batch_size: int | None = Field(1, ge=1, le=16)
    n_iter: int | None = Field(1, ge=1, le=100)
    steps: int | None = Field(50, ge=1, le=150)
    cfg_scale: float | None = Field(7.0, ge=0, le=50)
    width: int | None = Field(None, ge=64, le=2048, description="By default the base's own, not 512.")
    height: int | None = Field(None, ge=64, le=2048, description="By default the base's own, not 512.")
    denoising_strength: float | None = Field(None, ge=0, le=1)
    restore_faces: bool | None = False
    tiling: bool | None = False
    s_churn: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool | None = True
    refiner_checkpoint: str | None = Field(None, max_length=500)
    script_name: str | None = Field(None, max_length=500)
    alwayson_scripts: dict[str, Any] | None = None
    send_images: bool | None = True
    save_images: bool | None = False
    force_task_id: str | None = Field(None, max_length=200)

    @property
    def sampler(self) -> str:
        return self.sampler_name or self.sampler_index or DEFAULT_SAMPLER


class Txt2Img(Drawing):
    enable_hr: bool | None = False
    hr_scale: float | None = 2.0
    hr_upscaler: str | None = Field("Latent", max_length=100)
    hr_second_pass_steps: int | None = 0
    hr_resize_x: int | None = 0
    hr_resize_y: int | None = 0
    hr_checkpoint_name: str | None = Field(None, max_length=500)
    hr_sampler_name: str | None = Field(None, max_length=100)
    hr_scheduler: str | None = Field(None, max_length=100)
    hr_prompt: str | None = Field("", max_length=MOST_TEXT)
    hr_negative_prompt: str | None = Field("", max_length=MOST_TEXT)
    firstphase_width: int | None = 0
    firstphase_height: int | None = 0


class Img2Img(Drawing):
    init_images: list[str] | None = Field(None, max_length=16, description="In base64.")
    resize_mode: int | None = Field(0, ge=0, le=3)
    denoising_strength: float | None = Field(0.75, ge=0, le=1)
    mask: str | None = Field(None, description="In base64; white where to draw anew.")
    latent_mask: str | None = None
    mask_blur: float | None = Field(4, ge=0, le=256)
    mask_blur_x: float | None = Field(None, ge=0, le=256)
    mask_blur_y: float | None = Field(None, ge=0, le=256)
    inpainting_fill: int | None = Field(0, ge=0, le=3)
    inpaint_full_res: bool | None = True
    inpaint_full_res_padding: int | None = Field(0, ge=0, le=2048)
    inpainting_mask_invert: int | None = Field(0, ge=0, le=1)
    initial_noise_multiplier: float | None = None
    include_init_images: bool | None = False


def request_values(asked: Drawing, studio: State) -> dict[str, Any]:
    """Of a GenerateRequest; the pictures that it starts from are not among them. Raises HTTPException."""
    refuse_what_is_missing(asked)
    settings = settings_of(asked, studio)
    try:
        sampler, schedule = find_sampler(asked.sampler, asked.scheduler or AUTOMATIC)
    except UserError as error:
        raise HTTPException(400, str(error)) from error
    batch = given(asked, "batch_size")
    return {
        "prompt": asked.prompt or "",
        "negative_prompt": asked.negative_prompt or "",
        "base": find_checkpoint(studio, settings[MODEL]).name,
        "sampler": sampler,
        "schedule": schedule or AUTOMATIC,
        "count": given(asked, "n_iter") * batch,
        "batch_size": batch,
        "width": asked.width,
        "height": asked.height,
        "clip_skip": settings[CLIP_SKIP],
        "keep": bool(asked.save_images),
    } | {name: given(asked, name) for name in ("steps", "cfg_scale", "seed", "subseed", "subseed_strength")}


def init_values(asked: Img2Img) -> dict[str, Any]:
    """Of an InitRequest without its pictures. Raises HTTPException."""
    across, down = asked.mask_blur_x, asked.mask_blur_y
    if across is not None and down is not None and across != down:
        raise HTTPException(422, "mask_blur_x and mask_blur_y: Limner softens a mask in all directions alike")
    blur = across if across is not None else down if down is not None else given(asked, "mask_blur")
    return {
        "strength": given(asked, "denoising_strength"),
        "resize": RESIZES[given(asked, "resize_mode")],
        "fill": FILLS[given(asked, "inpainting_fill")],
        "mask_invert": bool(given(asked, "inpainting_mask_invert")),
        "mask_blur": blur,
        "only_masked": bool(given(asked, "inpaint_full_res")) and bool(asked.mask),
        "padding": given(asked, "inpaint_full_res_padding"),
    }


def settings_of(asked: Drawing, studio: State) -> dict[str, Any]:
    """The options with those of the request over them, which stay if it says so. Raises HTTPException."""
    changes = asked.override_settings or {}
    try:
        settings = options(studio, changes)
        if asked.override_settings_restore_afterwards is False:
            for name, value in read_options(studio, changes).items():
                studio.jobs.set_option(name, value)
    except UserError as error:
        raise HTTPException(422, str(error)) from error
    return settings


def refuse_what_is_missing(asked: Drawing) -> None:
    """Raise HTTPException for what is asked and cannot be done: a picture without it would be another one."""
    if asked.script_name and asked.script_name.lower() != "none":
        raise HTTPException(422, f"script {asked.script_name!r}: Limner runs none of the webui's scripts")
    if asked.alwayson_scripts:
        named = ", ".join(str(name)[:50] for name in list(asked.alwayson_scripts)[:5])
        raise HTTPException(422, f"alwayson_scripts: Limner has no {named}, and runs none of the webui's extensions")
    unable = {
        "restore_faces": bool(asked.restore_faces),
        "tiling": bool(asked.tiling),
        "refiner_checkpoint": bool(asked.refiner_checkpoint),
        "seed_resize_from_w": (asked.seed_resize_from_w or 0) > 0,
        "seed_resize_from_h": (asked.seed_resize_from_h or 0) > 0,
        "s_churn": bool(asked.s_churn),
        "s_noise": asked.s_noise not in (None, 1.0),
        "latent_mask": isinstance(asked, Img2Img) and bool(asked.latent_mask),
        "initial_noise_multiplier": isinstance(asked, Img2Img) and asked.initial_noise_multiplier not in (None, 1.0),
    }
    asked_for = [name for name, is_asked in unable.items() if is_asked]
    if asked_for:
        raise HTTPException(422, f"{asked_for[0]}: Limner cannot do this; leave it out")


def given(asked: BaseModel, name: str) -> Any:
    """A field's value, or its default where null was sent."""
    value = getattr(asked, name)
    return type(asked).model_fields[name].default if value is None else value
