"""The .yaml that the webui reads beside a checkpoint: how the original releases' code builds such a model.

Without one it takes a model for the usual one of its family, which a v-prediction model is not. The names are those of
CompVis' and Stability's configurations.
"""

import json
from typing import Any

from limner.base.original import Configs, family_name

Tree = dict[str, Any]


def original_yaml(configs: Configs) -> str:
    """The text of the file for networks of these configurations."""
    model = _xl(configs) if family_name(configs) == "sdxl" else _before_xl(configs)
    return "# How the original code builds this model; the webui reads it from beside the checkpoint.\n" + "".join(
        f"{line}\n" for line in _lines({"model": model})
    )


def _lines(tree: Tree, indent: str = "") -> list[str]:
    """YAML of dictionaries, lists of dictionaries and plain values; these in JSON, which is YAML too."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", *_lines(value, f"{indent}  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{key}:")
            for each in value:
                first, *rest = _lines(each, f"{indent}    ")
                lines += [f"{indent}  - {first.lstrip()}", *rest]
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}")
    return lines


def _before_xl(configs: Configs) -> Tree:
    scheduler, unet = configs["scheduler"], configs["unet"]
    is_two = family_name(configs) == "sd2"
    text = "FrozenOpenCLIPEmbedder" if is_two else "FrozenCLIPEmbedder"
    return {
        "target": "ldm.models.diffusion.ddpm.LatentDiffusion",
        "params": {
            "parameterization": "v" if scheduler["prediction_type"] == "v_prediction" else "eps",
            "linear_start": scheduler["beta_start"],
            "linear_end": scheduler["beta_end"],
            "num_timesteps_cond": 1,
            "timesteps": scheduler.get("num_train_timesteps", 1000),
            "first_stage_key": "jpg",
            "cond_stage_key": "txt",
            "image_size": unet["sample_size"],
            "channels": 4,
            "cond_stage_trainable": False,
            "conditioning_key": "crossattn",
            "scale_factor": configs["vae"]["scaling_factor"],
            "use_ema": False,
            "unet_config": {
                "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
                "params": _unet(configs) | {"image_size": 32, "legacy": False},
            },
            "first_stage_config": _vae("ldm.models.autoencoder.AutoencoderKL", configs),
            "cond_stage_config": {
                "target": f"ldm.modules.encoders.modules.{text}",
                **({"params": {"freeze": True, "layer": "penultimate"}} if is_two else {}),
            },
        },
    }


def _xl(configs: Configs) -> Tree:
    sgm = "sgm.modules.diffusionmodules"
    scaling = "VScaling" if configs["scheduler"]["prediction_type"] == "v_prediction" else "EpsScaling"
    weighting = "VWeighting" if scaling == "VScaling" else "EpsWeighting"
    return {
        "target": "sgm.models.diffusion.DiffusionEngine",
        "params": {
            "scale_factor": configs["vae"]["scaling_factor"],
            "disable_first_stage_autocast": True,
            "denoiser_config": {
                "target": f"{sgm}.denoiser.DiscreteDenoiser",
                "params": {
                    "num_idx": configs["scheduler"].get("num_train_timesteps", 1000),
                    "weighting_config": {"target": f"{sgm}.denoiser_weighting.{weighting}"},
                    "scaling_config": {"target": f"{sgm}.denoiser_scaling.{scaling}"},
                    "discretization_config": {"target": f"{sgm}.discretizer.LegacyDDPMDiscretization"},
                },
            },
            "network_config": {
                "target": f"{sgm}.openaimodel.UNetModel",
                "params": _unet(configs)
                | {
                    "adm_in_channels": configs["unet"]["projection_class_embeddings_input_dim"],
                    "num_classes": "sequential",
                    "spatial_transformer_attn_type": "softmax-xformers",
                    "legacy": False,
                },
            },
            "conditioner_config": {
                "target": "sgm.modules.GeneralConditioner",
                "params": {"emb_models": _embedders(configs)},
            },
            "first_stage_config": _vae("sgm.models.autoencoder.AutoencoderKLInferenceWrapper", configs),
        },
    }


def _embedders(configs: Configs) -> list[Tree]:
    modules = "sgm.modules.encoders.modules"
    clip = {"layer": "hidden", "layer_idx": configs["text_encoder"]["num_hidden_layers"] - 1}
    openclip = {"arch": "ViT-bigG-14", "version": "laion2b_s39b_b160k", "freeze": True, "layer": "penultimate"}
    sizes: list[Tree] = [
        {
            "is_trainable": False,
            "input_key": key,
            "target": f"{modules}.ConcatTimestepEmbedderND",
            "params": {"outdim": configs["unet"]["addition_time_embed_dim"]},
        }
        for key in ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
    ]
    return [
        {"is_trainable": False, "input_key": "txt", "target": f"{modules}.FrozenCLIPEmbedder", "params": clip},
        {
            "is_trainable": False,
            "input_key": "txt",
            "target": f"{modules}.FrozenOpenCLIPEmbedder2",
            "params": openclip | {"always_return_pooled": True, "legacy": False},
        },
        *sizes,
    ]


def _unet(configs: Configs) -> Tree:
    """The network's parameters in the original's words."""
    unet = configs["unet"]
    channels, width = list(unet["block_out_channels"]), unet["block_out_channels"][0]
    has_attention = ["CrossAttn" in kind for kind in unet["down_block_types"]]
    depths = unet.get("transformer_layers_per_block", 1)
    depths = list(depths) if isinstance(depths, list | tuple) else [depths] * len(channels)
    heads = unet["attention_head_dim"]  # diffusers' name for their number
    is_by_width = isinstance(heads, list | tuple)
    return {
        "use_checkpoint": False,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": width,
        "attention_resolutions": [2**level for level, has in enumerate(has_attention) if has],
        "num_res_blocks": unet["layers_per_block"],
        "channel_mult": [each // width for each in channels],
        **({"num_head_channels": width // heads[0]} if is_by_width else {"num_heads": heads}),
        "use_spatial_transformer": True,
        "use_linear_in_transformer": bool(unet.get("use_linear_projection")),
        "transformer_depth": depths if len(set(depths)) > 1 else depths[0],
        "context_dim": unet["cross_attention_dim"],
    }


def _vae(target: str, configs: Configs) -> Tree:
    vae = configs["vae"]
    width = vae["block_out_channels"][0]
    return {
        "target": target,
        "params": {
            "embed_dim": 4,
            "monitor": "val/rec_loss",
            "ddconfig": {
                "double_z": True,
                "z_channels": 4,
                "resolution": 256,
                "in_channels": 3,
                "out_ch": 3,
                "ch": width,
                "ch_mult": [each // width for each in vae["block_out_channels"]],
                "num_res_blocks": vae["layers_per_block"],
                "attn_resolutions": [],
                "dropout": 0.0,
            },
            "lossconfig": {"target": "torch.nn.Identity"},
        },
    }
