"""A whole model in one file, in the original releases' layout: those that Limner writes, and anyone's of 1.x, 2.x, XL.

Limner's own say how their networks are made, so that narrower ones open too; others are made as the published models
are. Weights are read a tensor at a time into networks that have none, so that a model is never in memory twice.
"""

import inspect
import json
import math
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from diffusers import AutoencoderKL, DDIMScheduler, SD3Transformer2DModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from limner.base.identify import ARCHITECTURE, TITLES, Identity, identify_base, what_else
from limner.base.model import BaseModel
from limner.base.original import (
    BUFFERS,
    UNET,
    VAE,
    Configs,
    Place,
    completion,
    family_name,
    is_kept,
    place,
    places,
    with_wrapper,
)
from limner.base.published import check_sizes, published
from limner.base.weight_reader import WeightReader, open_weights
from limner.container import TensorFile, open_tensors
from limner.errors import UserError
from limner.generators import finish
from limner.inventory import Inventory
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

NETWORKS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
T = TypeVar("T")
Reading: TypeAlias = Generator[int, None, T]  # what is read, yielding the bytes of each part
CLASSES = NETWORKS | {"transformer": SD3Transformer2DModel}  # with those that only folders hold
_OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # diffusers' until 0.17
MOST_YAML_BYTES = 1 << 20  # of a configuration; what is larger is none
_YAML = re.compile(r"""^\s*parameterization:\s*["']?(\w+)|\.(V|Eps)Scaling\b""", re.MULTILINE)
# What files hold beside the networks and nobody misses: tables, a scale of CLIP's loss, a projection of CLIP-L.
_NEEDLESS = re.compile(
    r".*(position_ids|logit_scale)|((cond_stage_model|.*embedders\.0)\..*)?text_projection(\.weight)?"
)
AVERAGES = "model_ema."  # begins the keys of averages of the UNet's weights over a training


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
    found = identify_base(file.shapes, file.metadata, file.path.stem, file.dtypes)
    if ARCHITECTURE in file.metadata and not found.refusal and _described(file, found.family) is None:
        said = f"its metadata's {ARCHITECTURE} is of another model, so that only its tensors say what it is"
        found = replace(found, warnings=(*found.warnings, said))
    if found.refusal or found.known_by not in ("default", "probe needed"):
        return found
    endings = (".yaml", ".YAML")
    places = [file.path.with_suffix(ending) for ending in endings]
    beside = next((path for path in places if os.path.isfile(path)), None)  # noqa: PTH113 (a name may be too long)
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
    predicted = "v_prediction" if told[1] == "v" or told[2] == "V" else "epsilon"
    said = f"{beside.name} beside it says {told[0].strip()}"
    return replace(found, prediction_type=predicted, known_by="config", reasons=(*found.reasons[:-1], said))


def read_configs(path: Path, identity: Identity | None = None) -> Configs:
    """How the networks of a file are made. Raises UserError if it is no model that Limner can open."""
    with open_tensors(path) as file:
        found = identity or _identify(file)
        if found.refusal:
            reason = (what_else(file.shapes) if found.family == "unknown" else "") or found.refusal
            raise UserError(f"the base {path} is {found.title}: {reason}")
        told = _described(file, found.family)
        plain = published(found.family, found.prediction_type, found.zero_terminal_snr)
        if told is None and ARCHITECTURE in file.metadata and not _may_be(file.shapes, plain):
            raise _cannot_be(path)
    return told or plain


def _described(file: TensorFile, family: str) -> Configs | None:
    """How a file says that its networks are made; None if it does not, or cannot be right."""
    said = file.metadata.get(ARCHITECTURE)
    try:
        told = _read(said, file.path) if said else None
    except UserError:
        return None
    return told if told and family_name(told) == family and _may_be(file.shapes, told) else None


def _may_be(shapes: Mapping[str, tuple[int, ...]], configs: Configs) -> bool:
    """Whether a file's UNet can be of these configurations, by the width of its entry and of what it reads."""
    unet = configs["unet"]
    entry = shapes.get(f"{UNET}input_blocks.0.0.weight", (0,))
    widths = {shape[-1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight") and len(shape) == 2}
    return entry[0] == unet["block_out_channels"][0] and widths <= {unet["cross_attention_dim"]}


def load_network(
    path: Path,
    part: str,
    configs: Configs,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Reading[nn.Module]:
    """One of the NETWORKS, on the CPU. Yields the bytes of each tensor that is read. Raises UserError if the file does
    not hold it as its configuration says."""
    with _describing(path):
        network = skeleton(part, configs)
        return filled(network, (yield from _read_state(path, part, network, configs, dtype, memory_format)))


def load_state(path: Path, part: str, configs: Configs) -> dict[str, Tensor]:
    """The weights of one of the NETWORKS in the file's own dtypes, by limner.weights' paths. Raises UserError."""
    with _describing(path):
        return finish(_read_state(path, part, skeleton(part, configs), configs, None))


def load_vae(path: Path, configs: Configs, dtype: torch.dtype) -> nn.Module:
    """A VAE from a file of its own, or out of a whole model's, made as the base's is and for its scale of latents.

    Its names may be the original's, with or without what precedes them in a whole model, or diffusers'. Raises
    UserError if it is none, or of another shape.
    """
    with open_weights(path) as file:
        names = file.shapes.keys()

        def find(own: str) -> tuple[str, Place]:
            its = place(f"vae.{own}", configs)
            for key in (its.key, its.key.removeprefix(VAE), own, before_017(own), f"vae.{own}"):
                if key in names:
                    return key, its
            raise UserError(f"the VAE {path} has no {its.key.removeprefix(VAE)}; give another file with --vae")

        def wrong(fault: str) -> UserError:
            return UserError(f"the VAE {path} is of another kind than the base's: {fault}; give another with --vae")

        network = skeleton("vae", configs)
        return filled(network, finish(taken(file, network, find, dtype, wrong)))


def before_017(own: str) -> str:
    """The name that diffusers before 0.17 gave one of a VAE's weights: those of its attention were called otherwise."""
    for new, before in _OLD_ATTENTION.items() if ".attentions." in own else ():
        own = own.replace(f".{new}.", f".{before}.")
    return own


def since_017(key: str) -> str:
    """The name of one of a VAE's weights now, of the one that it had in diffusers before 0.17."""
    for new, before in _OLD_ATTENTION.items() if ".attentions." in key else ():
        key = key.replace(f".{before}.", f".{new}.")
    return key


def is_needless(key: str) -> bool:
    """Whether a tensor is one that nobody misses: a table that can be computed, or a part that no image depends on."""
    return bool(_NEEDLESS.fullmatch(key) or BUFFERS.match(key))


def kept(path: Path, configs: Configs) -> dict[str, Tensor]:
    """What a single file holds beside its networks that other programs may look for, by its own keys and in its own
    dtypes: buffers, marks, and parts of text encoders that no picture depends on. Raises UserError."""
    family = family_name(configs)
    claimed = {key for part in networks_of(configs) for key in places(names_of(part, configs), configs)}
    with open_weights(path) as file:
        wanted = {key: with_wrapper(key) for key in file.shapes}
        return {key: file.get(name) for name, key in wanted.items() if key not in claimed and is_kept(key, family)}


def inventory(reader: WeightReader, configs: Configs, names: Iterable[str], other_vae: bool = False) -> Inventory:
    """What a file's tensors are used for. names: our own of the networks' weights. other_vae: whether the VAE is read
    from another file, at the person's wish."""
    tensors = Inventory(reader.shapes)
    claimed, added = places(names, configs).keys(), completion(configs).keys()
    for key in reader.shapes:
        plain = with_wrapper(key)
        if plain != key and plain in reader.shapes:
            tensors.leave("the same tensor is there under another name too", key)
        elif plain in claimed or plain in added or is_needless(plain):
            tensors.use(key)
        elif plain.startswith(AVERAGES):
            tensors.leave(
                "they are averages of the weights over the training (EMA), and the weights themselves are used; "
                "limner convert --ema use takes the averages",
                key,
            )
        elif plain.startswith(VAE) and other_vae:
            tensors.use(key)
        elif plain.startswith(f"{VAE}loss."):
            tensors.leave("they only served to train the VAE", key)
    return tensors


def networks_of(configs: Configs) -> list[str]:
    """The networks that configurations are of."""
    return [part for part in NETWORKS if configs.get(part)]


def build(part: str, configs: Configs, state: Mapping[str, Tensor]) -> nn.Module:
    """A network of its configuration with these weights, by limner.weights' paths."""
    return filled(skeleton(part, configs), state)


def filled(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    network.load_state_dict({name: state[own_name(name)] for name in network.state_dict()}, assign=True)
    return network


def own_name(name: str) -> str:
    """transformers' name of a weight without the `text_model.` that some of its versions have."""
    return name.removeprefix("text_model.")


def scheduler(configs: Configs) -> DDIMScheduler:
    return DDIMScheduler.from_config({name: told for name, told in configs["scheduler"].items() if name != "shift"})


def _read_state(
    path: Path,
    part: str,
    network: nn.Module,
    configs: Configs,
    dtype: torch.dtype | None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Reading[dict[str, Tensor]]:
    with open_weights(path) as file:
        keys = {with_wrapper(key): key for key in sorted(file.shapes, key=len)}  # of two spellings, the longer

        def find(own: str) -> tuple[str, Place]:
            its = place(f"{part}.{own}", configs)
            if its.key not in keys:
                raise _lacking(file, part, its.key)
            return keys[its.key], its

        return (yield from taken(file, network, find, dtype, _unpublished(path, configs), memory_format))


def _unpublished(path: Path, configs: Configs) -> Callable[[str], UserError]:
    """What to say of a tensor of another shape than a file's model has."""
    title = TITLES[family_name(configs)]
    return lambda fault: UserError(
        f"{path} is not {title} as its makers published it: {fault}; use another model, or a diffusers folder of it"
    )


def taken(
    file: WeightReader,
    network: nn.Module,
    find: Callable[[str], tuple[str, Place]],
    dtype: torch.dtype | None,
    complaint: Callable[[str], UserError],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Reading[dict[str, Tensor]]:
    """A network's weights out of a file, in a dtype or the file's. find: our own name -> the file's key, and what lies
    there. complaint: of what is wrong with a tensor, the error to raise. Yields each weight's bytes in the file. Raises
    UserError."""
    state = {}
    shared: dict[str, tuple[Tensor, int]] = {}  # what further thirds will be taken of, and how many
    for name, empty in network.state_dict().items():
        own = own_name(name)
        key, its = find(own)
        shape = its.shape(tuple(empty.shape))
        if file.shapes[key] not in (shape, tuple(empty.shape)) or not file.dtypes[key].is_floating_point:
            raise complaint(f"its {key} is {file.shapes[key]} of {file.dtypes[key]}, not {shape}")
        if its.third is None:
            tensor = its.take(file.get_finite(key, dtype or file.dtypes[key], memory_format))
            state[own] = tensor if tensor.is_contiguous(memory_format=memory_format) else tensor.contiguous()
            yield math.prod(shape) * file.dtypes[key].itemsize
            continue
        if key not in shared:
            shared[key] = file.get_finite(key, dtype or file.dtypes[key]), 3
        whole, left = shared.pop(key)
        state[own] = its.take(whole).clone()
        if left > 1:
            shared[key] = whole, left - 1
        yield math.prod(empty.shape) * file.dtypes[key].itemsize
    return state


def _lacking(file: WeightReader, part: str, key: str) -> UserError:
    if part == "vae" and not any(name.startswith(VAE) for name in file.shapes):
        return UserError(
            f"the base {file.path} has no VAE of its own; limner train and limner generate take one with --vae"
        )
    return UserError(f"the base {file.path} lacks {key}; its copy is not whole, so copy or download it again")


def skeleton(part: str, configs: Configs, network_class: Any = None) -> Any:
    """A network without its weights, of the class that its part usually has or of another."""
    with torch.device("meta"):
        if part.startswith("text"):
            network: Any = (network_class or CLASSES[part])(CLIPTextConfig(**configs[part]))
        else:
            network = CLASSES[part].from_config(dict(configs[part]))
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
    owner: Any = DDIMScheduler if part == "scheduler" else CLASSES[part]
    taken = {*inspect.signature(owner.__init__).parameters, *(("shift",) if part == "scheduler" else ())}  # a flow's
    return {name: value for name, value in config.items() if name in taken}
