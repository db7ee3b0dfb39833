"""What a base is, told from shapes alone: the published models, narrow ones, and those that are not opened."""

import json
from typing import Any

import pytest

from limner.base.identify import ARCHITECTURE, TITLES, Identity, identify_base, identify_configs

UNET = "model.diffusion_model."


def shapes(family: str, narrow: bool = False, channels: int = 4) -> dict[str, tuple[int, ...]]:
    """The tensors that tell, of the published models or of narrow ones."""
    wide = {"sd1": 768, "sd2": 1024, "sdxl": 2048}[family]
    text, first = (40 if narrow else wide), (32 if narrow else 320)
    inner = f"{UNET}input_blocks.4.1."
    found: dict[str, tuple[int, ...]] = {
        f"{UNET}input_blocks.0.0.weight": (first, channels, 3, 3),
        f"{inner}proj_in.weight": (2 * first, 2 * first, *((1, 1) if family == "sd1" else ())),
        f"{inner}transformer_blocks.0.attn2.to_k.weight": (2 * first, text),
        f"{UNET}middle_block.1.norm.weight": (4 * first,),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    }
    encoders = {
        "sd1": ["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"],
        "sd2": ["cond_stage_model.model.token_embedding.weight"],
        "sdxl": [
            "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
            "conditioner.embedders.1.model.token_embedding.weight",
        ],
    }[family]
    if family == "sdxl":
        found[f"{UNET}label_emb.0.0.weight"] = (4 * first, 96 if narrow else 2816)
    return found | dict.fromkeys(encoders, (49408, text))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_families_by_structure(family: str, narrow: bool) -> None:
    found = identify_base(shapes(family, narrow), {})
    assert (found.family, found.refusal, found.warnings) == (family, "", ())
    assert found.title == TITLES[family]
    if not narrow:
        assert {"sd1": "768 wide: 1.x", "sd2": "1024 wide: 2.x", "sdxl": "2048 wide: XL"}[family] in str(found.reasons)


@pytest.mark.parametrize(
    ("family", "more", "metadata", "prediction_type", "known_by", "zero"),
    [
        ("sd1", {}, {}, "epsilon", "default", False),
        ("sd2", {}, {}, "epsilon", "probe needed", False),
        ("sdxl", {}, {}, "epsilon", "default", False),
        ("sdxl", {"v_pred": (0,)}, {}, "v_prediction", "mark", False),
        ("sdxl", {"v_pred": (0,), "ztsnr": (0,)}, {}, "v_prediction", "mark", True),
        ("sdxl", {"edm_vpred.sigma_max": ()}, {}, "v_prediction", "mark", False),
        ("sd2", {}, {"modelspec.prediction_type": "v"}, "v_prediction", "metadata", False),
        ("sd2", {}, {"modelspec.prediction_type": "epsilon"}, "epsilon", "metadata", False),
        ("sd2", {}, {"modelspec.prediction_type": "nonsense"}, "epsilon", "probe needed", False),
        (
            "sd2",
            {},
            {ARCHITECTURE: json.dumps({"scheduler": {"prediction_type": "v_prediction", "rescale_betas_zero_snr": 1}})},
            "v_prediction",
            "config",
            True,
        ),
        ("sd2", {}, {ARCHITECTURE: "[1]"}, "epsilon", "probe needed", False),
        ("sdxl", {}, {"modelspec.prediction_type": "rectified_flow"}, "flow", "metadata", False),
        ("sd1", {}, {"prediction_type": "flow-prediction"}, "flow", "metadata", False),
        ("sd1", {}, {"prediction_type": "V-Prediction"}, "v_prediction", "metadata", False),
    ],
)
def test_what_it_predicts(
    family: str,
    more: dict[str, tuple[int, ...]],
    metadata: dict[str, str],
    prediction_type: str,
    known_by: str,
    zero: bool,
) -> None:
    found = identify_base(shapes(family) | more, metadata)
    assert (found.prediction_type, found.known_by, found.zero_terminal_snr) == (prediction_type, known_by, zero)


def without(found: dict[str, tuple[int, ...]], *starts: str) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in found.items() if not name.startswith(starts)}


REFUSED = [
    (shapes("sd1", channels=9), "sd1", "inpainting"),
    (shapes("sdxl", channels=9), "sdxl", "inpainting"),
    (shapes("sd1", channels=8), "sd1", "instruct-pix2pix"),
    (shapes("sd2", channels=7), "sd2", "upscaler"),
    (shapes("sd2", channels=5), "sd2", "depth"),
    (shapes("sd1", channels=3), "sd1", "3 channels"),
    (without(shapes("sdxl"), f"{UNET}middle_block.1."), "ssd-1b", "distilled XL"),
    (
        without(shapes("sdxl", narrow=True), "conditioner") | {"conditioner.embedders.0.model.ln_final.bias": (8,)},
        "sdxl-refiner",
        "use the XL base",
    ),
    (
        shapes("sdxl") | {f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (768, 1280)},
        "sdxl-refiner",
        "use the XL base",
    ),
    (shapes("sdxl") | {"edm_mean": (4,), "edm_std": (4,)}, "playground", "noise schedule"),
    (shapes("sd2") | {f"{UNET}label_emb.0.0.weight": (1280, 2048)}, "unclip", "variations"),
    ({"control_model.input_hint_block.0.weight": (16, 3, 3, 3)}, "controlnet", "steers"),
    ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "controlnet", "steers"),
    (without(shapes("sd1"), UNET, "cond"), "vae", "--vae"),
    ({"decoder.up_blocks.0.resnets.0.conv1.weight": (8, 8, 3, 3)}, "vae", "--vae"),
    ({"down_blocks.0.resnets.0.conv1.weight": (8, 8, 3, 3), "conv_in.weight": (8, 4, 3, 3)}, "unet", "whole folder"),
    ({"input_blocks.0.0.weight": (320, 4, 3, 3)}, "unet", "whole model"),
    (without(shapes("sd1"), "cond_stage"), "sd1", "no text encoder"),
    ({f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}, "sd3", "diffusers' layout"),
    ({f"{UNET}double_blocks.0.img_attn.qkv.weight": (8, 8)}, "flux", "1.x, 2.x or XL"),
    ({"double_blocks.0.img_attn.qkv.weight": (8, 8)}, "flux", "1.x, 2.x or XL"),
    ({"down_blocks.0.motion_modules.0.proj_in.weight": (8, 8)}, "motion", "animates"),
    ({"model_ema.diffusion_modelinput_blocks00weight": (8, 4, 3, 3)}, "averages", "that has both"),
    ({"x.lora_down.weight": (8, 8)}, "unknown", "whole model"),
    ({}, "unknown", "whole model"),
]


@pytest.mark.parametrize(("tensors", "family", "said"), REFUSED)
def test_what_is_refused(tensors: dict[str, tuple[int, ...]], family: str, said: str) -> None:
    found = identify_base(tensors, {})
    assert found.family == family
    assert said in found.refusal
    assert found.title
    assert found.reasons


@pytest.mark.parametrize(
    ("more", "metadata", "name", "said"),
    [
        ({f"{UNET}time_embed.cond_proj.weight": (320, 256)}, {}, "", "cond_proj"),
        ({}, {"modelspec.title": "My LCM mix"}, "", "metadata call it LCM"),
        ({}, {}, "sd_xl_turbo_1.0_fp16", "name says Turbo"),
        ({}, {}, "DreamShaperXL_Lightning", "name says Lightning"),
        ({}, {}, "mix-hyper-sdxl", "name says Hyper-SD"),
        ({}, {}, "hyperrealism_v3", ""),
        ({}, {}, "turbofan", ""),
    ],
)
def test_distilled_ones_are_warned_of(
    more: dict[str, tuple[int, ...]], metadata: dict[str, str], name: str, said: str
) -> None:
    found = identify_base(shapes("sdxl") | more, metadata, name)
    assert found.refusal == ""
    assert [said in warning for warning in found.warnings] == ([True] if said else [])


def test_a_missing_vae_is_said() -> None:
    (warning,) = identify_base(without(shapes("sdxl"), "first_stage_model."), {}).warnings
    assert "--vae" in warning


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def folder(unet: dict[str, Any], scheduler: dict[str, Any] | None = None, **index: Any) -> Identity:
    parts = {"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}
    return identify_configs(parts | index, unet, scheduler or {})


def test_folders() -> None:
    assert folder({"cross_attention_dim": 768}).family == "sd1"
    two = folder({"cross_attention_dim": 1024, "use_linear_projection": True})
    assert (two.family, two.known_by) == ("sd2", "probe needed")
    xl = {"cross_attention_dim": 2048, "use_linear_projection": True, "addition_embed_type": "text_time"}
    scheduler = BETAS | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    told = folder(xl, scheduler, _class_name="StableDiffusionXLPipeline")
    assert (told.family, told.prediction_type, told.known_by, told.zero_terminal_snr, told.warnings) == (
        ("sdxl", "v_prediction", "config", True, ())
    )
    assert "inpainting" in folder({"in_channels": 9}).refusal
    assert folder(xl, text_encoder=[None, None]).family == "sdxl-refiner"
    assert folder(xl | {"mid_block_type": None}).family == "ssd-1b"
    assert folder({}, _class_name="StableDiffusion3Pipeline").family == "sd3"
    assert "FluxFillPipeline" in str(folder({}, _class_name="FluxFillPipeline").reasons)
    assert "OddPipeline" in folder({}, _class_name="OddPipeline").refusal
    assert "time_cond_proj_dim" in str(folder({"time_cond_proj_dim": 256}).warnings)
    assert "LCM" in str(folder({"in_channels": 4}, {"_class_name": "LCMScheduler"}).warnings)
    assert "Turbo" in str(folder(xl, {"timestep_spacing": "trailing"}).warnings)


@pytest.mark.parametrize(
    ("family", "metadata"),
    [
        ("sd1", {"modelspec.architecture": "stable-diffusion-xl-v1-base"}),
        ("sd1", {"ss_base_model_version": "sdxl_base_v1-0"}),
        ("sdxl", {"ss_base_model_version": "sd_v1"}),
        ("sd2", {"modelspec.architecture": "stable-diffusion-v1"}),
    ],
)
def test_tensors_count_over_metadata_which_is_said(family: str, metadata: dict[str, str]) -> None:
    found = identify_base(shapes(family), metadata)
    assert found.family == family
    (warning,) = found.warnings
    assert next(iter(metadata.values())) in warning
    assert TITLES[family] in warning
    agreeing = {"sd1": "sd_v1", "sd2": "sd_v2_v", "sdxl": "sdxl_base_v1-0"}[family]
    assert identify_base(shapes(family), {"ss_base_model_version": agreeing}).warnings == ()


def test_a_network_counts_over_the_pipeline_and_odd_schedules_are_said() -> None:
    one, xl = {"cross_attention_dim": 768}, {"cross_attention_dim": 2048, "addition_embed_type": "text_time"}
    for unet, pipeline, family in (
        (one, "StableDiffusionXLPipeline", "sd1"),
        (xl, "StableDiffusionPipeline", "sdxl"),
        (one, "StableDiffusion3Pipeline", "sd1"),
    ):
        found = folder(unet, BETAS, _class_name=pipeline)
        assert (found.family, found.refusal) == (family, "")
        (warning,) = found.warnings
        assert pipeline in warning
        assert TITLES[family] in warning
    assert folder(one, BETAS, _class_name="StableDiffusionImg2ImgPipeline").warnings == ()
    transformer = {"joint_attention_dim": 4096, "caption_projection_dim": 1536}
    sd3 = identify_configs({"_class_name": "StableDiffusionPipeline"}, {}, {}, transformer)
    assert (sd3.family, sd3.prediction_type) == ("sd3", "flow")
    assert "StableDiffusionPipeline" in str(sd3.warnings)
    assert "beta_schedule = linear" in str(folder(one, BETAS | {"beta_schedule": "linear"}).warnings)
    flow = folder(
        xl, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, _class_name="StableDiffusionXLPipeline"
    )
    assert (flow.prediction_type, flow.known_by, flow.warnings) == ("flow", "config", ())
    assert folder(xl, {"_class_name": "EDMEulerScheduler"}).family == "playground"
