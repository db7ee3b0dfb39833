"""Files of the LoRA's relatives: names, what each program makes of them, and files that LyCORIS and PEFT write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner.base.model import BaseModel
from limner.base.sd1 import SD1
from limner.errors import UserError
from limner.formats import inspect, load_weights, save_weights, verify
from limner.formats.factors import change
from limner.formats.names import file_name
from limner.formats.programs import FAULTS, REMARKS
from limner.generate import Request, generate
from limner.methods.applied import find_module
from limner.methods.method import apply_weights, find_method
from limner.named import PromptFiles
from limner.weights import Weights

KIN = ["dora", "ia3", "locon", "loha", "lokr", "oft"]
LEAVES = {
    "dora": {"lora_down.weight", "lora_up.weight", "alpha", "dora_scale"},
    "ia3": {"weight", "on_input"},
    "locon": {"lora_down.weight", "lora_up.weight", "alpha"},
    "loha": {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"},
    "lokr": {"lokr_w1", "lokr_w2_a", "lokr_w2_b", "lokr_w2", "alpha"},
    "oft": {"oft_blocks", "alpha"},
}
WRONG = {  # interop 1.7
    "dora": {"A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"},
    "ia3": {"Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"},
    "locon": set(),
    "loha": {"diffusers"},
    "lokr": {"diffusers"},
    "oft": {"Forge", "stable-diffusion.cpp", "diffusers"},
}
MakeLora = Callable[..., Weights]


@pytest.fixture
def trained(tiny_base: BaseModel) -> MakeLora:
    """trained("loha", layers="all") -> weights of a method as of a long training, of random values."""

    def make(name: str, **settings: Any) -> Weights:
        method = find_method(name)(find_method(name).Config.read(settings, "test"))
        method.attach(tiny_base)
        numbers = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for leaf, tensor in method.state().items():
                noise = torch.randn(tensor.shape, generator=numbers)
                tensor.mul_(1 + 0.2 * noise) if leaf.endswith("dora_scale") else tensor.add_(0.1 * noise)
        method.detach()
        return method.weights()

    return make


@pytest.mark.parametrize("name", KIN)
def test_each_program_is_told_of_what_it_reads_wrongly(
    tmp_path: Path, tiny_base: BaseModel, trained: MakeLora, name: str
) -> None:
    weights = trained(name, layers="all", **({} if name in ("oft", "ia3") else {"rank": 2}))
    path = tmp_path / "fox.safetensors"
    saved = save_weights(weights, path, model=tiny_base)
    assert {report.reader for report in saved.reports if report.fault} == WRONG[name]
    for report in saved.reports:
        if not report.fault:
            assert report.matched == len(weights.modules())
            assert not report.unmatched
            assert report.largest_error < 0.01
    assert {key.partition(".")[2] for key in load_file(path)} <= LEAVES[name]
    summary = inspect(path)
    assert summary.kind == ("lora" if name == "locon" else name)
    assert sum(summary.modules.values()) == len(weights.modules())
    assert summary.faults == REMARKS.get(summary.kind, {}) | FAULTS[summary.kind]
    read = load_weights(path)
    assert read.modules().keys() == weights.modules().keys()


@pytest.mark.parametrize("name", KIN)
def test_a_file_made_wrong_is_found_where_programs_read_it(
    tmp_path: Path, tiny_base: BaseModel, trained: MakeLora, name: str
) -> None:
    """By those that are known to read this form; where none does, nothing is claimed."""
    weights = trained(name)
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path)
    tensors = load_file(path)
    key = next(key for key in tensors if key.endswith(("up.weight", "w2_a", "lokr_w2", "oft_blocks", "to_k.weight")))
    save_file(tensors | {key: 2 * tensors[key]}, path)
    if name == "dora":
        assert {report.reader for report in verify(path, tiny_base, weights) if report.fault} == WRONG[name]
    else:
        with pytest.raises(UserError, match="as it was trained"):
            verify(path, tiny_base, weights)


@pytest.mark.parametrize("name", ["dora", "loha", "lokr", "oft", "ia3"])
def test_lycoris_reads_what_limner_writes_and_limner_what_lycoris_writes(
    tmp_path: Path, tiny_base: BaseModel, trained: MakeLora, name: str
) -> None:
    """Its own loader takes each layer from our file; what it makes of it goes into a file again, and comes back."""
    from lycoris.modules import get_module, make_module
    from lycoris.modules.ia3 import IA3Module

    weights = trained(name, layers="all", text_encoder=True)
    path, again = tmp_path / "fox.safetensors", tmp_path / "again.safetensors"
    save_weights(weights, path, dtype=torch.float32)
    tensors = load_file(path)
    returned = {}
    for module, leaves in weights.modules().items():
        layer: Any = find_module(tiny_base, module)
        key = file_name(module, SD1)
        if name == "ia3":  # its loader forgets on which side the numbers are
            theirs = IA3Module(key, layer, train_on_input=bool(leaves["on_input"]))
            theirs.weight.data.copy_(tensors[f"{key}.weight"])
        else:
            theirs = make_module(*get_module(tensors, key), key, layer)
        x = torch.randn(2, *([layer.weight.shape[1]] if layer.weight.dim() == 2 else [layer.weight.shape[1], 4, 4]))
        with torch.no_grad():
            plain = layer(x)
            theirs.apply_to()
            moved = layer(x) - plain
            theirs.restore()
        kernel = change(leaves, layer.weight)
        options = {} if layer.weight.dim() == 2 else {"stride": layer.stride, "padding": layer.padding}
        ours = (torch.nn.functional.linear if layer.weight.dim() == 2 else torch.nn.functional.conv2d)(
            x, kernel, **options
        )
        torch.testing.assert_close(ours, moved, rtol=1e-3, atol=1e-4)
        returned |= {f"{key}.{leaf}": tensor.contiguous() for leaf, tensor in theirs.state_dict().items()}
    save_file(returned, again)
    read = load_weights(again)
    assert read.modules().keys() == weights.modules().keys()
    for module, leaves in weights.modules().items():
        layer = find_module(tiny_base, module)
        torch.testing.assert_close(change(read.modules()[module], layer.weight), change(leaves, layer.weight))


def test_names_of_lycoris_without_kohyas_trainer_are_read(tmp_path: Path) -> None:
    key = "lycoris_mid_block_attentions_0_proj_in"
    tensors = {
        f"{key}.lokr_w1": torch.ones(8, 8),
        f"{key}.lokr_w2": torch.ones(8, 8),
        f"{key}.alpha": torch.tensor(1.0),
    }
    save_file(tensors, tmp_path / "fox.safetensors")
    assert load_weights(tmp_path / "fox.safetensors").modules().keys() == {"unet.mid_block.attentions.0.proj_in"}


def test_a_dora_by_column_is_read_rightly_by_the_webuis(tmp_path: Path) -> None:
    key = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = {"lora_down.weight": (2, 64), "lora_up.weight": (64, 2), "dora_scale": (1, 64)}
    save_file({f"{key}.{leaf}": torch.ones(shape) for leaf, shape in tensors.items()}, tmp_path / "fox.safetensors")
    assert inspect(tmp_path / "fox.safetensors").faults.keys() == {"stable-diffusion.cpp", "diffusers"}
    (leaves,) = load_weights(tmp_path / "fox.safetensors").modules().values()
    assert leaves.keys() == {"lora_down", "lora_up", "dora_scale", "alpha"}


def test_a_dora_of_peft_is_read(tmp_path: Path, tiny_base: BaseModel) -> None:
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    unet = tiny_base.networks["unet"]
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    settings = LoraConfig(
        r=4, lora_alpha=2, use_dora=True, init_lora_weights=False, target_modules=["to_q", "proj_in", "conv1"]
    )
    torch.manual_seed(0)
    inject_adapter_in_model(settings, unet)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1 + 0.1 * torch.randn(parameter.shape))
    tensors = {f"unet.{name}": tensor.contiguous() for name, tensor in get_peft_model_state_dict(unet).items()}
    save_file(tensors, tmp_path / "fox.safetensors", {"lora_adapter_metadata": '{"unet.lora_alpha": 2}'})
    weights = load_weights(tmp_path / "fox.safetensors")
    assert inspect(tmp_path / "fox.safetensors").kind == "dora"
    layers = {name: module for name, module in unet.named_modules() if hasattr(module, "merge")}
    assert {f"unet.{name}" for name in layers} == weights.modules().keys()
    for name, layer in layers.items():
        weight = before[f"{name}.weight"]
        layer.merge()
        merged = layer.get_base_layer().weight.detach()
        torch.testing.assert_close(change(weights.modules()[f"unet.{name}"], weight), merged - weight)


@pytest.mark.parametrize("name", ["dora", "ia3", "loha", "lokr", "oft"])
def test_prompts_use_them_all(tmp_path: Path, tiny_base: BaseModel, trained: MakeLora, name: str) -> None:
    save_weights(trained(name, text_encoder=True), tmp_path / "zqvx.safetensors")
    files = PromptFiles(tmp_path)

    def draw(prompt: str) -> bytes:
        request = Request(prompt, steps=1, width=64, height=64, seed=1, cfg_scale=1)
        return next(generate(tiny_base, request, files)).image.tobytes()

    plain = draw("a cat")
    assert draw("a cat <lora:zqvx:0>") == plain
    assert draw("a cat <lora:zqvx:1>") != plain
    assert draw("a cat <lora:zqvx:0.3:1>") != draw("a cat <lora:zqvx:1>")
    assert draw("a cat") == plain


@pytest.mark.parametrize("deep", [False, True])
def test_gloras_of_both_orders_are_told_apart(tmp_path: Path, deep: bool) -> None:
    """interop 1.4: what LyCORIS now calls a1, a2, b1, b2 it called a2, a1, b2, b1 before."""
    numbers = torch.Generator().manual_seed(2)
    ones = (1, 1) if deep else ()
    shapes = {"a1": (16, 3), "a2": (3, 16), "b1": (24, 3), "b2": (3, 16)}
    now = {leaf: torch.randn((*shape, *ones), generator=numbers) for leaf, shape in shapes.items()}
    before = {leaf[0] + "21"[int(leaf[1]) - 1]: tensor for leaf, tensor in now.items()}
    weight = torch.randn((24, 16, *ones), generator=numbers)
    key = "lora_unet_mid_block_attentions_0_proj_in"
    for at, leaves in enumerate((now, before)):
        file = tmp_path / f"fox{at}.safetensors"
        save_file(
            {f"{key}.{leaf}.weight": t.clone() for leaf, t in leaves.items()} | {f"{key}.alpha": torch.tensor(1.5)},
            file,
        )
        (read,) = load_weights(file).modules().values()
        a1, a2, b1, b2 = (now[leaf].flatten(1) for leaf in ("a1", "a2", "b1", "b2"))
        wanted = 0.5 * (weight.flatten(1) @ a1 @ a2 + b1 @ b2)
        torch.testing.assert_close(change(read, weight), wanted.view(weight.shape))
        assert inspect(file).kind == "glora"


@pytest.mark.parametrize("leaf", ["diff", "w_norm", "a1.weight", "oft_blocks"])
def test_what_is_only_read_is_not_written(tmp_path: Path, leaf: str) -> None:
    leaves = {
        "diff": {"diff": (4, 4)},
        "w_norm": {"w_norm": (4,), "b_norm": (4,)},
        "oft_blocks": {"oft_blocks": (2, 4, 4, 4)},
    }
    leaves["a1.weight"] = {
        f"{name}.weight": (4, 2) if name in ("a1", "b1") else (2, 4) for name in ("a1", "a2", "b1", "b2")
    }
    key = "lora_unet_mid_block_resnets_0_norm1"
    save_file(
        {f"{key}.{name}": torch.ones(shape) for name, shape in leaves[leaf].items()}, tmp_path / "fox.safetensors"
    )
    weights = load_weights(tmp_path / "fox.safetensors")
    assert weights.modules().keys() == {"unet.mid_block.resnets.0.norm1"}
    with pytest.raises(UserError, match="reads but does not write"):
        save_weights(weights, tmp_path / "again.safetensors")


def test_a_change_of_a_bias_that_is_not_there_does_not_fit(tmp_path: Path, tiny_base: BaseModel) -> None:
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {f"{key}.diff": torch.ones(64, 64), f"{key}.diff_b": torch.ones(64)}
    save_file(tensors, tmp_path / "fox.safetensors")
    with pytest.raises(UserError, match="does not fit the base"):
        apply_weights(tiny_base, load_weights(tmp_path / "fox.safetensors"))
