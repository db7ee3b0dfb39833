"""Folders in diffusers' layout: every format, variant and number of shards of their weights, and what is left out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.errors import UserError

CPU = torch.device("cpu")
UNET = "unet/diffusion_pytorch_model"
Stored = dict[str, Tensor]


def opened(path: Path, dtype: torch.dtype = torch.float32) -> BaseModel:
    return open_base(path, CPU, dtype)


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def as_bin(path: Path) -> Path:
    """A file's weights pickled in its place, as libraries wrote them."""
    name = "pytorch_model.bin" if path.stem == "model" else f"{path.stem}.bin"
    torch.save(load_file(path), path.with_name(name))
    path.unlink()
    return path.with_name(name)


def in_shards(path: Path, write: Callable[[Stored, Path], None], name: str) -> list[Path]:
    """A file's weights in two shards with an index in its place; name: theirs, with a place for the number."""
    tensors = load_file(path)
    path.unlink()
    halves = [dict(list(tensors.items())[at::2]) for at in (0, 1)]
    places = [path.with_name(name.format(f"{at + 1:05d}-of-00002")) for at in (0, 1)]
    for half, place in zip(halves, places, strict=True):
        write(half, place)
    weights = {key: place.name for half, place in zip(halves, places, strict=True) for key in half}
    index = name.replace("-{}", "") + ".index.json"
    path.with_name(index).write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    return places


def same(one: BaseModel, other: BaseModel) -> bool:
    return all(
        torch.equal(tensor, other.networks[part].state_dict()[name])
        for part, network in one.networks.items()
        for name, tensor in network.state_dict().items()
    )


WEIGHTS = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")


def test_pickled_weights_alone(folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """Read without running anything in them, and convertible to other layouts."""
    for name in WEIGHTS:
        as_bin(folder / f"{name}.safetensors")
    model = opened(folder)
    assert same(model, opened(tiny_folder))
    assert model.warnings == ()
    limner.convert(folder, tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").rglob("*.*") if "model" in path.stem) == [
        "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors", "model.safetensors",
        "model_index.json",
    ]  # fmt: skip
    assert same(opened(tmp_path / "again"), model)


@pytest.mark.parametrize(
    "name", ["diffusion_pytorch_model-{}.safetensors", "diffusion_pytorch_model-{}.bin", "model-{}.safetensors"]
)
def test_weights_in_shards(folder: Path, tiny_folder: Path, tmp_path: Path, name: str) -> None:
    part = "text_encoder" if name.startswith("model") else "unet"
    file = folder / part / f"{name.partition('-{}')[0]}.safetensors"
    write = save_file if name.endswith("safetensors") else torch.save
    places = in_shards(file, write, name)  # type: ignore[arg-type]
    assert same(opened(folder), opened(tiny_folder))
    limner.convert(folder, tmp_path / "again")  # where they are one file, and no index is left
    assert not list((tmp_path / "again").rglob("*.index.json"))
    assert same(opened(tmp_path / "again"), opened(tiny_folder))
    places[1].unlink()
    with pytest.raises(UserError, match=r"not whole: of 2 shards like .*, number 2 is not there; copy"):
        opened(folder)


@pytest.mark.parametrize("name", ["{}.fp16.safetensors", "{}.fp16-00001-of-00001.safetensors", "{}.fp16.bin"])
def test_a_variant_alone(folder: Path, tiny_folder: Path, name: str) -> None:
    file = folder / f"{UNET}.safetensors"
    tensors = {key: tensor.half() for key, tensor in load_file(file).items()}
    file.unlink()
    place = file.with_name(name.format(file.stem))
    torch.save(tensors, place) if place.suffix == ".bin" else save_file(tensors, place)
    assert same(opened(folder, torch.float16), opened(tiny_folder, torch.float16))


def test_other_copies_and_parts_are_said_to_be_left_out(folder: Path, tiny_folder: Path) -> None:
    weights = folder / f"{UNET}.safetensors"
    shutil.copy(weights, folder / f"{UNET}.non_ema.safetensors")
    (folder / "safety_checker").mkdir()
    shutil.copy(weights, folder / "safety_checker" / "model.safetensors")
    shutil.copy(weights, folder / "v1-5-pruned.ckpt")
    model = opened(folder)
    assert same(model, opened(tiny_folder))
    said = "\n".join(model.warnings)
    for name, reason in (
        (f"{UNET}.non_ema.safetensors", f"{UNET}.safetensors holds the network's weights"),
        ("safety_checker/model.safetensors", "Limner has no filter for finished images"),
        ("v1-5-pruned.ckpt", "the weights in the folder's parts are used"),
    ):
        assert f"({name}): {reason}" in said


def test_what_is_missing_or_strange_in_a_network_is_said(folder: Path) -> None:
    file = folder / f"{UNET}.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"conv_in.ip_adapter.weight": torch.zeros(1)}, file)
    assert "1 of" in str(opened(folder).warnings)
    assert "conv_in.ip_adapter.weight" in str(opened(folder).warnings)
    for broken, said in (
        ({key: tensor for key, tensor in tensors.items() if key != "conv_out.bias"}, "lack conv_out.bias"),
        (tensors | {"conv_out.bias": torch.zeros(7)}, r"conv_out.bias is \(7,\) .*; use a folder"),
        (tensors | {"conv_out.bias": torch.full((4,), torch.nan)}, "not finite .*conv_out.bias"),
    ):
        save_file(broken, file)
        with pytest.raises(UserError, match=said):
            opened(folder)
    save_file(tensors | {"conv_out.bias": torch.full((4,), 1e5)}, file)
    with pytest.raises(UserError, match=r"numbers in conv_out.bias that float16 cannot hold"):
        opened(folder, torch.float16)
    assert opened(folder, torch.bfloat16).warnings == ()


def test_weights_that_limner_does_not_read_are_named(folder: Path) -> None:
    file = folder / f"{UNET}.safetensors"
    for name, said in (
        ("my-unet.safetensors", "another name, my-unet.safetensors; rename it to diffusion_pytorch_model.safetensors"),
        ("flax_model.msgpack", "holds flax_model.msgpack, and no diffusion_pytorch_model.safetensors or .bin"),
    ):
        file = Path(shutil.move(file, file.with_name(name)))
        with pytest.raises(UserError, match=said):
            opened(folder)
    file.unlink()
    with pytest.raises(UserError, match="holds no weights; download"):
        opened(folder)
