"""Where the files of a run go, and where those lie that prompts can name: as the webui has them."""

import re
from collections.abc import Iterable
from pathlib import Path

from limner.config import KIND_FOLDERS, TrainSettings
from limner.errors import UserError
from limner.files import check_name, require_not_read, require_writable
from limner.formats.bundle import bundled_name
from limner.formats.diffusers import INDEX, check_folder
from limner.library.filenames import clean_stem
from limner.methods.method import find_methods
from limner.named import PromptFiles


def default_out(settings: TrainSettings) -> Path:
    """The last-named method's file in the models folder, as in models/Lora/KEYWORD.safetensors."""
    return settings.models / kind_folders(settings)[-1] / _file_name(settings)


def outputs(settings: TrainSettings) -> list[Path]:
    """The file of each method, but with `bundle` not of embeddings. The last one is `out`; others lie where the webui
    has their kind, in the models folder or, with an `out` of its own, beside it."""
    main = settings.out or default_out(settings)
    beside = settings.models if main == default_out(settings) else main.parent
    return [*(beside / folder / _file_name(settings) for folder in kind_folders(settings)[:-1]), main]


def kind_folders(settings: TrainSettings) -> list[str]:
    kinds = [method.kind for method in find_methods(settings.method).values()]
    if settings.bundle:
        if "lora" not in kinds or "embedding" not in kinds:
            raise UserError(
                f"bundle puts an embedding into a LoRA's file, but the method {settings.method} does not train both; "
                "leave --bundle out, or use --method pivotal"
            )
        kinds = [kind for kind in kinds if kind != "embedding"]
    return [KIND_FOLDERS[kind] for kind in kinds]


def _file_name(settings: TrainSettings) -> str:
    """KEYWORD.safetensors, the keyword without what file names cannot hold."""
    stem = re.sub(r"[^\w.-]+", "_", settings.keyword).strip("._")
    return f"{clean_stem(stem, 'subject')}.safetensors"


def check_out(settings: TrainSettings) -> None:
    """Raise UserError unless the files to write have a place, before hours are spent on them."""
    inputs = [path for path in (Path(settings.base).expanduser(), settings.vae) if path is not None]
    if settings.bundle:
        bundled_name(settings.keyword)
    if settings.diffusers_folder is not None:
        if KIND_FOLDERS["checkpoint"] not in kind_folders(settings):
            raise UserError(
                f"diffusers_folder is for whole models, and the method {settings.method} trains none; leave it out"
            )
        check_folder(settings.diffusers_folder, settings.overwrite)
        require_not_read(settings.diffusers_folder, inputs)
        require_writable(settings.diffusers_folder / INDEX, "--diffusers-folder")
    for out in outputs(settings):
        check_name(out)
        if out.suffix != ".safetensors":
            raise UserError(f"{out} does not end in .safetensors, by which other programs find it; correct --out")
        if out.is_dir():
            raise UserError(f"{out} is a folder; give the name of a file with --out")
        require_not_read(out, inputs)
        if out.exists() and not settings.overwrite:
            raise UserError(f"{out} is there already; give another file with --out, or say --overwrite")
        require_writable(out)


def prompt_files(models: Path, loras: Iterable[Path] = (), embeddings: Iterable[Path] = ()) -> PromptFiles:
    """What a models folder holds for prompts, as far as there is one, and others."""
    own = {kind: models / KIND_FOLDERS[kind] for kind in ("lora", "embedding")}
    found = {kind: [folder] if folder.is_dir() else [] for kind, folder in own.items()}
    return PromptFiles(*found["lora"], *loras, embeddings=[*found["embedding"], *embeddings])
