"""A whole model in one file, in the original release's layout, which every program opens from models/Stable-diffusion.

Written a tensor at a time, for it is gigabytes; read back by diffusers' own converters, which know nothing of the names
it was written with.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from limner.base import single
from limner.base.families import UNETS
from limner.base.identify import UNET, identify_base
from limner.base.model import BaseModel
from limner.base.original import MARKS, Configs, completion, places
from limner.container.header import Header, all_finite, in_order, read_header
from limner.container.writer import UNKNOWN, writing
from limner.errors import UserError
from limner.formats import checkpoint_readers
from limner.formats.format import Format
from limner.formats.metadata import PREDICTS, complete
from limner.formats.original_config import original_yaml
from limner.formats.verify import ReaderReport
from limner.weights import KEPT, Weights


class Checkpoint(Format):
    """UNet, VAE and text encoders, as `model.diffusion_model.`, `first_stage_model.` and so on."""

    name = "checkpoint"

    @staticmethod
    def sniff(header: Header) -> bool:
        return f"{UNET}input_blocks.0.0.weight" in header.shapes

    @staticmethod
    def write(weights: Weights, path: Path, name: str, dtype: torch.dtype | None = torch.float16) -> None:
        """Write the file at `path`; `name` is the stem that it is saved under. dtype: of the weights, None for that
        which each has. Raises UserError if they do not fit."""
        configs = _configs(weights)
        layout = Layout(weights.tensors, configs, dtype)
        metadata = metadata_of(weights, configs, name)
        with writing(path, layout.shapes, layout.dtypes, metadata) as writer:
            for key in in_order(layout.dtypes):
                tensor = layout.tensor(key, weights.tensors.__getitem__)
                if not all_finite({key: tensor}):
                    raise UserError(
                        f"the checkpoint {name} holds numbers that {tensor.dtype} cannot; "
                        "train again with a lower learning rate, or with limner train --file-precision fp32"
                    )
                writer.add(tensor)

    @staticmethod
    def beside(weights: Weights) -> dict[str, str]:
        """{ending: text} of the files that programs look for beside the checkpoint: the webui's configuration of one
        that predicts v, which it would take for one of its family that does not."""
        configs = _configs(weights)
        if configs["scheduler"].get("prediction_type") != "v_prediction":
            return {}
        return {".yaml": original_yaml(configs)}

    @staticmethod
    def load(path: Path) -> Weights:
        """The weights of a file, in its dtypes. Raises UserError if it is no model that Limner opens, or damaged."""
        header = read_header(path)
        configs = single.read_configs(path)
        tensors: dict[str, Tensor] = {}
        for part in single.networks_of(configs):
            tensors |= {f"{part}.{own}": tensor for own, tensor in single.load_state(path, part, configs).items()}
        tensors |= {f"{KEPT}{key}": tensor for key, tensor in single.kept(path, configs).items()}
        if not all_finite(tensors):
            raise UserError(f"{path} holds numbers that are not finite; its training failed, so use another file")
        metadata = header.metadata | {single.ARCHITECTURE: json.dumps(configs, sort_keys=True)}
        family = identify_base(header.shapes, header.metadata).family
        return Weights("checkpoint", family, tensors, metadata, path.stem)

    @staticmethod
    def verify(path: Path, model: BaseModel, weights: Weights, name: str | None = None) -> list[ReaderReport]:
        """Read `path` as every program would, and compare. Raises UserError if any would read other weights."""
        return checkpoint_readers.verify(path, model, weights, name or str(path))


class Layout:
    """What a file is to hold: shapes and dtypes by key, and each tensor when it is asked for."""

    def __init__(self, tensors: Mapping[str, Tensor], configs: Configs, dtype: torch.dtype | None) -> None:
        """tensors: those of limner.weights, of which the networks' may be on the meta device. dtype: of the weights,
        None for that which each has."""
        self._dtype = dtype
        networks = {name: tensor for name, tensor in tensors.items() if not name.startswith(KEPT)}
        self._places = places(networks, configs)
        kept = {name.removeprefix(KEPT): tensor for name, tensor in tensors.items() if name.startswith(KEPT)}
        like = next(iter(networks.values())).dtype
        added = {key: t.to(dtype or like) for key, t in completion(configs).items()} | _marks(configs)
        untrue = MARKS.values() - _marks(configs).keys()
        self._others = {k: t.detach() for k, t in (added | kept).items() if k not in untrue}
        self.shapes = {
            key: its.shape(tuple(networks[name].shape)) for key, ((name, its), *_) in self._places.items()
        } | {key: tuple(tensor.shape) for key, tensor in self._others.items()}
        self.dtypes = {key: dtype or networks[name].dtype for key, ((name, _), *_) in self._places.items()} | {
            key: self._dtype_of(key) for key in self._others
        }

    def _dtype_of(self, key: str) -> torch.dtype:
        """Of what was kept: a text encoder's parts are weights like others, buffers stay as they are."""
        own = self._others[key].dtype
        is_part = key.startswith(("cond_stage_model.", "conditioner.")) and own.is_floating_point
        return self._dtype if is_part and self._dtype else own

    def tensor(self, key: str, get: Callable[[str], Tensor]) -> Tensor:
        """A tensor as the file has it, of what `get` gives by our own name."""
        if key in self._others:
            found = self._others[key]
        else:
            own = self._places[key]
            found = own[0][1].give([get(name).detach() for name, _ in own])
        return found.to("cpu", self.dtypes[key]).contiguous()


def metadata_of(weights: Weights, configs: Configs, name: str) -> dict[str, str]:
    """The metadata of a checkpoint's file, with UNKNOWN for the hash of its tensors; the weights need have none."""
    predicts = configs["scheduler"].get("prediction_type", "epsilon")
    return complete(weights, UNETS[weights.family], name) | {
        "modelspec.prediction_type": PREDICTS.get(predicts) or str(predicts),
        "sshs_model_hash": UNKNOWN,
        "modelspec.hash_sha256": f"0x{UNKNOWN}",
    }


def _configs(weights: Weights) -> Configs:
    """How a checkpoint's networks are made. Raises UserError for other weights."""
    if weights.kind != "checkpoint" or weights.family not in UNETS or single.ARCHITECTURE not in weights.metadata:
        raise UserError(
            f"a checkpoint's file holds models of {', '.join(UNETS)}, not a {weights.family} {weights.kind}"
        )
    return json.loads(weights.metadata[single.ARCHITECTURE])


def _marks(configs: Configs) -> dict[str, Tensor]:
    """The empty tensors by which programs know that a model predicts v, down to pure noise."""
    scheduler = configs["scheduler"]
    if scheduler.get("prediction_type") != "v_prediction":
        return {}
    names = [MARKS["v_prediction"]]
    if scheduler.get("rescale_betas_zero_snr"):
        names.append(MARKS["zero_terminal_snr"])
    return {name: torch.empty(0) for name in names}
