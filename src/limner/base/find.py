"""Where a base model lies and what it is, found without opening it: of a folder without torch, which takes seconds."""

from pathlib import Path
from types import ModuleType

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from limner.base import layout, pocket
from limner.base.families import FAMILIES
from limner.base.identify import Identity
from limner.base.weight_files import find_weights
from limner.errors import UserError


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
            raise UserError(f"the base {path} is not in diffusers' layout: it has no {layout.INDEX}")
        return path
    try:
        return Path(snapshot_download(str(name), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(
            f"no base model {str(name)!r}: it is neither a file or folder nor in the hub's cache on this machine; "
            "give a diffusers folder, or use --base pocket"
        ) from error


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
