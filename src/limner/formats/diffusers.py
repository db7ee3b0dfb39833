"""A whole model as a folder in diffusers' layout, for programs that are written with it."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from limner.base import single
from limner.base.family import Family
from limner.base.model import BaseModel
from limner.base.open import full_precision, open_base
from limner.base.original import Configs
from limner.base.weight_files import plain_name
from limner.container.header import SUFFIX, all_finite, in_order
from limner.container.writer import writing
from limner.errors import UserError
from limner.files import new_folder
from limner.formats.verify import ReaderReport
from limner.weights import Weights

INDEX = "model_index.json"
READER = "diffusers"


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise UserError unless a model's folder can be made at a path: a new one, or in the place of another such one."""
    if folder.suffix == SUFFIX:
        raise UserError(f"{folder} is the name of a file; give that of a folder")
    if not folder.exists() and not folder.is_symlink():
        return
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} is there already and no model in diffusers' layout; choose another folder")
    if not overwrite:
        raise UserError(f"{folder} is there already; choose another folder, or say --overwrite")


def save_folder(
    weights: Weights, folder: Path, model: BaseModel, dtype: torch.dtype = torch.float16, overwrite: bool = True
) -> tuple[Path, ReaderReport]:
    """Write a checkpoint's weights, whole or not at all, and read them back; tokenizer and scheduler are the model's.

    Returns where it is: without `overwrite` at another path than `folder` if something had that by then; and what
    diffusers makes of it. Raises UserError if it cannot be written, or would be read otherwise.
    """
    is_model = not folder.exists() or (folder / INDEX).is_file()
    with new_folder(folder, overwrite and is_model, None) as new:
        _write(weights, new.temporary, model, dtype)
        report = _verify(weights, new.temporary, folder, dtype)
    return new.path, report


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _write(weights: Weights, folder: Path, model: BaseModel, dtype: torch.dtype) -> None:
    configs = json.loads(weights.metadata[single.ARCHITECTURE])
    for _ in write_folder(
        folder, model.family, configs, model.tokenizers, weights.tensors.__getitem__, lambda _: dtype
    ):
        pass


def write_folder(
    folder: Path,
    family: Family,
    configs: Configs,
    tokenizers: Mapping[str, Any],
    get: Callable[[str], Tensor],
    dtype_of: Callable[[str], torch.dtype],
) -> Iterator[str]:
    """Write a model into a new folder, a tensor at a time: yields the name of each when it is written.

    tokenizers: by the text encoder's name. get, dtype_of: what a name of limner.weights stands for, and in which number
    format it is to be stored. Raises UserError for numbers that are not finite in it.
    """
    networks = {part: single.skeleton(part, configs) for part in family.networks}
    chosen = {encoder.tokenizer: tokenizers[encoder.name] for encoder in family.encoders}
    others: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if "text_encoder_2" in networks:
        others = {"force_zeros_for_empty_prompt": True, "add_watermarker": False}
    told = configs["scheduler"]
    scheduler = (
        diffusers.FlowMatchEulerDiscreteScheduler(shift=float(told.get("shift") or 1.0))
        if told.get("prediction_type") == "flow"
        else single.scheduler(configs)
    )
    pipeline = getattr(diffusers, family.pipeline)(**networks, **chosen, scheduler=scheduler, **others)
    pipeline.save_config(folder)
    for name, part in {"scheduler": scheduler, **chosen}.items():
        part.save_pretrained(folder / name)
    for part, network in networks.items():
        yield from _write_network(folder / part, part, network, get, dtype_of)


def _write_network(
    folder: Path, part: str, network: Any, get: Callable[[str], Tensor], dtype_of: Callable[[str], torch.dtype]
) -> Iterator[str]:
    """One network's configuration and weights."""
    if part.startswith("text"):
        network.config.architectures = [type(network).__name__]
        network.config.save_pretrained(folder)
    else:
        network.save_config(folder)
    keys = {_stored_name(part, single.own_name(name)): name for name in network.state_dict()}
    own = {key: f"{part}.{single.own_name(name)}" for key, name in keys.items()}
    shapes = {key: tuple(network.state_dict()[name].shape) for key, name in keys.items()}
    dtypes = {key: dtype_of(name) for key, name in own.items()}
    with writing(folder / plain_name(part), shapes, dtypes, {"format": "pt"}) as writer:
        for key in in_order(dtypes):
            tensor = get(own[key]).detach().to("cpu", dtypes[key])
            if not all_finite({key: tensor}):
                raise UserError(
                    f"{own[key]} would hold numbers that {dtypes[key]} cannot; write the file in bf16 or fp32"
                )
            writer.add(tensor.reshape(shapes[key]))
            yield own[key]


def _stored_name(part: str, own: str) -> str:
    """Of a text encoder with the `text_model.` that transformers before 5.6 look for, and later ones know."""
    return f"text_model.{own}" if part.startswith("text") and not own.startswith("text_projection") else own


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
