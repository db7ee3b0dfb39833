"""stable-diffusion.cpp itself opens our checkpoint and our adapters, and draws what `limner generate` draws.

It knows no widths but Stable Diffusion's own, so the model is whole: random weights of 2.13 GB in half precision. Both
draw from the same noise, for its `cpu` generator is torch's, by the same sampler: at four steps, Euler's timesteps are
whole numbers, and both find the same noise levels. Its package is built from source: `make readers`.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from limner.base.identify import ARCHITECTURE
from limner.base.model import BaseModel, text_core
from limner.base.open import open_base
from limner.base.published import published
from limner.formats import inspect, save_weights
from limner.generate import Request, generate
from limner.methods.method import find_method
from limner.named import PromptFiles
from limner.weights import Weights

READERS = Path(os.environ.get("LIMNER_READERS", Path(__file__).parents[2] / "build" / "readers"))
PACKAGE = "stable_diffusion_cpp"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (READERS / PACKAGE).is_dir() and importlib.util.find_spec(PACKAGE) is None,
        reason="stable-diffusion-cpp-python is not there; make readers builds it, in some minutes",
    ),
]
NEGATIVE, STEPS, CFG, SEED, SIDE = "blurry", 4, 3.0, 11, 64
PROMPT, WORD = "a fox", "zqvx"
PROGRAM = """
import json, sys
sys.path.append(sys.argv[1])
from stable_diffusion_cpp import StableDiffusion, sd_embedding_t
task = json.load(sys.stdin)
words = task["model"].get("embedding_paths", [])
# 0.4.7 collects them in a local variable, and looks for them here
StableDiffusion._embedding_items = [sd_embedding_t(name=sys.argv[2].encode(), path=each.encode()) for each in words]
model = StableDiffusion(rng_type="cpu", sampler_rng_type="cpu", n_threads=1, verbose=False, **task["model"])
model.generate_image(**task["settings"])[0].save(task["path"])
"""
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "text_encoder": True},
    "locon": {"rank": 4, "text_encoder": True},
    "loha": {"rank": 4, "text_encoder": True},
    "lokr": {"rank": 4, "text_encoder": True},
    "dora": {"rank": 4},
    "oft": {},
    "ia3": {},
}
SIZES = {"lokr": 0.2, "dora": 0.15}  # of the random numbers, so that each is seen well above a picture's rounding
DRAWING = {
    "negative_prompt": NEGATIVE, "sample_steps": STEPS, "sample_method": "euler", "scheduler": "discrete",
    "cfg_scale": CFG, "width": SIDE, "height": SIDE, "seed": SEED,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1's networks with the random weights that their classes begin with, in our writer's file."""
    configs = published("sd1")
    tensors = {}
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    try:
        networks: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(configs["unet"]),
            "vae": AutoencoderKL.from_config(configs["vae"]),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**configs["text_encoder"])),
        }
    finally:
        torch.set_default_dtype(torch.float32)
    for part, network in networks.items():
        tensors |= {f"{part}.{name}": tensor.half() for name, tensor in text_core(network).state_dict().items()}
    weights = Weights("checkpoint", "sd1", tensors, {ARCHITECTURE: json.dumps(configs)})
    saved = save_weights(weights, tmp_path_factory.mktemp("Stable-diffusion") / "whole.safetensors")
    assert 2.12e9 < saved.size_bytes < 2.14e9
    return saved.path


def adapter(model: BaseModel, name: str) -> Weights:
    """What a method might have learned, drawn at random and strong enough to be seen."""
    method: Any = find_method(name)(find_method(name).Config.read(METHODS[name], "test"))
    method.attach(model)
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for leaf, tensor in method.state().items():
            noise = SIZES.get(name, 0.1) * torch.randn(tensor.shape, generator=numbers)
            tensor.mul_(1 + noise) if leaf.endswith("dora_scale") else tensor.add_(noise)
    method.detach()
    return method.weights()


class Both:
    """Draws a prompt with Limner and with stable-diffusion.cpp, from the files of one folder, once each."""

    def __init__(self, checkpoint: Path, folder: Path) -> None:
        self.model = open_base(checkpoint, torch.device("cpu"), torch.float32)
        self.checkpoint, self.folder = checkpoint, folder
        self._drawn: dict[str, np.ndarray] = {}

    def lora(self, name: str) -> Path:
        """The file of a method, which is written when it is first asked for."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            save_weights(adapter(self.model, name), path)
        return path

    def ours(self, prompt: str, *loras: Path, word: Path | None = None) -> np.ndarray:
        key = f"ours {prompt} {loras} {word}"
        if key not in self._drawn:
            request = Request(prompt, NEGATIVE, STEPS, "Euler", cfg_scale=CFG, width=SIDE, height=SIDE, seed=SEED)
            made = next(generate(self.model, request, PromptFiles(*loras, embeddings=[word] if word else [])))
            self._drawn[key] = np.asarray(made.image).astype(float)
        return self._drawn[key]

    def theirs(self, prompt: str, **settings: Any) -> np.ndarray:
        """stable-diffusion.cpp's picture, drawn by a process of its own, for a fault in it ends its process."""
        key = f"theirs {prompt} {settings}"
        if key not in self._drawn:
            path = self.folder / "picture.png"
            task = {
                "model": {"model_path": str(self.checkpoint), "lora_model_dir": str(self.folder)} | settings,
                "settings": DRAWING | {"prompt": prompt},
                "path": str(path),
            }
            command = [sys.executable, "-c", PROGRAM, str(READERS), WORD]
            subprocess.run(command, input=json.dumps(task), text=True, check=True)
            self._drawn[key] = np.asarray(Image.open(path).convert("RGB")).astype(float)
        return self._drawn[key]

    def agree(self, what: str, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
        """Correlation of what a file changes in the two, and the largest difference of that, of 255."""
        ours, theirs = ours - self.ours(PROMPT), theirs - self.theirs(PROMPT)
        correlation, largest = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1], np.abs(ours - theirs).max()
        print(f"\n{what}: up to {np.abs(ours).max():.0f} of 255; correlation {correlation:.4f}, off by {largest:.0f}")
        assert np.abs(ours).max() > 10
        return float(correlation), float(largest)


@pytest.fixture(scope="module")
def both(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(checkpoint, tmp_path_factory.mktemp("Lora"))


def test_the_checkpoint_alone_draws_the_same_picture(both: Both) -> None:
    ours, theirs = both.ours(PROMPT), both.theirs(PROMPT)
    print(
        f"\nbase: largest difference {np.abs(ours - theirs).max():.0f} of 255, mean {np.abs(ours - theirs).mean():.3f}"
    )
    assert ours.std() > 10
    assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize(
    ("name", "strength"), [("lora", "1"), ("lora", "0.5"), ("locon", "1"), ("loha", "1"), ("lokr", "1")]
)
def test_a_file_makes_the_same_difference(both: Both, name: str, strength: str) -> None:
    path = both.lora(name)
    prompt = f"{PROMPT} <lora:{name}:{strength}>"
    correlation, largest = both.agree(f"{name} at {strength}", both.ours(prompt, path), both.theirs(prompt))
    assert correlation > 0.99
    assert largest <= 3


def test_with_quantised_models_it_applies_a_lora_while_it_draws(both: Both) -> None:
    path, prompt = both.lora("lora"), f"{PROMPT} <lora:lora:1>"
    theirs = both.theirs(prompt, lora_apply_mode="at_runtime")
    correlation, largest = both.agree("lora at run time", both.ours(prompt, path), theirs)
    assert (correlation > 0.99, largest <= 3) == (True, True)


def test_of_a_dora_it_leaves_out_the_lengths(both: Both, tmp_path: Path) -> None:
    both.lora("dora")
    weights = adapter(both.model, "dora")
    known = {leaf: tensor for leaf, tensor in weights.tensors.items() if not leaf.endswith("dora_scale")}
    without = save_weights(replace(weights, tensors=known), tmp_path / "dora.safetensors").path
    prompt = f"{PROMPT} <lora:dora:1>"
    correlation, largest = both.agree("dora", both.ours(prompt, without), both.theirs(prompt))
    assert (correlation > 0.99, largest <= 3) == (True, True)


@pytest.mark.parametrize("name", ["oft", "ia3"])
def test_what_it_is_said_to_leave_out_it_leaves_out(both: Both, name: str) -> None:
    both.lora(name)
    assert np.array_equal(both.theirs(f"{PROMPT} <lora:{name}:1>"), both.theirs(PROMPT))


@pytest.mark.parametrize(("dtype", "is_right"), [(torch.float32, True), (torch.float16, False)])
def test_it_reads_embeddings_of_single_precision(
    both: Both, tmp_path: Path, dtype: torch.dtype, is_right: bool
) -> None:
    """Those of half precision it takes for single, as `limner inspect` says of them."""
    vectors = {"text_encoder": 0.2 * torch.randn((2, 768), generator=torch.Generator().manual_seed(1))}
    word = save_weights(Weights("embedding", "sd1", vectors), tmp_path / f"{WORD}.safetensors", dtype=dtype).path
    prompt = f"{PROMPT} {WORD}"
    theirs = both.theirs(prompt, embedding_paths=[str(word)])
    correlation, largest = both.agree(f"embedding, {dtype}", both.ours(prompt, word=word), theirs)
    assert (correlation > 0.99, largest <= 3) == (is_right, is_right)
    assert (inspect(word).faults.get("stable-diffusion.cpp") is None) == is_right
