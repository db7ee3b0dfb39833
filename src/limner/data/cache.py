"""Latents and text states on disk, filed under a hash of everything that they depend on.

An entry is one safetensors file, named by the SHA-256 of its recipe. Its header repeats the recipe and digests of
its tensors, so that a damaged, cut short or exchanged entry is noticed and computed again.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from limner.base.conditioning import Conditioning
from limner.base.model import BaseModel
from limner.data.batch import Example
from limner.data.crop import Crop, coverage, crops_for, pixels, sizes
from limner.data.dataset import Item
from limner.data.folder import Picture
from limner.data.mask import Mask
from limner.errors import UserError
from limner.files import atomic_path

VERSION = 1  # of our code between file and tensor; tests/data/test_cache_version.py says when to raise it
Tensors = dict[str, Tensor]
Kept = TypeVar("Kept", Tensor, Conditioning)


class Examples(Sequence[Example]):
    """One example for each crop of each item: item by item, centre crops first, then random ones (see crop.crops_for).

    An example is encoded, or read from the cache, when it is asked for. The first `budget` bytes of tensors stay in
    memory; what is beyond is read again each time, so that thousands of pictures take no more than dozens do.
    text: whether to encode the captions too; False where they are to be encoded as the run goes.
    To be gone through once before a method attaches to the model: entries are filed under the fingerprint of the
    model's files. Asking raises UserError if the cache cannot be written or the base's autoencoder overflows.
    """

    def __init__(
        self,
        model: BaseModel,
        items: Iterable[Item],
        resolution: int,
        seed: int,
        cache_dir: Path,
        text: bool,
        clip_skip: int = 1,
        budget: int = 1 << 30,
    ) -> None:
        self._model = model
        self._views = [
            (item, view)
            for item in items
            for view in crops_for(item.picture, resolution, item.crops, seed, item.mirror, item.colour_jitter)
        ]
        self._cache_dir = cache_dir
        self._text = text
        self._clip_skip = clip_skip
        self._kept: dict[Hashable, Any] = {}
        self._room = budget
        self._opened: tuple[str, Callable[[], Image.Image]] = ("", Image.Image)

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        item, view = self._views[index]
        return Example(
            latents=self._keep((item.picture.sha256, view), lambda: self._latents(item.picture, view)),
            caption=item.caption,
            conditioning=self._keep(item.caption, lambda: self._told(item.caption)) if self._text else None,
            weight=item.weight,
            repeats=item.repeats,
            mask=self._mask(item, view),
            tags=item.tags,
            dropout=item.dropout,
            sizes=sizes(item.picture, view),
        )

    def _keep(self, key: Hashable, get: Callable[[], Kept]) -> Kept:
        if key in self._kept:
            return self._kept[key]
        found = get()
        if found.nbytes <= self._room:
            self._room -= found.nbytes
            self._kept[key] = found
        return found

    def _latents(self, picture: Picture, view: Crop) -> Tensor:
        if self._opened[0] != picture.sha256:  # not before a crop is missing, and once for all of them
            self._opened = picture.sha256, functools.cache(picture.open)
        return _latents(self._model, picture, view, self._opened[1], self._cache_dir)

    def _mask(self, item: Item, view: Crop) -> Tensor | None:
        """How much each latent pixel counts (h/8, w/8), 0..1; None where all does."""
        mask = item.picture.mask
        if mask is None or item.mask_background == 1:
            return None
        covered = self._keep((mask, view), lambda: _covered(self._model, mask, view, self._cache_dir))
        return item.mask_background + (1 - item.mask_background) * covered

    def _told(self, caption: str) -> Conditioning:
        return encode_caption(self._model, caption, self._cache_dir, self._clip_skip)


def encode_caption(model: BaseModel, caption: str, cache_dir: Path, clip_skip: int = 1) -> Conditioning:
    """The conditioning (batch of 1) of a caption, from the cache if it is there."""
    recipe = _recipe(model, "text", caption=caption, clip_skip=clip_skip)

    def compute() -> Tensors:
        return model.encode_prompts([caption], clip_skip).tensors

    return Conditioning(**_cached_all(cache_dir, recipe, compute))


def encode_view(model: BaseModel, picture: Picture, view: Crop, cache_dir: Path) -> Tensor:
    """Scaled latents (4, h/8, w/8) float32 of one view of a picture, from the cache if they are there."""
    return _latents(model, picture, view, picture.open, cache_dir)


def ask(model: BaseModel, noisy: Tensor, timestep: int, told: Conditioning, cache_dir: Path) -> Tensor:
    """What the base predicts for noisy latents (4, h/8, w/8), float32, from the cache if it has been asked before.

    One at a time, as in _latents. `told` has a batch of 1.
    """
    digests = {name: _digest(tensor) for name, tensor in ({"noisy": noisy} | told.tensors).items()}
    recipe = _recipe(model, "answer", timestep=timestep, **digests)

    def compute() -> Tensor:
        latents = noisy[None].to(model.device, model.dtype, memory_format=torch.channels_last)
        timesteps = torch.tensor([timestep], device=model.device)
        return model.predict(latents, timesteps, told.to(model.device, model.dtype))[0].float().contiguous()

    return _cached(cache_dir, recipe, compute)


def _latents(
    model: BaseModel, picture: Picture, view: Crop, opened: Callable[[], Image.Image], cache_dir: Path
) -> Tensor:
    """Scaled latents (4, h/8, w/8) float32 of a crop: the posterior's mean.

    One crop at a time, whatever else is missing: in a batch the last bits would depend on what the cache holds.
    """
    light = None if view.light is None else asdict(view.light)
    recipe = _recipe(model, "latents", picture=picture.sha256, light=light, **_said(view))

    def compute() -> Tensor:
        latents = model.encode_images(pixels(opened(), view)[None])[0].float()
        if not latents.isfinite().all():
            raise UserError(
                f"the base's autoencoder overflows even in float32 on {picture.path}; its weights are damaged, so use "
                "another copy of the base"
            )
        return latents

    return _cached(cache_dir, recipe, compute)


def _covered(model: BaseModel, mask: Mask, view: Crop, cache_dir: Path) -> Tensor:
    """The share of a mask's white under each latent pixel of a crop (h/8, w/8), 0..1."""
    recipe = _recipe(model, "mask", mask=mask.sha256, alpha=mask.is_alpha, factor=model.factor, **_said(view))
    return _cached(cache_dir, recipe, lambda: coverage(mask.open(), view, model.factor))


def _said(view: Crop) -> dict[str, Any]:
    return {"box": list(view.box), "size": [view.width, view.height], "mirrored": view.mirrored}


def _recipe(model: BaseModel, kind: str, **inputs: Any) -> str:
    """All that an entry depends on, as JSON with sorted keys."""
    common = {"base": model.fingerprint, "dtype": str(model.dtype), "device": model.device.type, "code": _code()}
    return json.dumps({"kind": kind, **inputs, **common}, sort_keys=True)


@functools.cache
def _code() -> dict[str, str]:
    """The versions of all code between file and tensor: an entry that older code wrote is never taken for today's."""
    return {"limner": str(VERSION)} | {
        library: version(library) for library in ("pillow", "torch", "diffusers", "transformers")
    }


def _cached(cache_dir: Path, recipe: str, compute: Callable[[], Tensor]) -> Tensor:
    """The tensor of a recipe that makes a single one."""
    return _cached_all(cache_dir, recipe, lambda: {"tensor": compute()})["tensor"]


def _cached_all(cache_dir: Path, recipe: str, compute: Callable[[], Tensors]) -> Tensors:
    """The tensors of a recipe: from its entry if that is sound, else computed and filed. Always on the CPU."""
    path = cache_dir / f"{hashlib.sha256(recipe.encode()).hexdigest()}.safetensors"
    found = _read(path, recipe)
    if found is not None:
        return found
    with torch.no_grad():  # not inference_mode: autograd must be able to save these for a backward pass
        tensors = {name: tensor.cpu().contiguous() for name, tensor in compute().items()}
    _write(path, recipe, tensors)
    return tensors


def _read(path: Path, recipe: str) -> Tensors | None:
    try:
        with safe_open(path, "pt") as entry:
            stamp = (entry.metadata() or {}).get("entry")
            tensors = {name: entry.get_tensor(name).clone() for name in entry.keys()}  # noqa: SIM118  # off the map
    except (SafetensorError, OSError, ValueError):
        return None
    return tensors if stamp == _stamp(recipe, tensors) else None


def _write(path: Path, recipe: str, tensors: Tensors) -> None:
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, {"entry": _stamp(recipe, tensors)})
    except (OSError, SafetensorError, UserError) as error:
        why = getattr(error.__cause__ or error, "strerror", None) or error
        raise UserError(
            f"cannot write the cache {path.parent} ({why}); make it writable, free some space, or choose another with "
            "limner train --cache or the environment variable LIMNER_CACHE"
        ) from error


def _stamp(recipe: str, tensors: Tensors) -> str:
    """The recipe and the tensors' SHA-256 under one key: safetensors writes several in an order that varies."""
    digests = " ".join(f"{name} {_digest(tensor)}" for name, tensor in sorted(tensors.items()))
    return f"{digests} {recipe}"


def _digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor on the CPU."""
    raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype} ".encode() + raw).hexdigest()
