"""LoRA files in diffusers' layout of every family, written and read, and the other spellings of dotted names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loras import check_in_diffusers, lora_for
from safetensors.torch import load_file, save_file

from limner.base.families import UNETS
from limner.base.model import BaseModel, text_core
from limner.errors import UserError
from limner.formats import load_weights, save_weights
from limner.formats.factors import change
from limner.formats.layers import layout
from limner.methods.applied import find_module
from limner.methods.method import apply_weights
from limner.weights import Weights

OpenTiny = Callable[[str], BaseModel]


@pytest.mark.parametrize("family", UNETS)
def test_diffusers_applies_what_is_written_for_it(
    tmp_path: Path, tiny_folders: Callable[[str], Path], open_tiny: OpenTiny, family: str
) -> None:
    """Ranks and alphas that differ from layer to layer too, which kohya's names do not bring it."""
    model = open_tiny(family)
    weights = lora_for(model, "all")
    for count, name in enumerate(sorted(weights.modules())):
        if count % 3 == 0:
            weights.tensors[f"{name}.alpha"] = torch.tensor(1.5)
        if count % 5 == 0:
            weights.tensors[f"{name}.lora_down"] = weights.tensors[f"{name}.lora_down"][:2].clone()
            weights.tensors[f"{name}.lora_up"] = weights.tensors[f"{name}.lora_up"][:, :2].clone()
    path = tmp_path / "pytorch_lora_weights.safetensors"
    saved = save_weights(weights, path, "diffusers", torch.float32, model)
    faults = {report.reader: report.fault for report in saved.reports}
    assert faults.pop("diffusers") == ""
    assert all(faults.values())
    assert {report.matched for report in saved.reports if report.reader == "diffusers"} == {len(weights.modules())}
    check_in_diffusers(tiny_folders(family), path, model, weights)
    read = load_weights(path)
    assert read.family == family
    assert read.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())


def test_each_program_is_told_of_with_its_share(tmp_path: Path, open_tiny: OpenTiny) -> None:
    """interop 1.6: of diffusers' names the webuis know some, and stable-diffusion.cpp the UNet's; none reads alphas."""
    model = open_tiny("sd1")
    weights = lora_for(model, alpha=4.0)
    reports = {r.reader: r for r in save_weights(weights, tmp_path / "x.safetensors", "diffusers", model=model).reports}
    unet = [name for name in weights.modules() if name.startswith("unet.")]
    ends = [
        name for name in weights.modules() if not any(part in name for part in (".to_q", ".to_k", ".to_v", ".to_out"))
    ]
    assert reports["A1111"].matched == reports["Forge"].matched == 0
    assert reports["ComfyUI"].matched == len(ends)
    assert reports["stable-diffusion.cpp"].matched == len(unet)
    assert "alpha" not in reports["ComfyUI"].fault
    stronger = save_weights(lora_for(model, alpha=8.0), tmp_path / "x.safetensors", "diffusers", model=model)
    told = {report.reader: (report.matched, report.fault) for report in stronger.reports}
    assert told["stable-diffusion.cpp"][0] == 0
    assert "takes each rank for the alpha" in told["stable-diffusion.cpp"][1]


def test_a_dora_for_diffusers(tmp_path: Path, tiny_folders: Callable[[str], Path], open_tiny: OpenTiny) -> None:
    model = open_tiny("sd2")
    weights = lora_for(model, text=False)
    for name in weights.modules():
        rows = find_module(model, name).weight.flatten(1).norm(dim=1)  # type: ignore[union-attr]
        weights.tensors[f"{name}.dora_scale"] = (1.1 * rows)[:, None]
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path, "diffusers", torch.float32)
    check_in_diffusers(tiny_folders("sd2"), path, model, weights)
    read = load_weights(path)
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (Weights("lora", "sd1", {"unet.conv_in.lokr_w1": torch.ones(2, 2)}), "incomplete"),
        (
            Weights("lora", "sd1", {f"unet.conv_in.lokr_w{n}": torch.ones(2, 2) for n in (1, 2)}),
            "diffusers reads no lokr",
        ),
        (Weights("embedding", "sd1", {"text_encoder": torch.ones(2, 2)}), "holds LoRAs"),
        (Weights("lora", "sd1", {}, words={"x": {"text_encoder": torch.ones(1, 2)}}), "no place"),
        (
            Weights("lora", "sd1", {f"text_encoder_2.x.lora_{s}": torch.ones(2, 2) for s in ("up", "down")}),
            "has no text_encoder_2",
        ),
    ],
)
def test_what_diffusers_layout_cannot_hold(tmp_path: Path, weights: Weights, said: str) -> None:
    with pytest.raises(UserError, match=said):
        save_weights(weights, tmp_path / "x.safetensors", "diffusers")


def spelled(model: BaseModel, weights: Weights, name: Callable[[Any], str], down: str, up: str) -> dict:
    """The tensors of a LoRA, under the names that `name` gives its layers."""
    names = {layer.name: layer for layer in layout(model).layers}
    tensors = {}
    for module, leaves in weights.modules().items():
        start = name(names[module])
        tensors |= {f"{start}{down}": leaves["lora_down"], f"{start}{up}": leaves["lora_up"]}
    return tensors


def comfyui(layer: Any) -> str:
    text = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
    if layer.network == "unet":
        return f"diffusion_model.{layer.original}"
    return f"text_encoders.{text[layer.network]}.transformer.{layer.diffusers}"


def processors(layer: Any) -> str:
    """As diffusers' attention processors were saved."""
    path = layer.diffusers.replace("attn1.", "attn1.processor.").replace("attn2.", "attn2.processor.")
    for new, old in (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")):
        path = path.replace(new, old)
    return f"{layer.network}.{path.removesuffix('.0') if path.endswith('to_out.0') else path}"


def plain(layer: Any) -> str:
    return f"{layer.network}.{layer.diffusers}"


SPELLINGS = {
    "comfyui": (comfyui, ".lora_down.weight", ".lora_up.weight"),
    "comfyui, peft": (comfyui, ".lora_A.default.weight", ".lora_B.default.weight"),
    "diffusers, old": (processors, "_lora.down.weight", "_lora.up.weight"),
    "diffusers": (plain, ".lora.down.weight", ".lora.up.weight"),
    "diffusers, linear": (plain, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    "peft": (plain, ".lora_A.weight", ".lora_B.weight"),
    "peft, default": (plain, ".lora_A.default.weight", ".lora_B.default.weight"),
    "peft, bare": (plain, ".lora_A", ".lora_B"),
    "whole": (lambda layer: f"base_model.model.{plain(layer)}", ".lora_A.weight", ".lora_B.weight"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_spellings(tmp_path: Path, open_tiny: OpenTiny, spelling: str, family: str, suffix: str) -> None:
    model = open_tiny(family)
    weights = lora_for(model, alpha=4.0)
    tensors = spelled(model, weights, *SPELLINGS[spelling])
    path = tmp_path / f"fox{suffix}"
    if suffix == ".bin":
        torch.save(tensors, path)
    else:
        save_file(tensors, path, {"ss_base_model_version": UNETS[family].ss_base_model_version})
    read = load_weights(path)
    assert read.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())


def test_alphas_among_the_tensors_count(tmp_path: Path, open_tiny: OpenTiny) -> None:
    model = open_tiny("sd1")
    weights = lora_for(model, alpha=2.5)
    tensors = spelled(model, weights, *SPELLINGS["comfyui"])
    tensors |= {key.replace("lora_up.weight", "alpha"): torch.tensor(2.5) for key in tensors if "lora_up" in key}
    save_file(tensors, tmp_path / "fox.safetensors")
    read = load_weights(tmp_path / "fox.safetensors")
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.tensors.items())


PEFT: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "lora_alpha": 2, "init_lora_weights": False}),
    "rslora": ("LoraConfig", {"r": 4, "lora_alpha": 2, "use_rslora": True, "init_lora_weights": False}),
    "loha": ("LoHaConfig", {"r": 4, "alpha": 2, "init_weights": False}),
    "loha, cores": ("LoHaConfig", {"r": 4, "alpha": 2, "init_weights": False, "use_effective_conv2d": True}),
    "lokr": ("LoKrConfig", {"r": 4, "alpha": 2, "init_weights": False}),
    "lokr, whole": ("LoKrConfig", {"r": 64, "alpha": 2, "init_weights": False}),
    "lokr, both": ("LoKrConfig", {"r": 2, "alpha": 3, "init_weights": False, "decompose_both": True}),
    "lokr, core": ("LoKrConfig", {"r": 2, "alpha": 3, "init_weights": False, "use_effective_conv2d": True}),
    "oft": ("OFTConfig", {"oft_block_size": 8, "init_weights": False, "r": 0}),
    "oft, exact": ("OFTConfig", {"oft_block_size": 8, "init_weights": False, "r": 0, "use_cayley_neumann": False}),
    "oft, shared": ("OFTConfig", {"oft_block_size": 8, "init_weights": False, "r": 0, "block_share": True}),
    "oft, terms": ("OFTConfig", {"oft_block_size": 8, "init_weights": False, "r": 0, "num_cayley_neumann_terms": 3}),
    "ia3": ("IA3Config", {"feedforward_modules": ["ff.net.2", "conv1"]}),
}


@pytest.mark.parametrize(  # the kinds, and among the slow tests what settings make of them
    "sort", [pytest.param(each, marks=pytest.mark.slow) if ", " in each else each for each in PEFT]
)
@pytest.mark.parametrize(
    "beside", [pytest.param(False, id="metadata"), pytest.param(True, id="beside", marks=pytest.mark.slow)]
)
def test_what_peft_makes(tmp_path: Path, open_tiny: OpenTiny, sort: str, beside: bool) -> None:
    """Its file, with its configuration in the metadata or in a file beside it, changes a UNet as PEFT itself does."""
    import peft

    model = open_tiny("sd1")
    unet = model.networks["unet"].to(memory_format=torch.contiguous_format)  # as PEFT's OFT needs it
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    kind, settings = PEFT[sort]
    targets = ["to_k", "to_v", "ff.net.2", "conv1"] if sort == "ia3" else ["to_q", "to_out.0", "proj_in", "conv1"]
    config = getattr(peft, kind)(target_modules=targets, **settings)
    torch.manual_seed(0)
    peft.inject_adapter_in_model(config, unet)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if any(part in name for part in ("ia3_l", "oft_R", "hada", "lokr")):
                parameter.add_(0.1 * torch.randn(parameter.shape))
    state = {name: tensor.contiguous().clone() for name, tensor in peft.get_peft_model_state_dict(unet).items()}
    told = {
        name: value for name, value in config.to_dict().items() if isinstance(value, int | float | str | dict | list)
    }
    told |= {name: sorted(value) for name, value in config.to_dict().items() if isinstance(value, set)}
    path = tmp_path / "adapter_model.safetensors"
    if beside:
        (tmp_path / "adapter_config.json").write_text(json.dumps(told))
        save_file({f"base_model.model.{name}": tensor for name, tensor in state.items()}, path)
    else:
        metadata = {"lora_adapter_metadata": json.dumps({f"unet.{name}": value for name, value in told.items()})}
        save_file({f"unet.{name}": tensor for name, tensor in state.items()}, path, metadata)
    weights = load_weights(path)
    layers = {name: module for name, module in unet.named_modules() if hasattr(module, "merge")}
    assert {f"unet.{name}" for name in layers} == weights.modules().keys()
    for name, layer in layers.items():
        weight = before[f"{name}.weight"]
        layer.merge()
        merged = layer.get_base_layer().weight.detach()
        assert not torch.equal(merged, weight)
        torch.testing.assert_close(
            change(weights.modules()[f"unet.{name}"], weight), merged - weight, atol=2e-6, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("tensors", "settings", "said"),
    [
        ({"oft_R.weight": torch.ones(4, 5)}, {}, "no triangle"),
        ({"oft_R.weight": torch.ones(4, 28)}, {"coft": True}, "bounded"),
        ({"oft_R.weight": torch.ones(4, 28)}, {"num_cayley_neumann_terms": "all"}, "number of its OFT's terms"),
        ({"ia3_l": torch.ones(32, 1)}, {}, "changes the bias too"),
        ({"hada_w1_a": torch.ones(4, 2)}, {}, "lacks hada_w1_b"),
        (
            {"lora_A.weight": torch.ones(2, 4), "lora_B.weight": torch.ones(4, 2)},
            {"lora_alpha": "much"},
            "not a number",
        ),
    ],
)
def test_strange_files_of_peft(tmp_path: Path, tensors: dict, settings: dict, said: str) -> None:
    path = tmp_path / "fox.safetensors"
    metadata = {"lora_adapter_metadata": json.dumps({f"unet.{name}": value for name, value in settings.items()})}
    save_file({f"unet.mid_block.attentions.0.proj_in.{leaf}": t for leaf, t in tensors.items()}, path, metadata)
    with pytest.raises(UserError, match=said):
        load_weights(path)


def test_a_checkpoint_of_one_network_is_no_adapter(tmp_path: Path, open_tiny: OpenTiny) -> None:
    unet = open_tiny("sd1").networks["unet"]
    save_file({name: tensor.contiguous() for name, tensor in unet.state_dict().items()}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="looks like: unet"):
        load_weights(tmp_path / "x.safetensors")


def test_names_of_both_text_encoders_are_of_them(tmp_path: Path, open_tiny: OpenTiny) -> None:
    model = open_tiny("sdxl")
    weights = lora_for(model)
    path = tmp_path / "x.safetensors"
    save_weights(weights, path, "diffusers")
    keys = load_file(path).keys()
    assert "text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight" in keys
    second = text_core(model.networks["text_encoder_2"]).encoder.layers[0].mlp.fc1.weight
    plain = second.clone()
    undo = apply_weights(model, load_weights(path))
    assert not torch.equal(second, plain)
    undo()
    assert torch.equal(second, plain)
