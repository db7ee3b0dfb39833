"""Whole files through LyCORIS's own trainer network: those that it writes, read by Limner, and ours, read by it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.base.model import BaseModel, text_core
from limner.device import generator
from limner.formats import load_weights, save_weights
from limner.methods.lora import LoRA
from limner.methods.method import find_method

# LyCORIS's arguments for its trainer: each algorithm with what changes the leaves that its files have.
WRITTEN: dict[str, dict[str, Any]] = {
    "lora": {},
    "lora, core": {"use_tucker": True},
    "lora, rank stabilised": {"rs_lora": True},
    "dora": {"dora_wd": True},
    "dora by column": {"dora_wd": True, "wd_on_output": False},
    "loha": {"algo": "loha"},
    "loha, cores": {"algo": "loha", "use_tucker": True},
    "loha with lengths": {"algo": "loha", "dora_wd": True},
    "lokr": {"algo": "lokr", "factor": 4},
    "lokr, whole": {"algo": "lokr", "full_matrix": True},
    "lokr, core": {"algo": "lokr", "use_tucker": True, "factor": 2},
    "lokr, both halved": {"algo": "lokr", "decompose_both": True, "factor": 8},
    "oft": {"algo": "diag-oft"},
    "oft, bounded": {"algo": "diag-oft", "constraint": 1e-3},
    "oft, rescaled": {"algo": "diag-oft", "rescaled": True},
    "ia3": {"algo": "ia3"},
    "full": {"algo": "full"},
    "glora": {"algo": "glora"},
    "boft": {"algo": "boft"},
    "boft, bounded": {"algo": "boft", "constraint": 1e-3, "rescaled": True},
    "norms": {"train_norm": True},
}
PRESET = """
unet_target_module = ["Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D"]
unet_target_name = []
text_encoder_target_module = ["CLIPAttention", "CLIPMLP"]
text_encoder_target_name = []
name_algo_map = {}
"""  # its own "full" finds the time embedding twice in diffusers' UNet
IA3_PRESET = """
unet_target_module = []
unet_target_name = [".*to_k", ".*to_v", '.*ff\\.net\\.2']
text_encoder_target_module = []
text_encoder_target_name = [".*k_proj", ".*v_proj", '.*mlp\\.fc2']
[name_algo_map.'.*mlp\\.fc2']
train_on_input = true
[name_algo_map.'.*ff\\.net\\.2']
train_on_input = true
"""  # of its own "ia3" no name is found, for it takes them for patterns of whole paths
READ: dict[str, dict[str, Any]] = {name: {"rank": 3} for name in ("lora", "locon", "dora", "loha", "lokr")}
READ |= {"oft": {}, "lora, rank stabilised": {"rank": 3, "rank_stabilised": True}}


class Wrapped(nn.Module):
    """A text encoder with the `text_model` that transformers had when LyCORIS's names were made."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.text_model = text_core(encoder)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    from lycoris.logging import logger

    level = logger.level
    logger.setLevel("ERROR")
    yield
    logger.setLevel(level)


def outputs(model: BaseModel) -> dict[str, Tensor]:
    """What both networks make of the same inputs."""
    numbers = generator(9)
    latents, states = torch.randn((1, 4, 8, 8), generator=numbers), torch.randn((1, 77, 32), generator=numbers)
    ids = torch.arange(1000, 1077)[None]
    with torch.no_grad():
        return {
            "unet": model.networks["unet"](latents, 400, states).sample,
            "text_encoder": model.networks["text_encoder"](ids).last_hidden_state,
        }


def compare(theirs: dict[str, Tensor], ours: dict[str, Tensor], plain: dict[str, Tensor]) -> None:
    """That the files' changes agree to a thousandth of themselves, and are not nothing."""
    for network, output in theirs.items():
        moved = float((output - plain[network]).norm() / plain[network].norm())
        error = float((ours[network] - output).norm() / (output - plain[network]).norm())
        assert moved > 0.01, network
        assert error < 1e-3, f"{network}: {error}"


@pytest.mark.parametrize(  # the kinds, and among the slow tests what settings make of them
    "sort", [pytest.param(each, marks=pytest.mark.slow) if " " in each else each for each in WRITTEN]
)
def test_limner_reads_what_lycoris_writes(tmp_path: Path, tiny_base: BaseModel, sort: str) -> None:
    from lycoris.kohya import create_network

    torch.manual_seed(1)
    tiny_base.networks["unet"].to(memory_format=torch.contiguous_format)  # or LyCORIS cannot save its "full"
    before = {name: tensor.clone() for name, tensor in tiny_base.networks["unet"].state_dict().items()}
    text = Wrapped(tiny_base.networks["text_encoder"])
    plain = outputs(tiny_base)
    (tmp_path / "preset.toml").write_text(IA3_PRESET if sort == "ia3" else PRESET)
    settings = {"preset": str(tmp_path / "preset.toml")} | WRITTEN[sort]
    network = create_network(1.0, 3, 2.0, None, text, tiny_base.networks["unet"], **settings)
    network.apply_to(text, tiny_base.networks["unet"], True, True)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape)
            parameter.mul_(1 + 0.2 * noise) if name.endswith(("dora_scale", "rescale")) else parameter.add_(0.2 * noise)
    theirs = outputs(tiny_base)
    path = tmp_path / "fox.safetensors"
    network.save_weights(str(path), torch.float32, {"ss_base_model_version": "sd_v1"})
    for module in network.loras:
        module.restore()
    weights = load_weights(path)
    undo = LoRA.apply(tiny_base, weights)
    ours = outputs(tiny_base)
    undo()
    after = tiny_base.networks["unet"].state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert len(weights.modules()) == len(network.loras)
    compare(theirs, ours, plain)


@pytest.mark.parametrize("sort", READ)
def test_lycoris_reads_what_limner_writes(tmp_path: Path, tiny_base: BaseModel, sort: str) -> None:
    from lycoris.kohya import create_network_from_weights

    name = sort.partition(",")[0]
    method: Any = find_method(name)(find_method(name).Config.read({"text_encoder": True} | READ[sort], "test"))
    method.attach(tiny_base)
    with torch.no_grad():
        for leaf, tensor in method.state().items():
            noise = torch.randn(tensor.shape, generator=generator(len(leaf)))
            tensor.mul_(1 + 0.2 * noise) if leaf.endswith("dora_scale") else tensor.add_(0.2 * noise)
    method.detach()
    weights = method.weights()
    path = save_weights(weights, tmp_path / "fox.safetensors", dtype=torch.float32).path
    plain = outputs(tiny_base)
    undo = LoRA.apply(tiny_base, weights)
    ours = outputs(tiny_base)
    undo()
    text = Wrapped(tiny_base.networks["text_encoder"])
    network, _ = create_network_from_weights(1.0, str(path), None, text, tiny_base.networks["unet"])
    network.weights_sd = {}
    network.apply_to(text, tiny_base.networks["unet"], True, True)
    theirs = outputs(tiny_base)
    for module in network.loras:
        module.restore()
    assert len(network.loras) == len(weights.modules())
    compare(theirs, ours, plain)
