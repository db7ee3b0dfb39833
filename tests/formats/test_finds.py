"""What bench.fuzz has found: sound files of tensors whose shapes nobody foresaw, and a picture with a broken end."""

import resource
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from limner.errors import UserError
from limner.formats import inspect, load_weights
from limner.infotext import read_picture, save_png

FOX = "lora_unet_mid_block_attentions_0_proj_in"
DOTTED = "unet.mid_block.attentions.0.proj_in"
DOWN, UP = torch.ones(2, 8), torch.ones(8, 2)

FINDS = {
    "a number for a factor": {f"{FOX}.lora_down.weight": torch.tensor(1.0), f"{FOX}.lora_up.weight": UP},
    "a number for PEFT's factor": {f"{DOTTED}.lora_A.weight": torch.tensor(1.0), f"{DOTTED}.lora_B.weight": UP},
    "an empty factor": {
        f"{FOX}.lora_down.weight": DOWN,
        f"{FOX}.lora_up.weight": torch.zeros(0, 8),
        f"{FOX}.dora_scale": torch.ones(8, 1),
    },
    "a number for a difference": {f"{FOX}.diff": torch.tensor(1.0), f"{FOX}.diff_b": torch.ones(8)},
    "an alpha of many numbers": {
        f"{FOX}.weight": torch.ones(8),
        f"{FOX}.on_input": torch.tensor(1),
        f"{FOX}.alpha": torch.ones(8),
    },
    "a number for an embedding": {"clip_l": torch.tensor(1.0)},
}


@pytest.mark.parametrize("find", FINDS)
def test_odd_shapes_are_refused_in_a_sentence_and_inspected(tmp_path: Path, find: str) -> None:
    path = tmp_path / "x.safetensors"
    save_file(FINDS[find], path)
    with pytest.raises(UserError, match=r"x\.safetensors"):
        load_weights(path)
    assert inspect(path).sha256


def test_an_alpha_of_two_parts_is_none(tmp_path: Path) -> None:
    lora = {f"{FOX}.lora_down.weight": DOWN, f"{FOX}.lora_up.weight": UP}
    save_file(lora | {f"{FOX}.alpha": torch.tensor(1.0 + 1.0j)}, tmp_path / "x.safetensors")
    assert inspect(tmp_path / "x.safetensors").alphas == {}


def test_factors_are_checked_by_their_shapes_alone(tmp_path: Path) -> None:
    """Their product would take 14 GB."""
    thin = {f"{FOX}.lokr_w1_a": torch.ones(60_000, 1), f"{FOX}.lokr_w1_b": torch.ones(1, 60_000)}
    save_file(thin | {f"{FOX}.lokr_w2": torch.ones(1, 1)}, tmp_path / "x.safetensors")
    assert load_weights(tmp_path / "x.safetensors").kind == "lora"


def test_a_piece_that_says_it_is_gigabytes_is_told(tmp_path: Path) -> None:
    """Pillow asks for all of it at once; with little memory left that fails."""
    path = tmp_path / "x.png"
    save_png(Image.new("RGB", (8, 8)), "a fox", path)
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    path.write_bytes(data[:at] + struct.pack(">I", 0x7FFFFFFF) + data[at + 4 : -16])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, limits[1]))
    try:
        with pytest.raises(UserError, match="damaged picture"):
            load_weights(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_a_picture_that_breaks_off_among_its_texts_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_png(Image.new("RGB", (8, 8)), "a fox", path)
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    broken = struct.pack(">I", 4) + b"\0<x/" + b"abcd" + struct.pack(">I", zlib.crc32(b"\0<x/abcd"))
    path.write_bytes(data[:at] + data[at:].replace(b"IDAT", b"tEXt", 1)[:20] + broken)
    with pytest.raises(UserError, match=r"cannot read the picture .*x\.png"):
        read_picture(path)
