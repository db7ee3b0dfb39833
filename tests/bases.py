"""Tiny bases of every family that Limner knows: its architecture in diffusers' classes and layout, narrow, random."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from limner.base.pocket import FOLDER as POCKET

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
WIDTH, SECOND_WIDTH = 32, 48  # of the text encoders
UNETS: dict[str, dict[str, Any]] = {
    "sd1": {"attention_head_dim": 2, "cross_attention_dim": WIDTH},
    "sd2": {"attention_head_dim": (1, 2, 4, 4), "cross_attention_dim": WIDTH, "use_linear_projection": True},
    "sdxl": {
        "block_out_channels": (32, 32, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (1, 2, 4),
        "cross_attention_dim": WIDTH + SECOND_WIDTH,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + SECOND_WIDTH,
    },
}


FLAT = {  # two levels of one layer: a third of the time, for what is shown by any network
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}


def save_tiny(family: str, folder: Path, prediction_type: str = "epsilon", unet: dict[str, Any] | None = None) -> Path:
    """Write a base of a family ("sd1", "sd2", "sdxl") into a new folder, and return it; unet: settings of its own."""
    torch.manual_seed(0)
    shared = {"sample_size": 8, "block_out_channels": (32, 32, 64, 64), "layers_per_block": 2, "norm_num_groups": 16}
    made = UNet2DConditionModel(**(shared | UNETS[family] | (unet or {})))
    parts: dict[str, Any] = {"unet": made, "vae": _vae(family)}
    parts["tokenizer"] = tokenizer("!" if family == "sd2" else "<|endoftext|>")
    parts["text_encoder"] = CLIPTextModel(_text(WIDTH, "gelu" if family == "sd2" else "quick_gelu"))
    if family == "sdxl":
        parts["text_encoder_2"] = CLIPTextModelWithProjection(_text(SECOND_WIDTH, "gelu"))
        parts["tokenizer_2"] = tokenizer("!")
        scheduler = EulerDiscreteScheduler(**NOISE, steps_offset=1, prediction_type=prediction_type)
        pipeline: Any = StableDiffusionXLPipeline(**parts, scheduler=scheduler, add_watermarker=False)
    else:
        scheduler = DDIMScheduler(
            **NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type=prediction_type
        )
        pipeline = StableDiffusionPipeline(
            **parts,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    return folder


def save_tiny_sd3(folder: Path) -> Path:
    """Write a base of Stable Diffusion 3.5's kind, without T5, into a new folder."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=96,
        caption_projection_dim=32,
        pooled_projection_dim=WIDTH + SECOND_WIDTH,
        pos_embed_max_size=16,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae("sd3"),
        text_encoder=CLIPTextModelWithProjection(_text(WIDTH, "quick_gelu")),
        tokenizer=tokenizer("<|endoftext|>"),
        text_encoder_2=CLIPTextModelWithProjection(_text(SECOND_WIDTH, "gelu")),
        tokenizer_2=tokenizer("!"),
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.save_pretrained(folder)
    return folder


def tokenizer(pad: str) -> CLIPTokenizer:
    """CLIP's, padding with a token."""
    return CLIPTokenizer.from_pretrained(POCKET / "tokenizer", pad_token=pad)


def _vae(family: str) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=16 if family == "sd3" else 4,
        sample_size=64,
        scaling_factor={"sdxl": 0.13025, "sd3": 1.5305}.get(family, 0.18215),
        shift_factor=0.0609 if family == "sd3" else None,
        use_quant_conv=family != "sd3",
        use_post_quant_conv=family != "sd3",
    )


def _text(width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act=activation,
        projection_dim=width,
        vocab_size=49408,
        bos_token_id=49406,
        eos_token_id=49407,
    )
