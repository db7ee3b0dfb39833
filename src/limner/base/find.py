"""Where a base model lies and what it is, found without opening it: of a folder without torch, which takes seconds."""

import itertools
import os
from pathlib import Path
from types import ModuleType

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from limner.base import layout, pocket
from limner.base.families import FAMILIES
from limner.base.identify import Identity
from limner.base.weight_files import find_weights
from limner.config import KIND_FOLDERS, nearest_few
from limner.errors import UserError
from limner.inventory import named
from limner.texts import display

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".bin")
MOST_LOOKED_AT = 2000  # entries of a folder, for names like a misspelt one


def identify(source: Path) -> Identity:
    """What a folder or a single file is. Raises UserError if it cannot be read."""
    return _single().identify_file(source) if source.is_file() else layout.identify_folder(source)


def resolution_of(name: str | Path) -> int:
    """The size in pixels that a base model was trained at, without loading it. Raises UserError."""
    source = find_base(name)
    identity = identify(source)
    denoiser = FAMILIES[identity.family].denoiser
    if source.is_file():
        configs = _single().read_configs(source, identity)
    else:
        configs = {part: layout.read_config(source, part) for part in (denoiser, "vae")}
    levels = len(configs["vae"]["block_out_channels"])
    return int(configs[denoiser]["sample_size"]) * 2 ** (levels - 1)


def find_base(name: str | Path) -> Path:
    """The folder or file that a name stands for, found to be of a known family. Raises UserError."""
    path = Path(name).expanduser()
    if str(name) != pocket.NAME and path.is_file():
        _single().read_configs(path)
        return path
    found = _find_folder(name)
    layout.check_family(found)
    return found


def _find_folder(name: str | Path) -> Path:
    """The diffusers folder that a name stands for."""
    if str(name) == pocket.NAME:
        return pocket.FOLDER
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / layout.INDEX).is_file():
            raise UserError(_no_model_in(path))
        return path
    try:
        return Path(snapshot_download(str(name), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(_not_there(str(name), path)) from error


def _no_model_in(folder: Path) -> str:
    """What to say of a folder that is not in diffusers' layout."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    inside = [path for path in sorted(folder.iterdir()) if (path / layout.INDEX).is_file()]
    said = f"the base {display(folder)} is a folder without {layout.INDEX}, so it is not in diffusers' layout"
    if len(files) == 1:
        return f"{said}; if you mean the file in it, give {display(files[0])}"
    if files or inside:
        return f"{said}; give one of what is in it: {named([each.name for each in (*inside, *files)])}"
    return f"{said}; give a checkpoint file, or the whole folder of a model"


def _not_there(name: str, path: Path) -> str:
    """What to say of a name that stands for nothing: the nearest that there are, and how to get one."""
    is_file = path.suffix.lower() in SUFFIXES or len(Path(name).parts) != 2 or name.startswith((".", "/", "~"))
    if is_file:
        said = f"no base model {display(name)!r}: there is no such file or folder"
    else:
        said = f"no base model {display(name)!r}: it is neither a file or folder nor in the hub's cache on this machine"
    fetch = "find one with limner search and fetch it with limner download"
    fetch += "" if is_file else f", as in limner download hub:{display(name)}"
    near = _nearest(path)
    return f"{said}; did you mean {' or '.join(map(display, near))}? Or {fetch}" if near else f"{said}; {fetch}"


def _nearest(path: Path) -> list[str]:
    """Models with a name like that of a path, where it points to and in the models folder, as they are to be given."""
    models = Path(os.environ.get("LIMNER_MODELS") or "models") / KIND_FOLDERS["checkpoint"]
    found: dict[str, str] = {}
    for place, entries in ((path.parent, path.parent.glob("*")), (models, models.rglob("*"))):
        for each in itertools.islice(entries, MOST_LOOKED_AT) if place.is_dir() else ():
            if each.suffix.lower() in SUFFIXES or (each / layout.INDEX).is_file():
                found.setdefault(each.stem if each.is_file() else each.name, str(each))
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return [found[each] for each in nearest_few(stem, found)]


def find_vae(path: Path) -> Path:
    """The file with a VAE's weights that a file or a diffusers folder stands for. Raises UserError."""
    path = path.expanduser()
    if path.is_file():
        return path
    for place in (path, path / "vae"):
        if (place / "config.json").is_file() or any(place.glob("diffusion_pytorch_model*")):
            found, *others = find_weights(place)
            if others:
                raise UserError(f"the VAE in {place} is in several files; give one file of it with --vae")
            return found
    raise UserError(f"there is no VAE at {path}; give a file, or a folder in diffusers' layout, with --vae")


def _single() -> ModuleType:
    """What reads single files, which brings torch and diffusers."""
    from limner.base import single

    return single
