"""Stable Diffusion 3 and 3.5: a transformer that predicts the flow from picture to noise (flow.py), told by CLIP-L and
OpenCLIP-bigG (Esser et al. 2024, arXiv 2403.03206).

Its third text encoder, T5, may be left out of it, and is here: 9 GB that a subject does not need.
"""

from limner.base.family import Encoder, Family

SD3 = Family(
    name="sd3",
    title="Stable Diffusion 3",
    resolution=1024,
    encoders=(
        Encoder("text_encoder", "tokenizer", "lora_te1"),
        Encoder("text_encoder_2", "tokenizer_2", "lora_te2"),
    ),
    is_pooled=True,
    is_told_sizes=False,
    modelspec="stable-diffusion-3",
    ss_base_model_version="sd3",
    pipeline="StableDiffusion3Pipeline",
    denoiser="transformer",
    lora_format="diffusers",
)
