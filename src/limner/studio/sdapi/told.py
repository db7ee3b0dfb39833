"""What the webui's API answers: the pictures, and of their making everything that the webui tells."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from limner.infotext import parse_infotext
from limner.studio.feed import EVENTS, FeedReader
from limner.studio.jobs import Job
from limner.studio.sdapi.asked import Drawing, Img2Img
from limner.studio.sdapi.pictures import encoded
from limner.studio.state import State

IN_THE_TEXT = {
    "sd_model_name": "Model",
    "sd_model_hash": "Model hash",
    "sd_vae_name": "VAE",
    "sd_vae_hash": "VAE hash",
}
OWN = (
    "Stopped at step",
    "Lora hashes",
    "Lora parts not applied",
    "TI hashes",
    "Schedule type",
    "Masked content",
    "Mask blur",
    "Inpaint area",
    "Hires upscale",
    "Hires resize",
    "Hires steps",
    "Hires upscaler",
)


def answer(asked: Drawing, job: Job, studio: State) -> dict[str, Any]:
    """Of a job that was drawn, or left when it was told to."""
    drawn = [line for line in FeedReader(studio.places.job(job.id) / EVENTS).new() if line["event"] == "Drawn"]
    images = [encoded(Path(line["path"]).read_bytes()) for line in drawn] if asked.send_images is not False else []
    parameters = asked.model_dump()
    if isinstance(asked, Img2Img) and not asked.include_init_images:
        parameters |= {"init_images": None, "mask": None}
    return {"images": images, "parameters": parameters, "info": json.dumps(_info(asked, job, drawn))}


def _info(asked: Drawing, job: Job, drawn: list[dict[str, Any]]) -> dict[str, Any]:
    request, result = job.request, job.result or {}
    texts = [line["infotext"] for line in drawn]
    said = parse_infotext(texts[0]).settings if texts else {}
    seeds = [line["seed"] for line in drawn]
    first = result.get("subseed", request["subseed"])
    subseeds = [first + number for number in range(len(drawn))]
    again = request["init"] or request["hires"]
    return {
        "prompt": request["prompt"],
        "all_prompts": [request["prompt"]] * len(drawn),
        "negative_prompt": request["negative_prompt"],
        "all_negative_prompts": [request["negative_prompt"]] * len(drawn),
        "seed": seeds[0] if seeds else request["seed"],
        "all_seeds": seeds,
        "subseed": first,
        "all_subseeds": subseeds,
        "subseed_strength": request["subseed_strength"],
        "width": result.get("width", request["width"]),
        "height": result.get("height", request["height"]),
        "sampler_name": request["sampler"],
        "cfg_scale": request["cfg_scale"],
        "steps": request["steps"],
        "batch_size": request["batch_size"],
        "restore_faces": False,
        "face_restoration_model": None,
        **{name: said.get(told) for name, told in IN_THE_TEXT.items()},
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": again["strength"] if again else asked.denoising_strength,
        "extra_generation_params": {name: said[name] for name in OWN if name in said},
        "index_of_first_image": 0,
        "infotexts": texts,
        "styles": asked.styles or [],
        "job_timestamp": datetime.fromtimestamp(job.created).strftime("%Y%m%d%H%M%S"),  # noqa: DTZ006 (as there)
        "clip_skip": request["clip_skip"],
        "is_using_inpainting_conditioning": False,
        "version": said.get("Version", ""),
    }
