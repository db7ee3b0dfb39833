"""Stable Diffusion 1.x: one CLIP-L text encoder, four UNet levels. The pocket base is of this family, only narrower."""

from limner.base.family import Encoder, Family

SD1 = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    resolution=512,
    encoders=(Encoder("text_encoder", "tokenizer", "lora_te"),),
    is_pooled=False,
    is_told_sizes=False,
    modelspec="stable-diffusion-v1",
    ss_base_model_version="sd_v1",
    pipeline="StableDiffusionPipeline",
)
