"""A whole model in one file, in the original release's layout, which every program opens from models/Stable-diffusion.

Written a tensor at a time, for it is gigabytes; read back by diffusers' own converters, which know nothing of the names
it was written with.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from torch import Tensor

from limner.base import single
from limner.base.families import FAMILIES
from limner.base.model import BaseModel
from limner.base.original import Configs, is_pointwise, original_name
from limner.container.header import Header, all_finite, raw_bytes, read_header, read_tensors, write_tensors
from limner.errors import UserError
from limner.formats.identify import family
from limner.formats.layers import layers
from limner.formats.metadata import complete
from limner.formats.verify import ReaderReport
from limner.weights import Weights

BY_ORIGINAL_NAMES = ("A1111", "Forge", "ComfyUI", "stable-diffusion.cpp")  # they build the release's own classes


class Checkpoint:
    """UNet, VAE and text encoder as `model.diffusion_model.`, `first_stage_model.` and `cond_stage_model.`."""

    name = "checkpoint"

    @staticmethod
    def sniff(header: Header) -> bool:
        return single.FIRST in header.shapes

    @staticmethod
    def write(weights: Weights, path: Path, name: str, dtype: torch.dtype = torch.float16) -> None:
        """Write the file at `path`; `name` is the stem that it is saved under. Raises UserError if they do not fit."""
        if (
            weights.kind != "checkpoint"
            or weights.family not in FAMILIES
            or single.ARCHITECTURE not in weights.metadata
        ):
            raise UserError(
                f"a checkpoint's file holds models of {', '.join(FAMILIES)}, not a {weights.family} {weights.kind}"
            )
        configs: Configs = json.loads(weights.metadata[single.ARCHITECTURE])
        places = {original_name(own, configs): own for own in weights.tensors}

        def tensors() -> Iterator[tuple[str, Tensor]]:
            for key in sorted(places):
                yield key, _stored(places[key], weights.tensors[places[key]], dtype)

        digest = hashlib.sha256()
        for key, tensor in tensors():
            if not all_finite({key: tensor}):
                raise UserError(
                    f"the checkpoint {name} holds numbers that {dtype} cannot; "
                    "train again with a lower learning rate, or use --file-precision fp32"
                )
            digest.update(raw_bytes(tensor))
        metadata = complete(weights, FAMILIES[weights.family], name)
        metadata["sshs_model_hash"] = digest.hexdigest()
        metadata["modelspec.hash_sha256"] = f"0x{digest.hexdigest()}"
        shapes = {key: (*weights.tensors[own].shape, *_ones(own)) for key, own in places.items()}
        write_tensors(path, tensors(), shapes, dtype, metadata)

    @staticmethod
    def load(path: Path) -> Weights:
        """The weights of a file. Raises UserError if it is not Stable Diffusion 1.x, or damaged."""
        header = read_header(path)
        configs = single.read_configs(path)
        tensors: dict[str, Tensor] = {}
        for part in single.NETWORKS:
            dtype = torch.float16 if set(header.dtypes.values()) == {torch.float16} else torch.float32
            network = single.load_network(path, part, configs, dtype)
            tensors |= {f"{part}.{own}": tensor for own, tensor in single.text_core(network).state_dict().items()}
        if not all_finite(tensors):
            raise UserError(f"{path} holds numbers that are not finite; its training failed, so use another file")
        return Weights("checkpoint", family(header), tensors, header.metadata, path.stem)

    @staticmethod
    def verify(path: Path, model: BaseModel, weights: Weights, name: str | None = None) -> list[ReaderReport]:
        """Read `path` as every program would, and compare. Raises UserError if any would read other weights."""
        file = read_tensors(path)
        name = name or str(path)
        found = _by_diffusers(file, model)
        largest = _compare(found, weights.tensors, name, "diffusers")
        if missing := weights.tensors.keys() - found.keys():
            raise UserError(f"diffusers would not find {min(missing)} in {name}; save it again, and report it")
        reports = [ReaderReport("diffusers", len(found), (), largest)]
        by_layer = {}
        for layer in layers(model):
            prefix = "model.diffusion_model." if layer.network == "unet" else "cond_stage_model.transformer."
            key = f"{prefix}{layer.original}.weight"
            if key not in file:
                raise UserError(f"A1111 would not find {key} in {name}; save it again, and report it if this recurs")
            by_layer[f"{layer.name}.weight"] = file[key]
        largest = _compare(by_layer, weights.tensors, name, "A1111")
        return reports + [ReaderReport(reader, len(by_layer), (), largest) for reader in BY_ORIGINAL_NAMES]


def _ones(own: str) -> tuple[int, ...]:
    return (1, 1) if is_pointwise(own) else ()


def _stored(own: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor as the file has it."""
    return tensor.detach().reshape(*tensor.shape, *_ones(own)).to("cpu", dtype).contiguous()


def _by_diffusers(file: dict[str, Tensor], model: BaseModel) -> dict[str, Tensor]:
    """Everything that diffusers finds in a file, under limner.weights' names."""
    configs: dict[str, Any] = {part: dict(model.networks[part].config) for part in ("unet", "vae")}
    text = convert_ldm_clip_checkpoint(dict(file))
    found = {f"text_encoder.{key.removeprefix('text_model.')}": tensor for key, tensor in text.items()}
    found |= {f"unet.{key}": t for key, t in convert_ldm_unet_checkpoint(dict(file), configs["unet"]).items()}
    return found | {f"vae.{key}": t for key, t in convert_ldm_vae_checkpoint(dict(file), configs["vae"]).items()}


def _compare(found: dict[str, Tensor], wanted: dict[str, Tensor], name: str, reader: str) -> float:
    """The largest relative error of a tensor; UserError if one is more than rounding off, or has no partner."""
    largest = 0.0
    for own, tensor in found.items():
        want = wanted.get(own)
        if want is None or want.shape != tensor.shape:
            raise UserError(f"{reader} would read {own} in {name} otherwise than it was trained; report this")
        want = want.detach().to("cpu", torch.float32)
        info = torch.finfo(tensor.dtype)
        allowed = info.eps / 2 * want.abs() + info.smallest_normal * info.eps
        error = (tensor.float() - want).abs()
        if bool((error > allowed).any()):
            raise UserError(f"{reader} would read {own} in {name} otherwise than it was trained; report this")
        largest = max(largest, float(error.norm() / want.norm().clamp(min=torch.finfo(torch.float32).tiny)))
    return largest
