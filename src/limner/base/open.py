"""Open a base model by name: the pocket base, a diffusers folder, a single file, or a hub id in the cache."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast
from transformers.utils import logging as transformers_logging

from limner.base import pocket, single
from limner.base.attention import AttentionByShape
from limner.base.families import FAMILIES
from limner.base.model import BaseModel, Family, weights_of
from limner.base.norm import use_by_shape
from limner.base.sd1 import SD1
from limner.base.sd2 import SD2
from limner.base.sdxl import SDXL
from limner.errors import UserError
from limner.files import sha256_file


def open_base(name: str | Path, device: torch.device, dtype: torch.dtype) -> BaseModel:
    """Load a base model onto a device, without asking a hub for anything.

    `name` is "pocket", a folder in diffusers' layout, a single file as base/single.py has it, or a hub id
    ("owner/name") that the hub's cache holds. Raises UserError when it is none of these or a family that Limner does
    not know.
    """
    source = find_base(name)
    family = SD1 if source.is_file() else check_family(source)
    networks: dict[str, Any] = {part: _network(source, part, dtype) for part in family.networks}
    vocabulary = pocket.FOLDER if source.is_file() else source
    with _quiet():
        tokenizers = {
            encoder.name: CLIPTokenizerFast.from_pretrained(vocabulary / encoder.tokenizer, local_files_only=True)
            for encoder in family.encoders
        }
        scheduler = _scheduler(source)
    memory_format = torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format
    for part in ("unet", "vae"):
        networks[part].to(memory_format=memory_format)
    if device.type == "cpu":
        networks["unet"].set_attn_processor(AttentionByShape())
        use_by_shape(networks["unet"])
    return BaseModel(
        family=family,
        name=str(name),
        fingerprint=sha256_file(source) if source.is_file() else fingerprint(source),
        networks={part: network.to(device) for part, network in networks.items()},
        tokenizers=tokenizers,
        scheduler_config=dict(scheduler.config),
        alphas_cumprod=scheduler.alphas_cumprod.float(),
        source=source,
    )


def full_precision(model: BaseModel, part: str) -> dict[str, Tensor]:
    """A network's weights in float32 on the CPU, by limner.weights' paths: as their file has them, not as the model
    computes. Raises UserError if the file is no longer there."""
    if model.dtype == torch.float32 or model.source is None:
        network = model.networks[part]
    else:
        network = _network(find_base(model.source), part, torch.float32)
    return {name: tensor.float().cpu() for name, tensor in weights_of(network).items()}


def _network(source: Path, part: str, dtype: torch.dtype) -> nn.Module:
    """A network on the CPU, of a folder or a single file."""
    with _quiet():
        if source.is_file():
            return single.load_network(source, part, single.read_configs(source), dtype)
        return _load(_class(part), source, part, dtype)


def _class(part: str) -> Any:
    """The class of a network: a second text encoder is one with a projection."""
    return CLIPTextModelWithProjection if part == "text_encoder_2" else single.NETWORKS[part]


def _scheduler(source: Path) -> DDIMScheduler:
    if source.is_file():
        return single.scheduler(single.read_configs(source))
    return DDIMScheduler.from_config(json.loads((source / "scheduler" / "scheduler_config.json").read_text()))


def find_base(name: str | Path) -> Path:
    """The folder or file that a name stands for, found to be of a known family. Raises UserError."""
    path = Path(name).expanduser()
    if str(name) != pocket.NAME and path.is_file():
        if path.suffix != ".safetensors":
            raise UserError(f"the base {path} is a file of a kind that Limner does not read; use a .safetensors file")
        single.read_configs(path)
        return path
    folder = _find_folder(name)
    check_family(folder)
    return folder


def _find_folder(name: str | Path) -> Path:
    """The diffusers folder that a name stands for."""
    if str(name) == pocket.NAME:
        return pocket.FOLDER
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise UserError(f"the base {path} is not in diffusers' layout: it has no model_index.json")
        return path
    try:
        return Path(snapshot_download(str(name), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(
            f"no base model {str(name)!r}: it is neither a file or folder nor in the hub's cache on this machine; "
            "give a diffusers folder, or use --base pocket"
        ) from error


def check_family(folder: Path) -> Family:
    """The family of a folder that holds a whole model. Raises UserError if it is of none that Limner knows."""
    index = _json(folder / "model_index.json")
    if not (folder / "unet").is_dir():
        raise UserError(f"the base {folder} is a {index.get('_class_name')}, which has no UNet; {_USE}")
    unet = _json(folder / "unet" / "config.json")
    if unet["in_channels"] != 4:
        raise UserError(f"the base {folder} is an inpainting or editing model; use its plain version")
    if unet.get("addition_embed_type"):
        if not (folder / "text_encoder").is_dir():
            raise UserError(f"the base {folder} is XL's refiner, which draws no pictures by itself; use the XL base")
        family = SDXL
    else:
        family = SD2 if unet.get("use_linear_projection") else SD1
    missing = [part for part in parts_of(family) if not (folder / part).is_dir()]
    if missing:
        raise UserError(f"the base {folder} lacks {', '.join(missing)}; copy the whole diffusers folder")
    widths = [_json(folder / encoder.name / "config.json")["hidden_size"] for encoder in family.encoders]
    if unet["cross_attention_dim"] != sum(widths):
        raise UserError(f"the base {folder} is not {family.title}; {_USE}")
    return family


_USE = f"use one of {', '.join(family.title for family in FAMILIES.values())}"


def parts_of(family: Family) -> tuple[str, ...]:
    """The folders of a model in diffusers' layout."""
    return (*family.networks, *(encoder.tokenizer for encoder in family.encoders), "scheduler")


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"the base {path.parent} has no readable {path.name}; copy the whole folder again") from error


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's weights, configurations and vocabulary."""
    digest = hashlib.sha256()
    for path in sorted(p for part in parts_of(check_family(folder)) for p in (folder / part).rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _load(network_class, folder: Path, part: str, dtype: torch.dtype):  # type: ignore[no-untyped-def]
    names = {path.name for path in (folder / part).iterdir()}
    variant = "fp16" if any(".fp16." in name for name in names) and not _has_plain(names) else None
    key = "dtype" if part.startswith("text_encoder") else "torch_dtype"
    try:
        return network_class.from_pretrained(
            folder / part, variant=variant, local_files_only=True, use_safetensors=True, **{key: dtype}
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot read the weights in {folder / part} ({error}); copy the folder again") from error


def _has_plain(names: set[str]) -> bool:
    return bool(names & {"model.safetensors", "diffusion_pytorch_model.safetensors"})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or advice from the libraries while weights load."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    transformers_logging.disable_progress_bar()
    verbosity = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity[0])
        transformers_logging.set_verbosity(verbosity[1])
