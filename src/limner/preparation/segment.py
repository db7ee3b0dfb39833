"""Masks by a segmentation model: an ONNX network that finds what stands in front, or a model of transformers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.captions import captioner
from limner.errors import UserError

Shares = NDArray[np.float32]  # (height, width) of the model's own, 0..1: how surely a pixel is the subject's
Model = Callable[[Image.Image], Shares]

SURE = 0.5  # below this everywhere, the model has found no subject
# What a model is made of; from a hub nothing else is fetched, and no file that is code or a pickle.
FILES = ("*.onnx", "*.onnx_data", "*.json", "*.safetensors", "*.txt")


@dataclass(frozen=True)
class Segmenter:
    """Finds the subject of a picture. model: an .onnx file, a folder, or a hub id that the hub's cache holds.

    label: what the subject is, in the model's words, where it knows several kinds of things. download: whether a model
    that is not there is fetched. It can go to other processes: each opens the model when it first needs it.
    """

    model: str
    label: str = ""
    download: bool = False

    def check(self) -> None:
        """Raise UserError if the model cannot be used."""
        _open(self)

    def __call__(self, image: Image.Image) -> Image.Image | None:
        """The mask, mode "L", of an upright RGB picture; None if the model finds no subject. Raises UserError."""
        shares = _open(self)(image)
        if shares.max(initial=0) < SURE:
            return None
        large = Image.fromarray(shares).resize(image.size, Image.Resampling.BILINEAR)
        return Image.fromarray(np.rint(np.clip(np.asarray(large), 0, 1) * 255).astype(np.uint8))


@functools.lru_cache(maxsize=1)
def _open(segmenter: Segmenter) -> Model:
    named = Path(segmenter.model).expanduser()
    path = named if named.is_file() else captioner.Model(segmenter.model, segmenter.download).find("masks", FILES)
    network = path if path.is_file() else _network_in(path)
    if network is not None:
        from limner.preparation.segment_onnx import Network

        return Network(network)
    if not (path / "config.json").is_file():
        raise UserError(
            f"no segmentation model in {path}; give an .onnx file, or a folder with one or with a config.json of "
            "transformers"
        )
    from limner.preparation.segment_transformers import open_model

    return open_model(path, segmenter.label)


def _network_in(folder: Path) -> Path | None:
    """The one ONNX network of a folder; model.onnx if there are several; None if there is none."""
    found = sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
    named = [path for path in found if path.name == "model.onnx"]
    return named[0] if named else found[0] if len(found) == 1 else None
