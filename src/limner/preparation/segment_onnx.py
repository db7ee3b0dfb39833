"""Networks in ONNX that tell a subject from what is behind it: U2-Net, IS-Net, BiRefNet, RMBG and their like.

They take one picture, (1, 3, height, width), scaled to 0..1 and normalised, whatever its shape was, and give maps of
which the first is the finest, as shares or as logits. What a picture is normalised by stands in
preprocessor_config.json beside the network; where there is none, it is ImageNet's mean and deviation, or, for IS-Net
and RMBG-1.4, by their names, 0.5 and 1.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.errors import UserError
from limner.preparation.segment import Shares
from limner.texts import read_text

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CENTRED = (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)
OF_CENTRED = ("isnet", "is-net", "rmbg-1.4", "rmbg_1.4")
SIDE = 1024  # pixels, of a network that takes any
OUTSIDE = 0.01  # of 0..1; values beyond are logits
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Network:
    """One ONNX file; always on one thread, so that a mask is the same however many work on the pictures."""

    def __init__(self, path: Path) -> None:
        """Raises UserError if it is not a network of this kind."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no common class
            raise UserError(f"cannot open {path} as an ONNX network ({_first_line(error)}); copy it again") from error
        self._path = path
        self._size, self._type = self._takes()
        self._mean, self._std = _normalisation(path)

    def __call__(self, image: Image.Image) -> Shares:
        """How surely each part of an RGB picture is the subject's. Raises UserError for what is no map."""
        small = np.asarray(image.resize(self._size, Image.Resampling.BILINEAR), np.float32) / 255
        pixels = ((small - self._mean) / self._std).transpose(2, 0, 1)[None].astype(self._type)
        name = self._session.get_inputs()[0].name
        found: Shares = np.asarray(self._session.run(None, {name: np.ascontiguousarray(pixels)})[0], np.float32)
        if found.ndim not in (3, 4) or found.size != found.shape[-1] * found.shape[-2]:
            raise UserError(
                f"{self._path} gives {'x'.join(map(str, found.shape))} values for a picture and not one map; "
                "give a network that tells a subject from the background"
            )
        shares: Shares = found.reshape(found.shape[-2:])
        if shares.min() < -OUTSIDE or shares.max() > 1 + OUTSIDE:
            return np.asarray(1 / (1 + np.exp(-np.clip(shares, -30, 30))), np.float32)
        return shares

    def _takes(self) -> tuple[tuple[int, int], Any]:
        """Width and height, and the type, of the pictures that it takes."""
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or inputs[0].type not in TYPES:
            raise UserError(
                f"{self._path} takes {' and '.join(f'{each.shape} of {each.type}' for each in inputs)} and not one "
                "picture of 3 channels; give a network that tells a subject from the background"
            )
        height, width = (side if isinstance(side, int) else SIDE for side in shape[2:])
        return (width, height), TYPES[inputs[0].type]


def _normalisation(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the channels, 0..1, float32 (3,)."""
    for folder in (path.parent, path.parent.parent):
        beside = folder / "preprocessor_config.json"
        if beside.is_file():
            return normalisation_of(read_json(beside), beside)
    named = any(part in path.name.lower() for part in OF_CENTRED)
    mean, std = CENTRED if named else IMAGENET
    return np.array(mean, np.float32), np.array(std, np.float32)


def normalisation_of(said: dict[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation that a preprocessor_config.json names. Raises UserError."""
    mean, std = said.get("image_mean", IMAGENET[0]), said.get("image_std", IMAGENET[1])
    if not said.get("do_normalize", True):
        mean, std = (0, 0, 0), (1, 1, 1)
    try:
        found = np.array(mean, np.float32), np.array(std, np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} has an image_mean or image_std that is no list of numbers; copy it again") from error
    if any(each.shape != (3,) for each in found) or not (found[1] > 0).all():
        raise UserError(f"{path} must have three numbers each in image_mean and image_std; copy it again")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserError for what is no object."""
    try:
        said = json.loads(read_text(path, is_data=True))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path} ({_first_line(error)}); copy it again") from error
    if not isinstance(said, dict):
        raise UserError(f"{path} is no object of JSON; copy it again")
    return said


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
