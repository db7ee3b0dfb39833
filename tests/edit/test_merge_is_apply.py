"""Conformance: a merged checkpoint has, bit for bit, the weights and biases that `apply` gives an opened model, for
every form of adapter in the registry, on every sort of layer, in a single file and in a folder."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import limner
from limner.base.model import BaseModel, text_core
from limner.base.open import open_base
from limner.container.header import read_header
from limner.errors import UserError
from limner.formats import load_weights
from limner.formats.names import file_name
from limner.methods.form import Form, forms
from limner.methods.method import apply_weights

CPU = torch.device("cpu")
RANK = 2
Sides = tuple[int, int, tuple[int, ...]]  # a layer's outputs, inputs and kernel


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) / 10


def lora(out: int, into: int, kernel: tuple[int, ...]) -> dict[str, Tensor]:
    ones = [1] * len(kernel)
    down, up = numbers(RANK, into, *kernel), numbers(out, RANK, *ones)
    return {"lora_down": down, "lora_up": up, "alpha": torch.tensor(3.0)}


def loha(out: int, into: int, kernel: tuple[int, ...]) -> dict[str, Tensor]:
    whole = into * math.prod(kernel)
    halves = {f"hada_w{n}_{side}": numbers(*shape) for n in (1, 2) for side, shape in _pair(out, whole)}
    return halves | {"alpha": torch.tensor(1.5)}


def _pair(out: int, into: int) -> list[tuple[str, tuple[int, int]]]:
    return [("a", (out, RANK)), ("b", (RANK, into))]


def glora(out: int, into: int, kernel: tuple[int, ...]) -> dict[str, Tensor]:
    ones = [1] * len(kernel)
    outer = {"b1": numbers(out, RANK, *ones), "b2": numbers(RANK, into, *kernel)}
    return outer | {"a1": numbers(into, RANK, *ones), "a2": numbers(RANK, into, *ones)} | {"alpha": torch.tensor(1.0)}


# A layer's leaves of each form there is, of random numbers; a new form needs an entry.
MADE: dict[str, Callable[[int, int, tuple[int, ...]], dict[str, Tensor]]] = {
    "lora": lora,
    "dora": lambda out, into, kernel: lora(out, into, kernel) | {"dora_scale": 1 + numbers(out, 1, *[1] * len(kernel))},
    "loha": loha,
    "lokr": lambda out, into, kernel: {"lokr_w1": numbers(4, 2), "lokr_w2": numbers(out // 4, into // 2, *kernel)},
    "oft": lambda out, into, kernel: {"oft_blocks": numbers(out // 4, 4, 4), "rescale": 1 + numbers(out, 1)},
    "boft": lambda out, into, kernel: {"oft_blocks": numbers(2, out // 4, 4, 4), "alpha": torch.tensor(0.01)},
    "oft of inputs": lambda out, into, kernel: {"oft_inputs": numbers(into * math.prod(kernel) // 4, 4, 4)},
    "ia3": lambda out, into, kernel: {
        "weight": numbers(out, *[1] * len(kernel)).reshape((-1,) if not kernel else (1, -1, 1, 1)),
        "on_input": torch.tensor(0),
    },
    "full": lambda out, into, kernel: {"diff": numbers(out, into, *kernel)},
    "norm": lambda out, into, kernel: {"w_norm": numbers(out), "b_norm": -numbers(out)},
    "glora": glora,
}
# Sorts of layers: with and without a bias, matrices and convolutions, and what OpenCLIP keeps in one tensor.
LAYERS = ("attn1.to_q", "attn1.to_out.0", "resnets.0.conv1", "conv_shortcut", "self_attn.k_proj", "mlp.fc1")
NORMS = ("norm1", "layer_norm1", "norm")


def bias_of(form: type[Form], out: int) -> dict[str, Tensor]:
    """What a form adds to a bias beside its change of the weight, if it has a leaf for that."""
    return {"diff_b": numbers(out + 1)[:out]} if "diff_b" in form.leaves else {}


def leaves_for(form: type[Form], module: nn.Module) -> dict[str, Tensor]:
    out, into, *kernel = (*module.weight.shape, 1)[: max(2, module.weight.dim())]
    made = MADE[form.name](out, into, tuple(kernel))
    return made | (bias_of(form, out) if module.bias is not None else {})


def adapter_of_all_forms(model: BaseModel, path: Path) -> dict[str, str]:
    """Write a file that changes each sort of layer by each form; returns {layer: its form}."""
    assert MADE.keys() >= forms().keys() - {"gain"}, "say here what leaves a new form has"
    free = {
        f"{network}.{name}": module
        for network, root in model.networks.items()
        if network != "vae"
        for name, module in (text_core(root) if "text" in network else root).named_modules()
        if getattr(module, "weight", None) is not None
    }
    tensors: dict[str, Tensor] = {}
    found: dict[str, str] = {}
    for form in forms().values():
        if form.name not in MADE:
            continue
        for sort in NORMS if form.axes == 1 else LAYERS:
            layer = next((name for name in free if name.endswith(f".{sort}")), None)
            if layer is None or (form.name == "ia3" and "to_out" in sort):
                continue
            leaves = leaves_for(form, free.pop(layer))
            found[layer] = form.name
            for leaf, tensor in leaves.items():
                tensors[f"{file_name(layer, model.family)}.{form.leaves[leaf]}"] = tensor.contiguous()
    save_file(tensors, path)
    return found


def state(model: BaseModel) -> dict[str, Tensor]:
    return {
        f"{network}.{name.removeprefix('text_model.')}": tensor.clone()
        for network, module in model.networks.items()
        for name, tensor in module.state_dict().items()
    }


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", ["file", "folder", "half"])
def test_every_form_is_merged_as_it_is_applied(
    tmp_path: Path, tiny_folders: Callable[[str], Path], base_files: Callable[[str], Path], family: str, kind: str
) -> None:
    base, dtype = (tiny_folders(family) if kind == "folder" else base_files(family)), torch.float32
    if kind == "half":
        dtype = torch.bfloat16
        tensors = {key: tensor.to(dtype) for key, tensor in load_file(base).items()}
        save_file(tensors, tmp_path / "half.safetensors", read_header(base).metadata)
        base = tmp_path / "half.safetensors"
    model = open_base(base, CPU, dtype)
    plain = state(model)
    layers = adapter_of_all_forms(model, tmp_path / "all.safetensors")
    assert set(layers.values()) == MADE.keys()
    undo = apply_weights(model, load_weights(tmp_path / "all.safetensors"), 0.7, 0.4)
    applied = state(model)
    out = tmp_path / ("merged" if kind == "folder" else "merged.safetensors")
    limner.merge(base, out, (f"{tmp_path / 'all.safetensors'}:0.4:0.7",))
    merged = state(open_base(out, CPU, dtype))
    wrong = sorted(name for name in applied if not torch.equal(applied[name], merged[name]))
    assert not wrong, [(name, layers.get(name.rpartition(".")[0])) for name in wrong[:5]]
    changed = {name for name in plain if not torch.equal(plain[name], merged[name])}
    assert {f"{layer}.weight" for layer in layers} <= changed
    biases = {
        f"{layer}.bias" for layer, form in layers.items() if f"{layer}.bias" in plain and form in ("full", "norm")
    }
    assert biases
    assert biases <= changed
    undo()
    assert all(torch.equal(tensor, plain[name]) for name, tensor in state(model).items())


def test_a_change_of_a_bias_that_the_base_lacks_is_refused(
    tmp_path: Path, base_file: Path, tiny_base: BaseModel
) -> None:
    """As `apply` refuses it, and not left out."""
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    module = tiny_base.networks["unet"].get_submodule(layer.removeprefix("unet."))
    width = len(module.weight)
    name = file_name(layer, tiny_base.family)
    leaves = {f"{name}.diff": numbers(*module.weight.shape), f"{name}.diff_b": numbers(width)}
    save_file(leaves, tmp_path / "a.safetensors")
    for call in (
        lambda: limner.merge(base_file, tmp_path / "out.safetensors", (str(tmp_path / "a.safetensors"),)),
        lambda: apply_weights(tiny_base, load_weights(tmp_path / "a.safetensors"), 1.0, 1.0),
    ):
        with pytest.raises(UserError, match="1 of its 1 "):
            call()
    assert not (tmp_path / "out.safetensors").exists()
