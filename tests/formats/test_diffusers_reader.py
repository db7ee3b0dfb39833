"""diffusers as the reader of all our files at once: the same picture as `limner generate`'s from the same noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from limner.base.model import BaseModel, text_core
from limner.base.open import open_base
from limner.device import generator
from limner.formats import save_weights
from limner.formats.diffusers import save_folder
from limner.generate import Request, generate
from limner.methods.full import Full, FullConfig
from limner.named import PromptFiles
from limner.sample import make_scheduler
from limner.samplers import find_sampler
from limner.weights import Weights

MakeLora = Callable[..., Weights]
PROMPT, NEGATIVE, SEED, STEPS, CFG = "a zqvx fox, near a zqvx", "blurry", 3, 4, 5.0
CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tiny_base: BaseModel, tmp_path: Path) -> Path:
    """A whole model whose UNet is not the base's, as a single file; beside it a folder with its configurations."""
    method = Full(FullConfig())
    method.attach(tiny_base)
    method.detach()
    random = generator(5)
    for master in method.masters.values():
        master.weights.data += 0.02 * torch.randn(master.weights.shape, generator=random)
    weights = method.weights()
    folder = tmp_path / "folder"
    save_folder(weights, folder, tiny_base)
    for large in folder.rglob("*.safetensors"):
        large.unlink()
    return save_weights(weights, tmp_path / "Stable-diffusion" / "whole.safetensors", dtype=torch.float16).path


@pytest.mark.parametrize("sampler", ["DPM++ 2M", pytest.param("Euler", marks=pytest.mark.slow)])
def test_one_picture_of_checkpoint_lora_and_embedding(
    checkpoint: Path, random_lora: MakeLora, tmp_path: Path, sampler: str
) -> None:
    lora = save_weights(random_lora("all", alpha=4.0), tmp_path / "Lora" / "fox.safetensors").path
    vectors = {"text_encoder": 0.05 * torch.randn((3, 32), generator=generator(2))}
    word = save_weights(Weights("embedding", "sd1", vectors), tmp_path / "embeddings" / "zqvx.safetensors").path
    model = open_base(checkpoint, CPU, torch.float32)
    files = PromptFiles(lora, embeddings=[word])

    pipeline = StableDiffusionPipeline.from_single_file(
        str(checkpoint), config=str(tmp_path / "folder"), local_files_only=True, torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(model, *find_sampler(sampler))
    pipeline.load_textual_inversion(word, token="zqvx")
    pipeline.load_lora_weights(lora)

    def ours(tag: str, prompt: str = PROMPT) -> np.ndarray:
        request = Request(f"{prompt}{tag}", NEGATIVE, STEPS, sampler, cfg_scale=CFG, seed=SEED)
        return np.asarray(next(generate(model, request, files)).image).astype(int)

    def theirs(**scale: object) -> np.ndarray:
        noise = torch.Generator().manual_seed(SEED)
        made = pipeline(
            PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=CFG, generator=noise, **scale
        )
        return np.asarray(made.images[0]).astype(int)

    whole = ours("<lora:fox:1>")
    print(f"\n{sampler}: largest difference {np.abs(whole - theirs()).max()} of 255")
    assert np.abs(whole - theirs()).max() <= 1
    assert np.abs(ours("<lora:fox:0.4>") - theirs(cross_attention_kwargs={"scale": 0.4})).max() <= 1
    pipeline.unload_lora_weights()
    plain = ours("")
    assert np.abs(plain - theirs()).max() <= 1
    without = ours("", PROMPT.replace("zqvx", "red"))
    assert min(np.abs(whole - plain).max(), np.abs(plain - without).max()) > 10  # each of the files is to be seen


def test_it_finds_every_tensor_of_our_single_file(checkpoint: Path, tmp_path: Path) -> None:
    """Every tensor that diffusers finds is the one that Limner finds, and it misses none."""
    pipeline = StableDiffusionPipeline.from_single_file(
        str(checkpoint), config=str(tmp_path / "folder"), local_files_only=True, torch_dtype=torch.float32
    )
    model = open_base(checkpoint, CPU, torch.float32)
    for part in model.family.networks:
        found = text_core(getattr(pipeline, part)).state_dict()
        wanted = text_core(model.networks[part]).state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
