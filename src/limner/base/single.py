"""A whole model in one file, in the original releases' layout: those that Limner writes, and anyone's of 1.x, 2.x, XL.

Limner's own say how their networks are made, so that narrower ones open too; others are made as the published models
are. Weights are read a tensor at a time into networks that have none, so that a model is never in memory twice.
"""

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from limner.base.identify import ARCHITECTURE, TITLES, Identity, identify_base
from limner.base.model import BaseModel
from limner.base.original import VAE, Configs, Place, family_name, is_kept, place, places, with_wrapper
from limner.base.published import check_sizes, published
from limner.container import TensorFile, open_tensors
from limner.errors import UserError
from limner.texts import display, read_text

__all__ = [
    "ARCHITECTURE",
    "NETWORKS",
    "build",
    "describe",
    "essential",
    "identify_file",
    "load_network",
    "names_of",
    "read_configs",
    "scheduler",
    "skeleton",
]

NETWORKS = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
_OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # diffusers' until 0.17
MOST_YAML_BYTES = 1 << 20  # of a configuration; what is larger is none
_YAML = re.compile(r"""^\s*parameterization:\s*["']?(\w+)""", re.MULTILINE)


def describe(model: BaseModel) -> str:
    """The metadata's entry for a model: its configurations as JSON, without names of places."""
    return json.dumps(configs_of(model), sort_keys=True)


def configs_of(model: BaseModel) -> Configs:
    """The configurations of a model's networks and scheduler."""
    told: dict[str, dict[str, Any]] = {"scheduler": model.scheduler_config}
    for part, network in model.networks.items():
        told[part] = network.config.to_dict() if part.startswith("text") else dict(network.config)
    return {part: essential(part, config) for part, config in told.items()}


def identify_file(path: Path) -> Identity:
    """What a single file is, by itself and by the webui's .yaml beside it. Raises UserError if it cannot be read."""
    with open_tensors(path) as file:
        return _identify(file)


def _identify(file: TensorFile) -> Identity:
    found = identify_base(file.shapes, file.metadata, file.path.stem)
    if found.refusal or found.known_by not in ("default", "probe needed"):
        return found
    endings = (".yaml", ".YAML")
    beside = next((each for end in endings if os.path.isfile(each := file.path.with_suffix(end))), None)
    try:
        if beside is None or beside.stat().st_size > MOST_YAML_BYTES:
            return found
        told = _YAML.search(read_text(beside, is_data=True))
    except OSError as error:
        raise UserError(
            f"cannot read {display(beside)} ({error.strerror}); make it readable, or move it away"
        ) from error
    if told is None:
        return found
    predicted = "v_prediction" if told[1] == "v" else "epsilon"
    said = f"{beside.name} beside it says parameterization: {told[1]}"
    return replace(found, prediction_type=predicted, known_by="config", reasons=(*found.reasons[:-1], said))


def read_configs(path: Path, identity: Identity | None = None) -> Configs:
    """How the networks of a file are made. Raises UserError if it is no model that Limner can open."""
    with open_tensors(path) as file:
        found = identity or _identify(file)
        if found.refusal:
            raise UserError(f"the base {path} is {found.title}: {found.refusal}")
        said = file.metadata.get(ARCHITECTURE)
        if not said:
            return published(found.family, found.prediction_type, found.zero_terminal_snr)
        configs = _read(said, path)
    if family_name(configs) != found.family:
        raise _cannot_be(path)
    return configs


def load_network(
    path: Path,
    part: str,
    configs: Configs,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> nn.Module:
    """One of the NETWORKS, on the CPU. Raises UserError if the file does not hold it as its configuration says."""
    with _describing(path):
        network = skeleton(part, configs)
        return _filled(network, _read_state(path, part, network, configs, dtype, memory_format))


def load_state(path: Path, part: str, configs: Configs) -> dict[str, Tensor]:
    """The weights of one of the NETWORKS in the file's own dtypes, by limner.weights' paths. Raises UserError."""
    with _describing(path):
        return _read_state(path, part, skeleton(part, configs), configs, None)


def load_vae(path: Path, configs: Configs, dtype: torch.dtype) -> nn.Module:
    """A VAE from a file of its own, or out of a whole model's, made as the base's is and for its scale of latents.

    Its names may be the original's, with or without what precedes them in a whole model, or diffusers'. Raises
    UserError if it is none, or of another shape.
    """
    with open_tensors(path) as file:
        names = file.shapes.keys()

        def find(own: str) -> tuple[str, Place]:
            its = place(f"vae.{own}", configs)
            old = own
            for new, before in _OLD_ATTENTION.items():
                old = old.replace(f".{new}.", f".{before}.") if ".attentions." in own else old
            for key in (its.key, its.key.removeprefix(VAE), own, old, f"vae.{own}"):
                if key in names:
                    return key, its
            raise UserError(f"the VAE {path} has no {its.key.removeprefix(VAE)}; give another file with --vae")

        network = skeleton("vae", configs)
        return _filled(network, _taken(file, "vae", network, configs, dtype, find))


def kept(path: Path, configs: Configs) -> dict[str, Tensor]:
    """What a single file holds beside its networks that other programs may look for, by its own keys and in its own
    dtypes: buffers, marks, and parts of text encoders that no picture depends on. Raises UserError."""
    family = family_name(configs)
    claimed = {key for part in networks_of(configs) for key in places(names_of(part, configs), configs)}
    with open_tensors(path) as file:
        wanted = {key: with_wrapper(key) for key in file.shapes}
        return {key: file.get(name) for name, key in wanted.items() if key not in claimed and is_kept(key, family)}


def networks_of(configs: Configs) -> list[str]:
    """The networks that configurations are of."""
    return [part for part in NETWORKS if configs.get(part)]


def build(part: str, configs: Configs, state: Mapping[str, Tensor]) -> nn.Module:
    """A network of its configuration with these weights, by limner.weights' paths."""
    return _filled(skeleton(part, configs), state)


def _filled(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    network.load_state_dict({name: state[own_name(name)] for name in network.state_dict()}, assign=True)
    return network


def own_name(name: str) -> str:
    """transformers' name of a weight without the `text_model.` that some of its versions have."""
    return name.removeprefix("text_model.")


def scheduler(configs: Configs) -> DDIMScheduler:
    return DDIMScheduler.from_config(dict(configs["scheduler"]))


def _read_state(
    path: Path,
    part: str,
    network: nn.Module,
    configs: Configs,
    dtype: torch.dtype | None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> dict[str, Tensor]:
    with open_tensors(path) as file:
        keys = {with_wrapper(key): key for key in file.shapes}

        def find(own: str) -> tuple[str, Place]:
            its = place(f"{part}.{own}", configs)
            return keys.get(its.key, its.key), its

        return _taken(file, part, network, configs, dtype, find, memory_format)


def _taken(
    file: TensorFile,
    part: str,
    network: nn.Module,
    configs: Configs,
    dtype: torch.dtype | None,
    find: Callable[[str], tuple[str, Place]],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> dict[str, Tensor]:
    """A network's weights out of a file, in a dtype or the file's. find: our own name -> the file's key, and what lies
    there."""
    state = {}
    shared: dict[str, tuple[Tensor, int]] = {}  # what further thirds will be taken of, and how many
    for name, empty in network.state_dict().items():
        own = own_name(name)
        key, its = find(own)
        if key not in file.shapes:
            raise _lacking(file, part, key)
        shape = its.shape(tuple(empty.shape))
        if file.shapes[key] not in (shape, tuple(empty.shape)) or not file.dtypes[key].is_floating_point:
            raise UserError(
                f"{file.path} is not {TITLES[family_name(configs)]} as its makers published it: its {key} is "
                f"{file.shapes[key]} of {file.dtypes[key]}, not {shape}; use another model, or a diffusers folder of it"
            )
        if its.third is None:
            tensor = its.take(file.get_as(key, dtype or file.dtypes[key], memory_format))
            state[own] = tensor if tensor.is_contiguous(memory_format=memory_format) else tensor.contiguous()
            continue
        if key not in shared:
            shared[key] = file.get_as(key, dtype or file.dtypes[key]), 3
        whole, left = shared.pop(key)
        state[own] = its.take(whole).clone()
        if left > 1:
            shared[key] = whole, left - 1
    return state


def _lacking(file: TensorFile, part: str, key: str) -> UserError:
    if part == "vae" and not any(name.startswith(VAE) for name in file.shapes):
        return UserError(
            f"the base {file.path} has no VAE of its own; limner train and limner generate take one with --vae"
        )
    return UserError(f"the base {file.path} lacks {key}; its copy is not whole, so copy or download it again")


def skeleton(part: str, configs: Configs) -> Any:
    """A network without its weights."""
    with torch.device("meta"):
        if part.startswith("text"):
            network: Any = NETWORKS[part](CLIPTextConfig(**configs[part]))
        else:
            network = NETWORKS[part].from_config(dict(configs[part]))
    for module in network.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:  # CLIP's position_ids, which no file need have
                module._buffers[name] = torch.arange(buffer.shape[-1]).expand(buffer.shape)
    return network


def names_of(part: str, configs: Configs) -> Iterable[str]:
    """Our own names of a network's tensors."""
    return (f"{part}.{own_name(name)}" for name in skeleton(part, configs).state_dict())


def _read(said: str, path: Path) -> Configs:
    try:
        told = json.loads(said)
        check_sizes(told)
        parts = [part for part in NETWORKS if part != "text_encoder_2" or "text_encoder_2" in told]
        return {part: essential(part, told[part]) for part in (*parts, "scheduler")}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise _cannot_be(path) from error


@contextmanager
def _describing(path: Path) -> Iterator[None]:
    """Whatever a configuration makes networks' classes raise is the file's fault."""
    try:
        yield
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise _cannot_be(path) from error


def _cannot_be(path: Path) -> UserError:
    return UserError(f"the base {path} describes itself in a way that cannot be; copy it again")


def essential(part: str, config: Any) -> dict[str, Any]:
    """What a network's class takes, for a stranger's file may say more, and our own caches hold folders."""
    if part.startswith("text"):
        told = {"architectures", "transformers_version", "dtype", "torch_dtype", "model_type"}
        return {name: value for name, value in config.items() if name[0] != "_" and name not in told}
    owner: Any = DDIMScheduler if part == "scheduler" else NETWORKS[part]
    taken = inspect.signature(owner.__init__).parameters
    return {name: value for name, value in config.items() if name in taken}
