"""Adapters that other programs write in their own way, each against a formula of its own, in double precision."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.formats import inspect, load_weights
from limner.methods.applied import apply, find_module, weight_of
from limner.methods.form import form_of
from limner.weights import Weights

Tensors = dict[str, Tensor]
BLOCK = "mid_block.attentions.0"
LINEAR, CONV, ENDS = f"{BLOCK}.transformer_blocks.0.attn1.to_q", "mid_block.resnets.0.conv1", f"{BLOCK}.proj_in"
NORM = "mid_block.resnets.0.norm1"
COMFY = {
    LINEAR: "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q",
    CONV: "diffusion_model.middle_block.0.in_layers.2",
    ENDS: "diffusion_model.middle_block.1.proj_in",
    NORM: "diffusion_model.middle_block.0.in_layers.0",
}
SPELLED: dict[str, Callable[[str], str]] = {
    "kohya": lambda path: "lora_unet_" + path.replace(".", "_"),
    "diffusers": lambda path: f"unet.{path}",
    "comfyui": COMFY.__getitem__,
}


@pytest.fixture
def numbers() -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(3)
    return lambda *shape: torch.randn(shape, generator=generator) / 5


def weight(model: BaseModel, path: str) -> Tensor:
    module = find_module(model, f"unet.{path}")
    assert module is not None
    return weight_of(module).double()


def written(folder: Path, tensors: Tensors, **metadata: str) -> Weights:
    path = folder / "theirs.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata or None)
    return load_weights(path)


def change(weights: Weights, path: str, original: Tensor) -> Tensor:
    """What a file changes a weight by."""
    leaves = weights.modules()[f"unet.{path}"]
    form = form_of(leaves)
    assert form is not None
    return form.change(original, {leaf: tensor.double() for leaf, tensor in leaves.items()})


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted.reshape(found.shape), atol=1e-6, rtol=1e-5)


def cayley(q: Tensor) -> Tensor:
    eye = torch.eye(q.shape[-1], dtype=q.dtype)
    return (eye + q) @ torch.linalg.inv(eye - q)


@pytest.mark.parametrize("algorithm", ["LoRA", "LoHa", "LoKr", "OFT"])
def test_what_comfyuis_training_node_writes(
    tmp_path: Path, tiny_base: BaseModel, numbers: Callable[..., Tensor], algorithm: str
) -> None:
    """Factors without a kernel's axes, an alpha of 1, a bias beside them, and differences of normalisations."""
    tensors, wanted = {}, {}
    for path in (LINEAR, CONV, ENDS):
        w = weight(tiny_base, path)
        out, into = w.flatten(1).shape
        key, flat = COMFY[path], w.flatten(1)
        if algorithm == "LoRA":
            up, down = numbers(out, 3), numbers(3, into)
            own = {"lora_up.weight": up, "lora_down.weight": down}
            wanted[path] = up.double() @ down.double() / 3
        elif algorithm == "LoHa":
            a, b, c, d = numbers(out, 3), numbers(3, into), numbers(out, 3), numbers(3, into)
            own = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d}
            wanted[path] = (a.double() @ b.double()) * (c.double() @ d.double()) / 3
        elif algorithm == "LoKr":
            one, two = numbers(4, 8), numbers(out // 4, into // 8)
            own = {"lokr_w1": one, "lokr_w2": two}
            wanted[path] = torch.kron(one.double(), two.double())
        else:
            blocks = numbers(out // 4, 4, 4)
            own = {"oft_blocks": blocks}
            q = (blocks - blocks.transpose(1, 2)).double()
            q = q / q.norm()  # the bound is 1, and they are longer
            turned = torch.einsum("knm,kni->kmi", cayley(q), flat.reshape(len(q), 4, -1))
            wanted[path] = turned.reshape(flat.shape) - flat
        tensors |= {f"{key}.{leaf}": tensor for leaf, tensor in own.items()}
        tensors[f"{key}.alpha"] = torch.tensor(1.0)
    biases = {path: numbers(len(weight(tiny_base, path))) for path in (CONV, ENDS, NORM)}
    tensors |= {f"{COMFY[path]}.diff_b": bias for path, bias in biases.items()}
    tensors[f"{COMFY[NORM]}.diff"] = numbers(len(biases[NORM]))
    weights = written(tmp_path, tensors)
    assert weights.family == "sd1"
    assert not weights.warnings
    for path, each in wanted.items():
        close(change(weights, path, weight(tiny_base, path)), each)
    before = {path: find_module(tiny_base, f"unet.{path}").bias.detach().clone() for path in biases}  # type: ignore
    norm = weight(tiny_base, NORM)
    undo = apply(tiny_base, weights, 0.5)
    for path, bias in biases.items():
        close(find_module(tiny_base, f"unet.{path}").bias.detach(), before[path] + bias / 2)  # type: ignore[union-attr]
    close(weight(tiny_base, NORM), norm + tensors[f"{COMFY[NORM]}.diff"].double() / 2)
    undo()
    for path, bias in before.items():
        assert torch.equal(find_module(tiny_base, f"unet.{path}").bias, bias)  # type: ignore[union-attr]


def test_a_bias_alone_and_one_of_another_size(tmp_path: Path, tiny_base: BaseModel) -> None:
    """As where the extraction node found no difference of the weight itself."""
    weights = written(tmp_path, {f"{COMFY[CONV]}.diff_b": torch.ones(64)})
    module = find_module(tiny_base, f"unet.{CONV}")
    assert module is not None
    undo = apply(tiny_base, weights)
    undo()
    wrong = written(tmp_path, {f"{COMFY[CONV]}.diff_b": torch.ones(65)})
    with pytest.raises(UserError, match="does not fit"):
        apply(tiny_base, wrong)


@pytest.mark.parametrize("path", [LINEAR, CONV, ENDS])
@pytest.mark.parametrize("naming", SPELLED)
@pytest.mark.parametrize("kind", ["plain", "scaled", "shared"])
def test_onetrainers_oft(
    tmp_path: Path, tiny_base: BaseModel, numbers: Callable[..., Tensor], path: str, naming: str, kind: str
) -> None:
    """A matrix's inputs are turned, x R; a convolution's weight itself, W R. R is a series of five terms."""
    w = weight(tiny_base, path)
    flat, size = w.flatten(1), 8
    count = 1 if kind == "shared" else flat.shape[1] // size
    packed = numbers(count, size * (size - 1) // 2)
    key = SPELLED[naming](path)
    tensors = {f"{key}.oft_R.weight": packed}
    if kind == "scaled":
        tensors[f"{key}.oft_R.scaled_oft"] = torch.tensor(1.0)  # a truth value, but saved in the file's number format
    q = torch.zeros(count, size, size, dtype=torch.float64)
    rows, columns = torch.triu_indices(size, size, 1)
    q[:, rows, columns] = packed.double() / (2 * math.sqrt(size - 1) if kind == "scaled" else 1)
    q = q - q.transpose(1, 2)
    turn = torch.eye(size, dtype=torch.float64) + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q
    turn = turn.expand(flat.shape[1] // size, size, size)
    parts = flat.reshape(len(flat), -1, size)
    equation = "ork,rkc->orc" if w.dim() == 4 else "ork,rck->orc"  # of y = W (x R) the weight is W R^T
    turned = torch.einsum(equation, parts, turn).reshape(flat.shape)
    weights = written(tmp_path, tensors, ot_branch="master")
    close(change(weights, path, w), turned - flat)


def test_pefts_oft_turns_all_layers_alike(tmp_path: Path, tiny_base: BaseModel, numbers: Callable[..., Tensor]) -> None:
    """Of the same leaves: what PEFT's configuration lies beside, and what is in its wrapper, is PEFT's."""
    packed = numbers(64 * 9 // 8, 28)
    theirs = written(tmp_path, {f"unet.{CONV}.oft_R.weight": packed}, lora_adapter_metadata='{"unet.r": 0}')
    wrapped = written(tmp_path, {f"base_model.model.{CONV}.oft_R.weight": packed})
    onetrainers = written(tmp_path, {f"unet.{CONV}.oft_R.weight": packed})
    leaf = f"unet.{CONV}.oft_inputs"
    assert torch.equal(theirs.tensors[leaf], wrapped.tensors[leaf])
    assert torch.equal(theirs.tensors[leaf], onetrainers.tensors[leaf].transpose(1, 2))


def test_onetrainers_loha_of_convolutions(tmp_path: Path, tiny_base: BaseModel, numbers: Callable[..., Tensor]) -> None:
    for path in (ENDS, CONV):
        w = weight(tiny_base, path)
        out, into, height, width = w.shape
        a, b, c, d = (numbers(out, 2, 1, 1), numbers(2, into, height, width)) * 2
        key = SPELLED["kohya"](path)
        own = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(1.0)}
        weights = written(tmp_path, {f"{key}.{leaf}": tensor.clone() for leaf, tensor in own.items()})
        one, two = (x.flatten(1).double() @ y.flatten(1).double() for x, y in ((a, b), (c, d)))
        close(change(weights, path, w), one * two / 2)


@pytest.mark.parametrize("path", [LINEAR, CONV])
def test_onetrainers_lokr_with_lengths(
    tmp_path: Path, tiny_base: BaseModel, numbers: Callable[..., Tensor], path: str
) -> None:
    """In diffusers' format the lengths are (out,) of a matrix, (1, out, 1, 1) of a convolution, in half precision."""
    w = weight(tiny_base, path)
    out, into = w.flatten(1).shape
    one, two, lengths = numbers(4, 4), numbers(out // 4, into // 4), numbers(out).abs() + 1
    own = {"lokr_w1": one, "lokr_w2": two.reshape(out // 4, -1, *w.shape[2:])}
    shaped = lengths if w.dim() == 2 else lengths.reshape(1, -1, 1, 1)
    tensors = {f"unet.{path}.{leaf}": tensor for leaf, tensor in own.items()}
    tensors |= {f"unet.{path}.alpha": torch.tensor(4.0), f"unet.{path}.lora_magnitude_vector.weight": shaped}
    whole = w.flatten(1) + torch.kron(one.double(), two.double())
    wanted = lengths.double()[:, None] * whole / whole.norm(dim=1, keepdim=True)
    close(change(written(tmp_path, tensors), path, w), wanted - w.flatten(1))


def test_onetrainers_projection_of_xls_second_encoder(
    tmp_path: Path, open_tiny: Callable[[str], BaseModel], numbers: Callable[..., Tensor]
) -> None:
    """It is applied; that of the first encoder, which has none, is said to be left out."""
    model = open_tiny("sdxl")
    layers = ("lora_te2_text_projection", "lora_te1_text_projection", "lora_te2_text_model_encoder_layers_0_mlp_fc1")
    tensors = {}
    for layer in layers:
        out = 64 if layer.endswith("fc1") else 48
        tensors |= {f"{layer}.lora_down.weight": numbers(2, 48), f"{layer}.lora_up.weight": numbers(out, 2)}
    tensors["bundle_emb.zqvx.clip_l_out"] = numbers(2, 32)
    fc1 = find_module(model, "text_encoder_2.encoder.layers.0.mlp.fc1")
    assert fc1 is not None
    tensors[f"{layers[2]}.lora_up.weight"] = numbers(len(weight_of(fc1)), 2)
    weights = written(tmp_path, tensors, ss_base_model_version="sdxl_")
    projection = find_module(model, "text_encoder_2.text_projection")
    assert projection is not None
    before = weight_of(projection).clone()
    undo = apply(model, weights, 1.0, 1.0)
    up, down = tensors[f"{layers[0]}.lora_up.weight"], tensors[f"{layers[0]}.lora_down.weight"]
    close(weight_of(projection).double(), before.double() + up.double() @ down.double())
    undo()
    assert len(weights.warnings) == 2
    assert "lora_te1_text_projection" in " ".join(weights.warnings)
    assert "clip_l_out" in " ".join(weights.warnings)


def test_the_scale_of_a1111(tmp_path: Path, tiny_base: BaseModel, numbers: Callable[..., Tensor]) -> None:
    key, w = SPELLED["kohya"](LINEAR), weight(tiny_base, LINEAR)
    up, down = numbers(len(w), 2), numbers(2, w.shape[1])
    own = {"lora_up.weight": up, "lora_down.weight": down, "scale": torch.tensor(0.3), "alpha": torch.tensor(8.0)}
    weights = written(tmp_path, {f"{key}.{leaf}": tensor for leaf, tensor in own.items()})
    close(change(weights, LINEAR, w), 0.3 * up.double() @ down.double())


def test_inspect_says_what_reading_says(tmp_path: Path) -> None:
    key = SPELLED["kohya"](LINEAR)
    pair = {f"{key}.lora_down.weight": torch.ones(2, 8), f"{key}.lora_up.weight": torch.ones(8, 2)}
    path = tmp_path / "theirs.safetensors"
    weights = written(tmp_path, pair | {"lora_te3_encoder_block_0_layer_0.alpha": torch.tensor(1.0)})
    assert inspect(path).warnings == weights.warnings
    assert "lora_te3_encoder_block_0_layer_0.alpha" in weights.warnings[0]
    with pytest.raises(UserError) as refused:
        written(tmp_path, {f"{key}.lora_up.weight": torch.ones(8, 2)})
    assert "half a LoRA" in str(refused.value)
    found = inspect(path)
    assert (found.kind, found.refusal) == ("lora", str(refused.value))
