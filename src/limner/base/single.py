"""A whole model in one file, in the original release's layout: those that Limner writes, and Stable Diffusion 1.x's.

Limner's own say how their networks are made, so that narrower ones open too; of others the shapes must be the
original's. The vocabulary is always CLIP's.
"""

import functools
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from limner.base.model import BaseModel, text_core
from limner.base.original import Configs, is_pointwise, original_name
from limner.errors import UserError

ARCHITECTURE = "limner.architecture"  # the metadata's entry with the configurations
NETWORKS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
FIRST = "model.diffusion_model.input_blocks.0.0.weight"  # only this layout has it

# Stable Diffusion 1.x, where it is not what diffusers takes by itself.
ORIGINAL: dict[str, dict[str, Any]] = {
    "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "vae": {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "sample_size": 512,
    },
    "text_encoder": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    },
    "scheduler": {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
}


def describe(model: BaseModel) -> str:
    """The metadata's entry for a model: its configurations as JSON, without names of places."""
    configs = {part: dict(model.networks[part].config) for part in ("unet", "vae")}
    configs |= {encoder.name: model.networks[encoder.name].config.to_dict() for encoder in model.family.encoders}
    configs["scheduler"] = model.scheduler_config
    return json.dumps({part: _essential(part, config) for part, config in configs.items()}, sort_keys=True)


def read_configs(path: Path) -> Configs:
    """How the networks of a file are made. Raises UserError if it is no model that Limner can open."""
    with _opened(path) as file:
        if FIRST not in file.keys():  # noqa: SIM118 (no mapping)
            raise UserError(f"the base {path} is a single file but no Stable Diffusion 1.x checkpoint; use another")
        said = (file.metadata() or {}).get(ARCHITECTURE)
    return _read(said, path) if said else _skeletons_config()


def load_network(path: Path, part: str, configs: Configs, dtype: torch.dtype) -> nn.Module:
    """One of the NETWORKS, on the CPU. Raises UserError if the file does not hold it as its configuration says."""
    try:
        with _opened(path) as file, torch.no_grad():
            known = set(file.keys())
            state = {}
            for name, empty in text_core(_skeleton(part, configs)).state_dict().items():
                key = original_name(f"{part}.{name}", configs)
                if key not in known and part == "text_encoder":
                    key = key.replace("text_model.", "", 1)  # as files from newer libraries have it
                if key not in known:
                    raise UserError(f"the base {path} lacks {key}; it is no whole Stable Diffusion 1.x model")
                shape = (*empty.shape, 1, 1) if is_pointwise(f"{part}.{name}") else tuple(empty.shape)
                tensor = file.get_tensor(key)
                if tuple(tensor.shape) not in (shape, tuple(empty.shape)):
                    raise UserError(
                        f"the base {path} is not Stable Diffusion 1.x: its {key} is {tuple(tensor.shape)}, "
                        f"not {shape}; use a 1.x model"
                    )
                state[name] = tensor.reshape(empty.shape).to(dtype, copy=True)
            return build(part, configs, state)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"the base {path} describes itself in a way that cannot be; copy it again") from error


def build(part: str, configs: Configs, state: dict[str, Tensor]) -> nn.Module:
    """A network of its configuration with these weights, by limner.weights' paths."""
    network = _skeleton(part, configs)
    text_core(network).load_state_dict(state, assign=True)
    return network


def scheduler(configs: Configs) -> DDIMScheduler:
    return DDIMScheduler.from_config(dict(configs["scheduler"]))


def _skeleton(part: str, configs: Configs) -> Any:
    """A network without its weights."""
    with torch.device("meta"):
        if part == "text_encoder":
            network: Any = CLIPTextModel(CLIPTextConfig(**configs[part]))
        else:
            network = NETWORKS[part].from_config(dict(configs[part]))
    for module in network.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:  # CLIP's position_ids, which no file need have
                module._buffers[name] = torch.arange(buffer.shape[-1]).expand(buffer.shape)
    return network


@functools.cache
def _skeletons_config() -> Configs:
    """The original's configurations, whole."""
    configs = {part: dict(_skeleton(part, ORIGINAL).config) for part in ("unet", "vae")}
    configs["text_encoder"] = ORIGINAL["text_encoder"]
    configs["scheduler"] = dict(scheduler(ORIGINAL).config)
    return configs


def _read(said: str, path: Path) -> Configs:
    try:
        configs = json.loads(said)
        return {part: _essential(part, configs[part]) for part in (*NETWORKS, "scheduler")}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"the base {path} describes itself in a way that cannot be; copy it again") from error


def _essential(part: str, config: dict[str, Any]) -> dict[str, Any]:
    """What a network's class takes, for a stranger's file may say more, and our own caches hold folders."""
    if part.startswith("text_encoder"):
        told = {"architectures", "transformers_version", "dtype", "torch_dtype", "model_type"}
        return {name: value for name, value in config.items() if name[0] != "_" and name not in told}
    owner: Any = DDIMScheduler if part == "scheduler" else NETWORKS[part]
    taken = inspect.signature(owner.__init__).parameters
    return {name: value for name, value in config.items() if name in taken}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise UserError(f"the base {path} is no safetensors file, or damaged ({error}); copy it again") from error
