"""The number of the cache: what it holds, of fixed inputs and networks, is what it was when the number was given.

If a test here fails because a result is meant to be another one, raise VERSION in limner/data/cache.py, and write the
number and the figures that the test shows down here: else people's caches would go on giving the old results.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bases import save_tiny_sd3
from PIL import Image

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.data.cache import VERSION, Examples, ask, encode_caption
from limner.data.dataset import Item
from limner.data.folder import load_folder
from limner.device import generator

NUMBER = 1
GOLDEN: dict[str, dict[str, list[float]]] = {
    "sd1": {
        "latents": [-0.0081, 0.0286, -0.0048, -0.0431, 0.0351, 0.0015, -0.0131],
        "mask": [0.4906, 0.2323, 0.1882, 0.7137, 0.2196, 0.8471, 0.2784],
        "text": [0.0087, 1.0063, 0.5941, -0.3471, 0.8125, 1.0468, -1.5411],
        "answer": [0.0174, 0.1918, 0.0867, 0.1641, -0.1818, 0.2604, -0.0456],
    },
    "sdxl": {
        "latents": [-0.0058, 0.0205, -0.0035, -0.0308, 0.0251, 0.0011, -0.0093],
        "mask": [0.4906, 0.2323, 0.1882, 0.7137, 0.2196, 0.8471, 0.2784],
        "text": [0.0939, 0.7107, 0.5919, -0.476, -0.2323, 0.3662, 0.4703],
        "answer": [0.0081, 0.1566, 0.0563, 0.1391, -0.1596, 0.2239, -0.1114],
    },
    "sd3": {
        "latents": [-0.0819, 0.2202, -0.0554, -0.3287, -0.0684, 0.1286, 0.1513],
        "mask": [0.4906, 0.2323, 0.1882, 0.7137, 0.2196, 0.8471, 0.2784],
        "text": [0.0958, 0.7018, -1.0338, -0.3076, -0.8302, 0.2784, -0.4108],
        "answer": [0.0039, 0.518, -0.4828, -0.2526, 0.0359, -0.0208, 0.6021],
    },
}
CAPTION = "a zqvx dog, (red:1.2), in the snow"


def fill(model: BaseModel) -> None:
    """Weights by a formula, so that they are the same with any version of any library."""
    with torch.no_grad():
        for network in model.networks.values():
            for name, weight in sorted(network.named_parameters()):
                rows = weight.shape[1:].numel() if weight.dim() > 1 else 1
                wave = torch.sin(torch.arange(weight.numel(), dtype=torch.float64) * 1.7 + len(name)).view(weight.shape)
                weight.copy_(wave / rows**0.5 if weight.dim() > 1 else wave * 0.1 + name.endswith("weight"))


def opened(tiny_folders: Callable[[str], Path], folder: Path, family: str) -> BaseModel:
    source = save_tiny_sd3(folder / "sd3") if family == "sd3" else tiny_folders(family)
    model = open_base(source, torch.device("cpu"), torch.float32)
    fill(model)
    return model


def images(folder: Path) -> Path:
    """One on its side by its EXIF data, and one with transparency."""
    folder.mkdir()
    rows, columns = np.mgrid[0:70, 0:110]
    pixels = np.stack([rows * 3, columns * 2, (rows * columns) % 256], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "a.png", exif=exif)
    alpha = ((rows + columns) % 64 * 4).astype(np.uint8)
    Image.fromarray(np.dstack([pixels, alpha])).save(folder / "b.png")
    return folder


def figures(tensor: torch.Tensor | None) -> list[float]:
    """Mean, deviation, and some numbers of a tensor."""
    assert tensor is not None
    flat = tensor.double().flatten()
    return [float(flat.mean()), float(flat.std()), *flat[:: max(1, len(flat) // 5)][:5].tolist()]


@pytest.mark.parametrize("family", GOLDEN)
def test_what_the_cache_holds_is_what_it_was(family: str, tiny_folders: Callable[[str], Path], tmp_path: Path) -> None:
    model = opened(tiny_folders, tmp_path, family)
    pictures = load_folder(images(tmp_path / "images"), alpha_masks=True).pictures
    items = [Item(each, CAPTION, crops=1, mirror=True, colour_jitter=0.3) for each in pictures]
    found = Examples(model, items, 64, 3, tmp_path / "cache", text=False)
    told = encode_caption(model, CAPTION, tmp_path / "cache", clip_skip=1 if family == "sd3" else 2)
    noisy = torch.randn(model.channels, 8, 8, generator=generator(1))
    seen = {
        "latents": figures(torch.cat([each.latents.flatten() for each in found])),
        "mask": figures(torch.cat([each.mask.flatten() for each in found if each.mask is not None])),
        "text": figures(torch.cat([tensor.flatten() for _, tensor in sorted(told.tensors.items())])),
        "answer": figures(ask(model, noisy, 700, told.with_sizes(found[0].sizes), tmp_path / "cache")),
    }
    print({name: [round(value, 4) for value in values] for name, values in seen.items()})
    assert NUMBER == VERSION
    for name, values in GOLDEN[family].items():
        assert seen[name] == pytest.approx(values, abs=3e-4, rel=2e-3), name
