"""The webui's settings: those that mean something here, kept in the database; all others are passed by."""

from typing import Any

from fastapi import APIRouter, HTTPException

from limner.errors import UserError
from limner.studio.json_body import JSONRoute
from limner.studio.sdapi.checkpoints import checkpoints, find_checkpoint
from limner.studio.state import State, Studio

router = APIRouter(route_class=JSONRoute)

MODEL, CLIP_SKIP, VAE = "sd_model_checkpoint", "CLIP_stop_at_last_layers", "sd_vae"
OWN_VAE = ("Automatic", "None", "")
# What holds for every picture of Limner's, whatever is asked.
FIXED = {
    "samples_format": "png",
    "enable_pnginfo": True,
    "randn_source": "CPU",
    "emphasis": "Original",
    "eta_noise_seed_delta": 0,
    "img2img_fix_steps": False,
    "initial_noise_multiplier": 1.0,
    "return_grid": False,
}
MOST_CLIP_SKIP = 12
Options = dict[str, Any]


@router.get("/options")
def get_options(studio: Studio) -> Options:
    return options(studio)


@router.post("/options")
def set_options(changes: Options, studio: Studio) -> None:
    """Change some for all requests to come, until they are changed again."""
    try:
        for name, value in read_options(studio, changes).items():
            studio.jobs.set_option(name, value)
    except UnknownCheckpoint as error:
        raise HTTPException(422, str(error)) from error


class UnknownCheckpoint(UserError):
    pass


def options(studio: State, changes: Options | None = None) -> Options:
    """The settings, some of them changed as for one request. Raises UserError."""
    own = {MODEL: None, CLIP_SKIP: 1, VAE: "Automatic"}
    kept = own | {name: value for name, value in studio.jobs.options().items() if name in own}
    kept |= read_options(studio, changes or {})
    try:
        checkpoint = checkpoints(studio)[0] if kept[MODEL] is None else find_checkpoint(studio, kept[MODEL])
    except UserError:  # it is gone since it was chosen
        checkpoint = checkpoints(studio)[0]
    return FIXED | kept | {MODEL: checkpoint.title, "sd_checkpoint_hash": checkpoint.sha256}


def read_options(studio: State, changes: Options) -> Options:
    """Those of the changes that mean something here, as they are kept: a checkpoint by its name on the shelf.

    Raises UserError for a value that will not do.
    """
    kept: Options = {}
    if changes.get(MODEL) is not None:
        try:
            kept[MODEL] = find_checkpoint(studio, str(changes[MODEL])).name
        except UserError as error:
            raise UnknownCheckpoint(str(error)) from error
    if changes.get(CLIP_SKIP) is not None:
        skip = changes[CLIP_SKIP]
        if isinstance(skip, bool) or not isinstance(skip, int | float) or not 1 <= skip <= MOST_CLIP_SKIP:
            raise UserError(f"{CLIP_SKIP} must be a whole number from 1 to {MOST_CLIP_SKIP}")
        kept[CLIP_SKIP] = int(skip)
    if changes.get(VAE) is not None:
        if changes[VAE] not in OWN_VAE:
            raise UserError(f"{VAE}: there are no VAE files on Limner's shelf; leave it at Automatic")
        kept[VAE] = changes[VAE] or "Automatic"
    return kept


@router.post("/unload-checkpoint")
@router.post("/reload-checkpoint")
def unload() -> dict[str, str]:
    """Nothing is to be done: a worker opens the base that a request names, and ends when it is idle."""
    return {}
