"""The published models' configurations, in diffusers' words, of what a single file does not say: Stable Diffusion 1.5,
2.1 and XL. Whatever they leave out is what diffusers' and transformers' classes take by themselves."""

import math
from typing import Any

Config = dict[str, Any]
MOST_LAYERS, MOST = 256, 2**20  # of what a stranger's configuration may ask for

_LEVELS = {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "layers_per_block": 2,
}
_UNETS: dict[str, Config] = {
    "sd1": {**_LEVELS, "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {
        **_LEVELS,
        "sample_size": 64,
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 2,
        "sample_size": 128,
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
# The 2.x models that predict v were trained at 768 pixels, and their attention overflows half precision.
_SD2_V: Config = {"sample_size": 96, "upcast_attention": True}

_MARKS = {"bos_token_id": 49406, "eos_token_id": 49407}


def _text(width: int, layers: int, heads: int, activation: str, projection: int, pad: int) -> Config:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_act": activation,
        "projection_dim": projection,
        "pad_token_id": pad,
        **_MARKS,
    }


_CLIP_L = _text(768, 12, 12, "quick_gelu", 768, pad=49407)
_ENCODERS: dict[str, dict[str, Config]] = {
    "sd1": {"text_encoder": _CLIP_L},
    "sd2": {"text_encoder": _text(1024, 23, 16, "gelu", 512, pad=0)},
    "sdxl": {"text_encoder": _CLIP_L, "text_encoder_2": _text(1280, 32, 20, "gelu", 1280, pad=0)},
}
_SCHEDULER: Config = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
PADS = {
    "sd2": {"text_encoder": "!"},
    "sdxl": {"text_encoder_2": "!"},
}  # of tokenizers that do not pad with the end mark


def published(family: str, prediction_type: str = "epsilon", zero_terminal_snr: bool = False) -> dict[str, Config]:
    """The configurations of a family's networks and scheduler, by diffusers' component names."""
    unet = dict(_UNETS[family]) | (_SD2_V if family == "sd2" and prediction_type == "v_prediction" else {})
    vae = {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "sample_size": 1024 if family == "sdxl" else unet["sample_size"] * 8,
        "scaling_factor": 0.13025 if family == "sdxl" else 0.18215,
    }
    scheduler = _SCHEDULER | {"prediction_type": prediction_type, "rescale_betas_zero_snr": zero_terminal_snr}
    return {"unet": unet, "vae": vae, **_ENCODERS[family], "scheduler": scheduler}


def check_sizes(told: Any, name: str = "") -> None:
    """Raise ValueError for numbers with which making the network would take for ever."""
    if isinstance(told, dict):
        for key, value in told.items():
            check_sizes(value, str(key))
    elif isinstance(told, list):
        if len(told) > MOST_LAYERS and name != "trained_betas":
            raise ValueError("too many levels")
        for value in told:
            check_sizes(value, name)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        limit = MOST_LAYERS if "layers" in name else MOST
        if not math.isfinite(told) or abs(told) > limit:
            raise ValueError(f"{name} is too large")
