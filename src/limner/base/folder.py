"""The networks, tokenizers and schedule of a folder in diffusers' layout (layout.py)."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast
from transformers.utils import logging as transformers_logging

from limner.base import single
from limner.base.family import Family
from limner.base.layout import read_config, read_scheduler
from limner.base.original import Configs, Place
from limner.base.published import check_sizes
from limner.base.sd3 import SD3
from limner.base.weight_files import find_weights, inventory
from limner.base.weight_reader import WeightReader, open_weights
from limner.errors import UserError
from limner.files import sha256_file
from limner.inventory import Inventory

MOST_TOKENIZERS = 8
_tokenizers: dict[tuple[Any, ...], CLIPTokenizerFast] = {}  # by how they pad and what is in their files


def load_network(
    folder: Path,
    family: Family,
    part: str,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> single.Reading[nn.Module]:
    """A network on the CPU. Yields the bytes of each tensor that is read. Raises UserError if it cannot be read."""
    place = folder / part
    with open_part(folder, part) as file:
        network = skeleton(folder, family, part)
        keys = stored_keys(part, file.shapes)

        def find(own: str) -> tuple[str, Place]:
            if own not in keys:
                raise UserError(
                    f"the weights in {place} lack {own}, which its config.json says they have; copy the folder again"
                )
            return keys[own], Place(keys[own])

        def complaint(fault: str) -> UserError:
            return UserError(f"{place} does not fit its config.json: {fault}; use a folder whose files belong together")

        return single.filled(network, (yield from single.taken(file, network, find, dtype, complaint, memory_format)))


def open_part(folder: Path, part: str, is_widened: bool = False) -> AbstractContextManager[WeightReader]:
    """Open the files of a network's weights, as WeightReader says. Raises UserError."""
    return open_weights(folder / part, find_weights(folder / part), is_widened)


def skeleton(folder: Path, family: Family, part: str) -> Any:
    """A network without its weights, as its config.json says. Raises UserError if no network can be made so."""
    is_projecting = part == "text_encoder_2" or (part.startswith("text") and family.name == SD3.name)
    network_class = CLIPTextModelWithProjection if is_projecting else None
    try:
        config = single.essential(part, read_config(folder, part))
        check_sizes(config)
        with quiet():
            return single.skeleton(part, {part: config}, network_class)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, NotImplementedError) as error:
        raise UserError(
            f"{folder / part}/config.json describes a network that cannot be made ({str(error).splitlines()[0]}); copy "
            "the folder again"
        ) from error


def stored_keys(part: str, keys: Iterable[str]) -> dict[str, str]:
    """{our own name of a weight: its key}, of the keys in a network's files, as any version of the libraries wrote
    them. Of two spellings the one counts that the libraries write now."""
    found: dict[str, str] = {}
    for key in sorted(keys, key=lambda key: "text_model." in key or ".to_" in key):
        found[single.own_name(single.since_017(key) if part == "vae" else key)] = key
    return found


def remarks(folder: Path, family: Family, names: Mapping[str, Iterable[str]], other_vae: bool = False) -> list[str]:
    """What is in a model's folder and is not used: files, and tensors of those that are. names: of each network's
    weights, our own without the network's. Raises UserError."""
    found = inventory(folder, family.networks).remarks(folder, "file of weights", "files of weights")
    for part, wanted in names.items():
        if part == "vae" and other_vae:
            continue
        with open_part(folder, part) as file:
            keys, wanted = stored_keys(part, file.shapes), set(wanted)
            tensors = Inventory(file.shapes)
            tensors.use(*(key for own, key in keys.items() if own in wanted or single.is_needless(own)))
            found += tensors.remarks(folder / part, "tensor", "tensors")
    return found


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
