"""Float8 checkpoints are opened as they are meant, in every command; weights in other quantized formats are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner.base import single
from limner.base.open import open_base
from limner.container.header import read_header
from limner.errors import UserError
from limner.formats import inspect, save_weights
from limner.weights import whole

CPU = torch.device("cpu")
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def plain(tiny_folders: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base as a single file in float32."""
    path = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    return save_weights(whole(open_base(tiny_folders("sd1"), CPU, torch.float32)), path, dtype=torch.float32).path


def is_scaled(name: str, tensor: Tensor) -> bool:
    return name.endswith(".weight") and tensor.dim() == 2 and "embed" not in name


def with_scales(tensors: dict[str, Tensor], spelling: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A file's tensors with scaled float8 weights, and what they stand for, in float32."""
    stored: dict[str, Tensor] = {}
    meant = {}
    for name, tensor in tensors.items():
        if not is_scaled(name, tensor):
            stored[name], meant[name] = tensor, tensor.float()
            continue
        most = tensor.abs().amax(1, keepdim=True) if "row" in spelling else tensor.abs().max()
        scale = most.float() / 448 + 1e-9
        stored[name] = (tensor / scale).to(E4M3)
        meant[name] = stored[name].float() * scale
        layer = name.removesuffix("weight")
        if spelling == "scale_weight":
            stored[f"{layer}scale_weight"], stored[f"{layer}scale_input"] = scale, torch.tensor(2.0)
        else:
            stored[f"{layer}weight_scale"] = scale.flatten() if spelling == "flat rows" else scale
            stored[f"{layer}input_scale"] = torch.tensor([2.0])
            told = json.dumps({"format": "float8_e4m3fn"}).encode()
            stored[f"{layer}comfy_quant"] = torch.tensor(list(told), dtype=torch.uint8)
    if spelling == "scale_weight":
        stored[f"{UNET}scaled_fp8"] = torch.empty(2, dtype=E4M3)
    return stored, meant


def save(path: Path, like: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path, read_header(like).metadata)
    return path


def numbers(path: Path) -> dict[str, Tensor]:
    model = open_base(path, CPU, torch.float32)
    assert model.warnings == ()
    return {f"{part}.{name}": t for part, net in model.networks.items() for name, t in net.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("spelling", ["scale_weight", "weight_scale", "rows", "flat rows"])
def test_scales_are_multiplied_in(plain: Path, tmp_path: Path, spelling: str) -> None:
    """Of UNet and text encoder, opened and converted; nothing of the format is left in what is written."""
    stored, meant = with_scales(load_file(plain), spelling)
    scaled = save(tmp_path / "scaled.safetensors", plain, stored)
    assert same(numbers(scaled), numbers(save(tmp_path / "meant.safetensors", plain, meant)))
    made = limner.convert(scaled, tmp_path / "again.safetensors", file_precision="fp32")
    assert "float8" in str(made.warnings)
    again = load_file(tmp_path / "again.safetensors")
    assert not [key for key in again if key.endswith(("scale", "scale_weight", "scale_input", "comfy_quant"))]
    assert all(torch.allclose(again[name], meant[name], rtol=1e-3, atol=1e-7) for name in meant)
    assert "float8" in " ".join(inspect(scaled).reasons)


def test_scaled_in_diffusers_spelling(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(tiny_folder, folder)
    meant = {}
    for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = folder / part / f"{name}.safetensors"
        stored, meant[part] = with_scales(load_file(file), "weight_scale")
        save(file, file, stored)
    found = open_base(folder, CPU, torch.float32)
    for part, tensors in meant.items():
        own = found.networks[part].state_dict()
        assert all(torch.equal(own[name], tensors.get(name, tensors.get(f"text_model.{name}"))) for name in own), part


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
def test_plain_float8_is_what_it_says(plain: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        name: tensor.to(dtype) if is_scaled(name, tensor) else tensor for name, tensor in load_file(plain).items()
    }
    path = save(tmp_path / "eight.safetensors", plain, tensors)
    wide = save(tmp_path / "wide.safetensors", plain, {name: tensor.float() for name, tensor in tensors.items()})
    assert same(numbers(path), numbers(wide))
    limner.convert(path, tmp_path / "same.safetensors")
    assert all(torch.equal(t.float(), tensors[n].float()) for n, t in load_file(tmp_path / "same.safetensors").items())


def test_a_merge_into_float8_keeps_small_changes(plain: Path, tmp_path: Path) -> None:
    """In 8 bits a change of a tenth of a step would be gone."""
    tensors = {
        name: tensor.to(E4M3) if is_scaled(name, tensor) else tensor for name, tensor in load_file(plain).items()
    }
    path = save(tmp_path / "eight.safetensors", plain, tensors)
    key = f"{UNET}middle_block.1.transformer_blocks.0.attn1.to_q.weight"
    change = tensors[key].float() / 160
    save_file(
        {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.diff": change}, tmp_path / "a.safetensors"
    )
    made = limner.merge(path, tmp_path / "merged.safetensors", (str(tmp_path / "a.safetensors"),))
    assert "written in fp16" in str(made.warnings)
    merged = load_file(tmp_path / "merged.safetensors")
    assert merged[key].dtype == torch.float16
    assert torch.allclose(merged[key].float() - tensors[key].float(), change, rtol=0.2, atol=1e-5)
    assert merged[f"{UNET}out.2.weight"].dtype == torch.float32


def test_a_lora_out_of_scaled_weights_is_questioned(plain: Path, tmp_path: Path) -> None:
    scaled = save(tmp_path / "scaled.safetensors", plain, with_scales(load_file(plain), "scale_weight")[0])
    made = limner.extract(scaled, plain, tmp_path / "lora.safetensors", rank=4)
    assert "rounding" in str(made.warnings)


KEY = f"{UNET}middle_block.1.transformer_blocks.0.attn1.to_q"
BYTES = torch.zeros(4, dtype=torch.uint8)
FOREIGN = [
    (
        {f"{KEY}.weight.absmax": torch.ones(4), f"{KEY}.weight.quant_state.bitsandbytes__nf4": BYTES},
        "bitsandbytes .*NF4",
    ),
    ({f"{KEY}.SCB": torch.ones(4)}, "8-bit integers of bitsandbytes"),
    ({f"{KEY}.weight._data": BYTES, f"{KEY}.weight._scale": torch.ones(1)}, "quanto"),
    ({f"{KEY}._weight_qdata": BYTES}, "torchao"),
    ({f"{KEY}.qweight": BYTES, f"{KEY}.wscales": torch.ones(1)}, "SVDQuant"),
    ({f"{KEY}.qweight": BYTES, f"{KEY}.qzeros": BYTES}, "GPTQ or AWQ"),
    ({f"{KEY}.weight_scale_2": torch.ones(())}, "NVFP4"),
    ({f"{KEY}.weight_scale": torch.ones(2, 2)}, "in blocks"),
    ({f"{KEY}.weight": torch.zeros(64, 64, dtype=torch.int8)}, "stored as int8"),
    ({f"{UNET}scaled_fp8": torch.empty(0, dtype=E4M3)}, "there are none"),
]


@pytest.mark.parametrize(("more", "said"), FOREIGN)
def test_other_formats_are_refused_by_name(plain: Path, tmp_path: Path, more: dict[str, Tensor], said: str) -> None:
    path = save(tmp_path / "foreign.safetensors", plain, load_file(plain) | more)
    for call in (
        lambda: open_base(path, CPU, torch.float32),
        lambda: limner.convert(path, tmp_path / "out.safetensors"),
        lambda: limner.extract(path, plain, tmp_path / "out.safetensors", rank=4),
    ):
        with pytest.raises(UserError, match=rf"foreign\.safetensors.*{said}.*; use "):
            call()
    found = inspect(path)
    assert found.refusal
    assert not (tmp_path / "out.safetensors").exists()


def test_scales_that_cannot_be_right_are_refused(plain: Path, tmp_path: Path) -> None:
    tensors = load_file(plain)
    eight = tensors | {f"{KEY}.weight": tensors[f"{KEY}.weight"].to(E4M3)}
    mark = torch.tensor(list(b'{"format": "int8_tensorwise"}'), dtype=torch.uint8)
    for more, said in (
        (eight | {f"{KEY}.scale_weight": torch.tensor(float("nan"))}, "not finite"),
        (tensors | {f"{KEY}.scale_weight": torch.tensor(2.0)}, "not float8 but float32"),
        (
            eight | {f"{KEY}.weight_scale": torch.tensor(2.0), f"{KEY}.comfy_quant": mark},
            "quantized as int8_tensorwise",
        ),
    ):
        with pytest.raises(UserError, match=said):
            open_base(save(tmp_path / "odd.safetensors", plain, more), CPU, torch.float32)
    same_numbers = save(tmp_path / "one.safetensors", plain, tensors | {f"{KEY}.scale_weight": torch.tensor(1.0)})
    assert single.identify_file(same_numbers).refusal == ""
    assert same(numbers(same_numbers), numbers(plain))
