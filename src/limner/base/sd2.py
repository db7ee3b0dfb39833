"""Stable Diffusion 2.x: one OpenCLIP-H text encoder, of which the last layer is left out; matrices where 1.x has 1x1
convolutions. It predicts the noise at 512 pixels, and v at 768."""

from limner.base.family import Encoder, Family

SD2 = Family(
    name="sd2",
    title="Stable Diffusion 2.x",
    resolution=768,
    encoders=(Encoder("text_encoder", "tokenizer", "lora_te"),),
    is_pooled=False,
    is_told_sizes=False,
    modelspec="stable-diffusion-v2",
    ss_base_model_version="sd_v2",
    pipeline="StableDiffusionPipeline",
)
