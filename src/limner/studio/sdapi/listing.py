"""What there is: models, samplers, scripts. Where the webui tells places on the machine, Limner tells names."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter

from limner.library.shelf import ShelfFile
from limner.samplers import ALIASES, AUTOMATIC, SAMPLERS, SCHEDULES
from limner.studio.json_body import JSONRoute
from limner.studio.sdapi.checkpoints import checkpoints, files
from limner.studio.state import Studio
from limner.upscalers import LATENT, PIXELS

router = APIRouter(route_class=JSONRoute)
Row = dict[str, Any]


@router.get("/sd-models")
def sd_models(studio: Studio) -> list[Row]:
    return [
        {
            "title": each.title,
            "model_name": each.model_name,
            "hash": None if each.sha256 is None else each.sha256[:10],
            "sha256": each.sha256,
            "filename": each.name,
            "config": None,
        }
        for each in checkpoints(studio)
    ]


@router.get("/loras")
def loras(studio: Studio) -> list[Row]:
    return [
        {
            "name": file.path.stem,
            "alias": file.details.get("alias") or file.path.stem,
            "path": file.name,
            "metadata": _metadata(file),
        }
        for file in files(studio, "lora")
    ]


def _metadata(file: ShelfFile) -> Row:
    """What of it the index holds, under the names that files have for it."""
    told = {
        "ss_output_name": file.details.get("alias"),
        "modelspec.title": file.details.get("title"),
        "modelspec.trigger_phrase": ", ".join(file.keywords) or None,
        "ss_base_model_version": file.family or None,
        "ss_sd_model_name": file.details.get("base_name"),
    }
    return {name: value for name, value in told.items() if value}


@router.get("/embeddings")
def embeddings(studio: Studio) -> Row:
    """Those that can be used are "loaded"; no base is open that would have skipped some."""
    loaded = {
        file.path.stem: {
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": file.details.get("base_name") or None,
            "shape": None,
            "vectors": None,
        }
        for file in files(studio, "embedding")
    }
    return {"loaded": loaded, "skipped": {}}


@router.get("/samplers")
def samplers() -> list[Row]:
    return [
        {
            "name": name,
            "aliases": [alias for alias, meant in ALIASES.items() if meant == name],
            "options": {} if sampler.calls_per_step == 1 else {"second_order": "True"},
        }
        for name, sampler in SAMPLERS.items()
    ]


@router.get("/schedulers")
def schedulers() -> list[Row]:
    return [
        {
            "name": label.lower().replace(" ", "_"),
            "label": label,
            "aliases": None,
            "default_rho": 7.0 if label == "Karras" else -1.0,
            "need_inner_model": label == "SGM Uniform",
        }
        for label in (AUTOMATIC, *(each for each in SCHEDULES if each != AUTOMATIC))
    ]


@router.get("/upscalers")
def upscalers() -> list[Row]:
    plain = {"model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
    return [{"name": name} | plain for name in PIXELS]


@router.get("/latent-upscale-modes")
def latent_upscale_modes() -> list[Row]:
    return [{"name": name} for name in LATENT]


@router.get("/scripts")
def scripts() -> dict[str, list[str]]:
    """None: the webui's are programs of its own."""
    return {"txt2img": [], "img2img": []}


@router.get("/sd-vae")
@router.get("/hypernetworks")
@router.get("/face-restorers")
@router.get("/realesrgan-models")
@router.get("/prompt-styles")
@router.get("/script-info")
@router.get("/extensions")
def nothing() -> list[Row]:
    """Of these there are none in Limner."""
    return []


@router.get("/cmd-flags")
def cmd_flags() -> Row:
    """The flags of the webui that say something true here."""
    return {"api": True, "listen": False, "share": False, "no_half": False, "skip_install": True, "nowebui": False}


@router.get("/memory")
def memory() -> Row:
    """Bytes; what a worker holds on an accelerator is the worker's to know."""
    return {"ram": _ram(), "cuda": {"error": "the server computes nothing, so it opens no accelerator"}}


def _ram() -> Row:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.split()[1].isdigit()}
        free, total = sizes["MemAvailable"], sizes["MemTotal"]
    except (OSError, KeyError, ValueError, IndexError):
        return {"error": "this machine does not say how much memory it has"}
    return {"free": free, "used": total - free, "total": total}


@router.post("/refresh-checkpoints")
@router.post("/refresh-loras")
@router.post("/refresh-embeddings")
@router.post("/refresh-vae")
async def refresh(studio: Studio) -> None:
    """Look for files that are new, changed or gone, and answer when that is done."""
    await studio.shelf.scan()
