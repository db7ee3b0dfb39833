"""Stable Diffusion XL: CLIP-L and OpenCLIP-bigG side by side, three UNet levels, and sizes told to the network (Podell
et al. 2023, arXiv 2307.01952)."""

from limner.base.family import Encoder, Family

SDXL = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    resolution=1024,
    encoders=(
        Encoder("text_encoder", "tokenizer", "lora_te1"),
        Encoder("text_encoder_2", "tokenizer_2", "lora_te2"),
    ),
    is_pooled=True,
    is_told_sizes=True,
    is_silent_without_text=True,
    modelspec="stable-diffusion-xl-v1-base",
    ss_base_model_version="sdxl_base_v1-0",
    pipeline="StableDiffusionXLPipeline",
)
