"""A whole model as a folder in diffusers' layout, for programs that are written with it."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file, save_file

from limner.base import single
from limner.base.model import BaseModel
from limner.base.open import full_precision, open_base
from limner.errors import UserError
from limner.formats.verify import ReaderReport
from limner.weights import Weights

INDEX = "model_index.json"
READER = "diffusers"


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise UserError unless a model's folder can be made at a path: a new one, or in the place of another such one."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} is there already and no model in diffusers' layout; give another --diffusers-folder")
    if not overwrite:
        raise UserError(f"{folder} is there already; give another --diffusers-folder, or say --overwrite")


def save_folder(weights: Weights, folder: Path, model: BaseModel, dtype: torch.dtype = torch.float16) -> ReaderReport:
    """Write a checkpoint's weights, whole or not at all, and read them back; tokenizer and scheduler are the model's.

    Raises UserError if it cannot be written, or would be read otherwise.
    """
    check_folder(folder, overwrite=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
            made = Path(place) / "model"
            _write(weights, made, model, dtype)
            report = _verify(weights, made, folder, dtype)
            if folder.exists():
                folder.replace(Path(place) / "before")
            made.replace(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; choose another --diffusers-folder") from error
    return report


def size_of(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write(weights: Weights, folder: Path, model: BaseModel, dtype: torch.dtype) -> None:
    configs = json.loads(weights.metadata[single.ARCHITECTURE])
    networks: dict[str, Any] = {}
    for part in model.family.networks:
        prefix = f"{part}."
        state = {n.removeprefix(prefix): t.to(dtype) for n, t in weights.tensors.items() if n.startswith(prefix)}
        networks[part] = single.build(part, configs, state)
    tokenizers = {encoder.tokenizer: model.tokenizers[encoder.name] for encoder in model.family.encoders}
    others: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if "text_encoder_2" in networks:
        others = {"force_zeros_for_empty_prompt": True, "add_watermarker": False}
    make = getattr(diffusers, model.family.pipeline)
    pipeline = make(**networks, **tokenizers, scheduler=single.scheduler(configs), **others)
    pipeline.save_pretrained(folder)
    _wrap_text(folder / "text_encoder" / "model.safetensors")  # a second one, with a projection, still is wrapped
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _wrap_text(path: Path) -> None:
    """Give the text encoder's weights the `text_model.` that transformers before 5.6 look for, and later ones know."""
    tensors = load_file(path)
    save_file(
        {f"text_model.{name.removeprefix('text_model.')}": t for name, t in tensors.items()}, path, {"format": "pt"}
    )


def _verify(weights: Weights, made: Path, folder: Path, dtype: torch.dtype) -> ReaderReport:
    """Open the folder as every other, and compare. Raises UserError if it holds other weights."""
    opened = open_base(made, torch.device("cpu"), torch.float32)
    count, largest = 0, 0.0
    for part in opened.networks:
        for path, tensor in full_precision(opened, part).items():
            want = weights.tensors[f"{part}.{path}"].detach().float().cpu()
            if not torch.equal(tensor, want.to(dtype).float()):
                raise UserError(f"diffusers would not read {folder} as it was trained; save it again, and report it")
            largest = max(largest, float((tensor - want).norm() / want.norm().clamp(min=1e-30)))
            count += 1
    return ReaderReport(READER, count, (), largest)
