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
from dataclasses import dataclass, replace
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
from limner.formats import save_weights
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
RUNTIME = {"lora_apply_mode": "at_runtime"}  # its way with quantised models; with others it adds to their weights
PROGRAM = """
import json, sys
sys.path.append(sys.argv[1])
from stable_diffusion_cpp import StableDiffusion, sd_embedding_t
for picture in json.load(sys.stdin):
    words = picture["model"].get("embedding_paths", [])
    # 0.4.7 collects them in a local variable, and looks for them here
    StableDiffusion._embedding_items = [sd_embedding_t(name=sys.argv[2].encode(), path=each.encode()) for each in words]
    model = StableDiffusion(rng_type="cpu", sampler_rng_type="cpu", n_threads=1, verbose=False, **picture["model"])
    model.generate_image(**picture["settings"])[0].save(picture["path"])
    model.close()
"""
# Methods of all layers that they take, by their settings. "dora": stable-diffusion.cpp leaves out the lengths.
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "text_encoder": True},
    "locon": {"rank": 4, "text_encoder": True},
    "loha": {"rank": 4, "text_encoder": True},
    "lokr": {"rank": 4, "text_encoder": True},
    "dora": {"rank": 4},
    "oft": {},
    "ia3": {},
}
UNREAD = ("oft", "ia3")
READ = [name for name in METHODS if name not in UNREAD] + ["half", "at runtime", "embedding"]


@dataclass(frozen=True)
class Pictures:
    """What each drew, by case: pictures (h, w, 3) in 0..255."""

    ours: dict[str, np.ndarray]
    theirs: dict[str, np.ndarray]


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
            noise = 0.1 * torch.randn(tensor.shape, generator=numbers)
            tensor.mul_(1 + noise) if leaf.endswith("dora_scale") else tensor.add_(noise)
    method.detach()
    return method.weights()


@pytest.fixture(scope="module")
def pictures(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    folder, own = tmp_path_factory.mktemp("Lora"), tmp_path_factory.mktemp("own")
    model = open_base(checkpoint, torch.device("cpu"), torch.float32)
    for name in METHODS:
        weights = adapter(model, name)
        save_weights(weights, folder / f"{name}.safetensors")
        known = {leaf: tensor for leaf, tensor in weights.tensors.items() if not leaf.endswith("dora_scale")}
        save_weights(replace(weights, tensors=known), own / f"{name}.safetensors")
    vectors = {"text_encoder": 0.02 * torch.randn((2, 768), generator=torch.Generator().manual_seed(1))}
    word = save_weights(Weights("embedding", "sd1", vectors), folder / f"{WORD}.safetensors").path
    prompts = {"base": PROMPT} | {name: f"{PROMPT} <lora:{name}:1>" for name in METHODS}
    prompts |= {"half": f"{PROMPT} <lora:lora:0.5>", "at runtime": prompts["lora"], "embedding": f"{PROMPT} {WORD}"}
    files = PromptFiles(own, embeddings=[word])
    ours = {name: draw(model, files, prompt) for name, prompt in prompts.items() if name not in ("at runtime", *UNREAD)}
    del model
    return Pictures(ours | {"at runtime": ours["lora"]}, draw_theirs(checkpoint, folder, prompts, word))


def draw(model: BaseModel, files: PromptFiles, prompt: str) -> np.ndarray:
    request = Request(prompt, NEGATIVE, STEPS, "Euler", cfg_scale=CFG, width=SIDE, height=SIDE, seed=SEED)
    return np.asarray(next(generate(model, request, files)).image).astype(float)


def draw_theirs(checkpoint: Path, folder: Path, prompts: dict[str, str], word: Path) -> dict[str, np.ndarray]:
    """stable-diffusion.cpp's pictures, in a process of its own, for a fault in it ends its process."""
    settings = {
        "negative_prompt": NEGATIVE, "sample_steps": STEPS, "sample_method": "euler", "scheduler": "discrete",
        "cfg_scale": CFG, "width": SIDE, "height": SIDE, "seed": SEED,
    }  # fmt: skip
    model = {"model_path": str(checkpoint), "lora_model_dir": str(folder)}
    ways = {"at runtime": RUNTIME, "embedding": {"embedding_paths": [str(word)]}}
    task = [
        {
            "model": model | ways.get(name, {}),
            "settings": settings | {"prompt": prompt},
            "path": str(folder / f"{name}.png"),
        }
        for name, prompt in prompts.items()
    ]
    subprocess.run([sys.executable, "-c", PROGRAM, str(READERS), WORD], input=json.dumps(task), text=True, check=True)
    return {name: np.asarray(Image.open(folder / f"{name}.png").convert("RGB")).astype(float) for name in prompts}


def test_the_checkpoint_alone_draws_the_same_picture(pictures: Pictures) -> None:
    difference = np.abs(pictures.ours["base"] - pictures.theirs["base"])
    print(f"\nbase: largest difference {difference.max():.0f} of 255, mean {difference.mean():.3f}")
    assert pictures.ours["base"].std() > 10
    assert difference.max() <= 2


@pytest.mark.parametrize("name", READ)
def test_a_file_makes_the_same_difference(pictures: Pictures, name: str) -> None:
    ours, theirs = pictures.ours[name] - pictures.ours["base"], pictures.theirs[name] - pictures.theirs["base"]
    correlation = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    largest = np.abs(ours - theirs).max()
    print(
        f"\n{name}: changes up to {np.abs(ours).max():.0f} of 255; correlation {correlation:.4f}, off by {largest:.0f}"
    )
    assert np.abs(ours).max() > 10
    assert correlation > 0.99
    assert largest <= 3


@pytest.mark.parametrize("name", UNREAD)
def test_what_it_is_said_to_leave_out_it_leaves_out(pictures: Pictures, name: str) -> None:
    assert np.array_equal(pictures.theirs[name], pictures.theirs["base"])
