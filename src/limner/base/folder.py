"""The networks, tokenizers and schedule of a folder in diffusers' layout (layout.py)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, SD3Transformer2DModel
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizerFast
from transformers.utils import logging as transformers_logging

from limner.base import single
from limner.base.family import Family
from limner.base.layout import read_config, read_scheduler
from limner.base.original import Configs
from limner.errors import UserError, is_out_of_memory
from limner.files import sha256_file

CLASSES: dict[str, Any] = single.NETWORKS | {"transformer": SD3Transformer2DModel}
ALIGNMENT = 64  # bytes, as the allocator has it
MOST_TOKENIZERS = 8
_tokenizers: dict[tuple[Any, ...], CLIPTokenizerFast] = {}  # by how they pad and what is in their files


def load_network(folder: Path, part: str, dtype: torch.dtype) -> nn.Module:
    """A network on the CPU. Raises UserError if it cannot be read."""
    names = {path.name for path in (folder / part).iterdir()}
    variant = "fp16" if any(".fp16." in name for name in names) and not _has_plain(names) else None
    key = "dtype" if part.startswith("text_encoder") else "torch_dtype"
    network_class = CLASSES[part]
    if network_class is CLIPTextModel and CLIPTextModelWithProjection.__name__ in _architectures(folder, part):
        network_class = CLIPTextModelWithProjection
    try:
        with quiet():
            network = network_class.from_pretrained(
                folder / part, variant=variant, local_files_only=True, use_safetensors=True, **{key: dtype}
            )
    except (OSError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"cannot read the weights in {folder / part} ({error}); copy the folder again") from error
    _align(network)
    return network


def _align(network: nn.Module) -> None:
    """Move weights off the odd places at which a file has them: from those, some processors compute the last bit
    otherwise than from a single file's, which are copied (single.py)."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


def load_tokenizer(folder: Path, name: str, pad: str | None = None) -> CLIPTokenizerFast:
    """A tokenizer, padding as it says or with another token. It is not to be changed: nearly all models bring the same
    one, of which reading takes as long as reading a small network, and so it is kept for the next."""
    files = sorted(path for path in (folder / name).glob("*") if path.is_file())
    contents = (pad, *((path.name, sha256_file(path)) for path in files))
    if contents not in _tokenizers:
        chosen = {} if pad is None else {"pad_token": pad}
        with quiet():
            found = CLIPTokenizerFast.from_pretrained(folder / name, local_files_only=True, **chosen)
        _tokenizers[contents] = found
        if len(_tokenizers) > MOST_TOKENIZERS:
            del _tokenizers[next(iter(_tokenizers))]
    return _tokenizers[contents]


def read_configs(folder: Path, family: Family) -> Configs:
    """How a model's networks and its noise schedule are made. Raises UserError."""
    configs = {part: single.essential(part, read_config(folder, part)) for part in family.networks}
    return configs | {"scheduler": single.essential("scheduler", dict(load_scheduler(folder).config))}


def load_scheduler(folder: Path) -> DDIMScheduler:
    with quiet():
        return DDIMScheduler.from_config(read_scheduler(folder))


def _architectures(folder: Path, part: str) -> list[str]:
    return read_config(folder, part).get("architectures") or []


def _has_plain(names: set[str]) -> bool:
    return bool(names & {"model.safetensors", "diffusion_pytorch_model.safetensors"})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
