"""Small real files for a shelf."""

from pathlib import Path

import torch
from safetensors.torch import save_file

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(path: Path, seed: int = 0, rank: int = 4, **metadata: str) -> Path:
    """A LoRA for one layer of Stable Diffusion 1, in kohya's names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = torch.Generator().manual_seed(seed)
    tensors = {
        f"{LAYER}.lora_down.weight": torch.randn(rank, 768, generator=numbers),
        f"{LAYER}.lora_up.weight": torch.randn(320, rank, generator=numbers),
        f"{LAYER}.alpha": torch.tensor(4.0),
    }
    save_file(tensors, path, metadata)
    return path


def lora_bytes(folder: Path, seed: int = 0, rank: int = 4, **metadata: str) -> bytes:
    path = lora(folder / f"made-{seed}.safetensors", seed, rank, **metadata)
    try:
        return path.read_bytes()
    finally:
        path.unlink()


def embedding(path: Path, width: int = 1024) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": torch.zeros(2, width)}, path)
    return path
