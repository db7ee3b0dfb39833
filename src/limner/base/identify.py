"""What a base model is, told from its tensors' names and shapes, its marks and its metadata, without its weights.

Nothing but structure decides about the family, so that narrow models are recognised as the published ones are: whether
`proj_in` is a matrix, whether the network is told sizes, whose text encoder it has. Widths only confirm it. Facts are
those of the original release's files and of diffusers' configurations.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from limner.base import quantized

Shapes = Mapping[str, tuple[int, ...]]

ARCHITECTURE = "limner.architecture"  # the metadata's entry with the configurations, in files that Limner wrote
UNET = "model.diffusion_model."
TITLES = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
    "sdxl-refiner": "Stable Diffusion XL's refiner",
    "ssd-1b": "SSD-1B",
    "playground": "Playground 2.5",
    "unclip": "Stable Diffusion 2.x unCLIP",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX",
    "cascade": "Stable Cascade",
    "controlnet": "a ControlNet",
    "motion": "an AnimateDiff motion module",
    "vae": "a VAE alone",
    "unet": "a UNet alone, in diffusers' names",
    "averages": "averages of a model's weights (EMA) alone",
    "unknown": "no base model that Limner knows",
}
# {family: why it is refused}; of the three that are opened only some forms are.
REFUSED = {
    "sdxl-refiner": "it only refines pictures that XL's base has begun; use the XL base",
    "ssd-1b": "it is a distilled XL with blocks left out, for which no other program makes LoRAs; use the XL base",
    "playground": "it was trained with another noise schedule (EDM) than all others of its shape; use the XL base",
    "unclip": "it draws variations of a picture, not of a text; use the plain 2.1 model",
    "sd3": "Limner does not read this kind of single file; use its folder in diffusers' layout",
    "flux": "Limner does not read this kind of single file; use Stable Diffusion 1.x, 2.x or XL",
    "cascade": "Limner does not read this kind of model; use Stable Diffusion 1.x, 2.x or XL",
    "controlnet": "it steers a base model and is none; use the base that it was made for",
    "motion": "it animates a base model and is none; use the base that it was made for",
    "vae": (
        "it only turns pictures into latents and back; use a whole model as the base, and this as its VAE "
        "(limner generate --vae)"
    ),
    "unet": "it lacks text encoder and VAE; use the whole folder, or a single file of the whole model",
    "averages": "it lacks the weights themselves; use the file that has both",
    "unknown": "it has none of the names of a Stable Diffusion checkpoint; use a whole model's file",
}
NO_VAE = "it has no VAE of its own; limner train and limner generate take one with --vae"
CHANNELS = {  # of the network's input, beyond the four of noisy latents
    9: "it is an inpainting model, which is told a mask and a masked picture too; use its plain version",
    8: "it is an instruct-pix2pix model, which is told a picture too; use its plain version",
    7: "it is an upscaler, which is told a small picture too; use a plain model",
    5: "it is a depth model, which is told the distance of things too; use its plain version",
}
WIDTHS = {768: "1.x", 1024: "2.x", 2048: "XL", 1280: "XL's refiner"}  # of cross-attention, in the published models

_WORDS = {  # for prediction types, without what may stand behind them
    "eps": "epsilon", "epsilon": "epsilon", "noise": "epsilon", "v": "v_prediction", "velocity": "v_prediction",
    "flow": "flow", "rectifiedflow": "flow", "rf": "flow",
}  # fmt: skip
# How sd-scripts and the model spec begin a family's name.
TOLD = {
    "sdxl_refiner": "sdxl-refiner", "stable-diffusion-xl-v1-refiner": "sdxl-refiner", "sdxl": "sdxl",
    "stable-diffusion-xl": "sdxl", "sd_v2": "sd2", "sd_v1": "sd1", "flux": "flux", "sd3": "sd3",
    "stable-diffusion-3": "sd3", "stable-diffusion-v3": "sd3", "stable-diffusion-v2": "sd2",
    "stable-diffusion-v1": "sd1",
}  # fmt: skip
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # every Stable Diffusion's

# {what it is called: how its name shows in a file's name or title}
_DISTILLED = {
    "LCM": r"lcm|latent[ _-]?consistency",
    "Turbo": r"turbo",
    "Lightning": r"lightning",
    "Hyper-SD": r"hyper[ _-]?sd(?:xl|\d+)?|hyper",
    "DMD": r"dmd2?",
}
_LESSON = "a method's weights trained on it draw well only with its own few steps and low guidance"


@dataclass(frozen=True)
class Identity:
    """What a base model is and how that is known.

    family: a family's name ("sd1", "sd2", "sdxl", "sd3"), or what else it is, one of TITLES. prediction_type:
    "epsilon", "v_prediction" or "flow". known_by: how that is known: "mark" (a tensor put there to say so), "metadata",
    "config" (its own configuration, or a .yaml beside it), "default" (what its family does), or "probe needed" (either
    is common).
    zero_terminal_snr: whether its last timestep is pure noise. refusal: why it is not opened, "" if it is.
    """

    family: str
    reasons: tuple[str, ...]
    prediction_type: str = "epsilon"
    known_by: str = "default"
    zero_terminal_snr: bool = False
    refusal: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return TITLES[self.family]


def identify_base(
    shapes: Shapes, metadata: Mapping[str, str], name: str = "", dtypes: Mapping[str, Any] | None = None
) -> Identity:
    """What a single file is, by the shapes of its tensors and its metadata; `name`, the file's, is only a weak hint.

    dtypes: torch's, of the tensors, for what else there is to be said against opening it.
    """
    family, reasons = _family(shapes)
    refusal = _form(shapes, family) or REFUSED.get(family, "") or quantized.refusal(shapes, metadata, dtypes)
    if count := len(quantized.scales_of(shapes)):
        reasons.append(f"{count} of its weights are float8 with scales, which are multiplied in")
    found = Identity(family, tuple(reasons), refusal=refusal)
    if family not in ("sd1", "sd2", "sdxl"):
        return found
    warnings = [*_contradictions(family, metadata), *_distilled(shapes, metadata, name)]
    if not refusal and not any(key.startswith("first_stage_model.") for key in shapes):
        warnings.append(NO_VAE)
    return replace(_prediction(found, shapes, metadata), warnings=tuple(warnings))


def _contradictions(family: str, metadata: Mapping[str, str]) -> list[str]:
    """Where metadata name another family than the tensors are of, which count."""
    found = []
    for key in ("modelspec.architecture", "ss_base_model_version"):
        told = metadata.get(key, "")
        known = next((name for start, name in TOLD.items() if told.startswith(start)), family)
        if known != family:
            found.append(f"its metadata say {key} = {told}, but its tensors are those of {TITLES[family]}, which it is")
    return found


def identify_configs(
    index: Mapping[str, Any],
    unet: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    transformer: Mapping[str, Any] | None = None,
    parts: Collection[str] = (),
) -> Identity:
    """What a folder in diffusers' layout is, by its model_index.json and the configurations of its parts.

    `unet` and `transformer` are empty if there is none; parts: the folders that are there.
    """
    pipeline = str(index.get("_class_name", ""))
    family, reasons = _family_of_folder(pipeline, index, unet, transformer or {}, parts)
    channels = int(unet.get("in_channels", 4))
    if channels in CHANNELS:
        refusal, reasons = CHANNELS[channels], [*reasons, f"its input has {channels} channels"]
    elif str(scheduler.get("_class_name", "")).startswith("EDM"):
        family, reasons = "playground", [*reasons, "its scheduler is of another noise schedule (EDM): Playground 2.5"]
        refusal = REFUSED[family]
    else:
        refusal = "" if family == "sd3" else REFUSED.get(family, "")
    warnings = _other_pipeline(pipeline, family)
    if family == "sd3":
        return Identity(family, tuple(reasons), "flow", "config", refusal=refusal, warnings=tuple(warnings))
    if family == "unknown":
        refusal = f"it is a {pipeline or 'folder'}, of a kind that Limner does not open; use Stable Diffusion 1.x to XL"
    told = "flow" if says_flow(scheduler) else _spelled(scheduler.get("prediction_type"))
    if unet.get("time_cond_proj_dim"):
        warnings.append(f"its network is told the guidance (time_cond_proj_dim), so it is an LCM: {_LESSON}")
    elif "LCM" in str(scheduler.get("_class_name")) or pipeline.startswith("LatentConsistency"):
        warnings.append(f"its scheduler is LCM's, so it is probably a distilled model: {_LESSON}")
    elif scheduler.get("timestep_spacing") == "trailing" and not scheduler.get("rescale_betas_zero_snr"):
        warnings.append(f"its timesteps are those of Turbo or Lightning models; if it is one, {_LESSON}")
    if told != "flow" and scheduler and not scheduler.get("trained_betas"):
        odd = [f"{name} = {scheduler.get(name)}" for name, usual in _BETAS.items() if scheduler.get(name) != usual]
        if odd:
            usual = ", ".join(f"{name} = {value}" for name, value in _BETAS.items())
            warnings.append(
                f"its scheduler_config.json says {', '.join(odd)}, which is followed; every Stable Diffusion was "
                f"trained with {usual}, so correct it unless this one was not"
            )
    return Identity(
        family,
        tuple(reasons),
        prediction_type=told or "epsilon",
        known_by="config" if told else ("probe needed" if family == "sd2" else "default"),
        zero_terminal_snr=bool(scheduler.get("rescale_betas_zero_snr")),
        refusal=refusal,
        warnings=tuple(warnings),
    )


def _other_pipeline(pipeline: str, family: str) -> list[str]:
    """Where model_index.json names the pipeline of another family than its network is of."""
    starts = {"StableDiffusionXL": "sdxl", "StableDiffusion3": "sd3", "Flux": "flux", "StableCascade": "cascade"}
    named = next((each for start, each in starts.items() if pipeline.startswith(start)), "")
    named = named or ("sd1" if re.match("StableDiffusion(Pipeline|I|C)", pipeline) else "")
    kin = {"sdxl-refiner": "sdxl", "ssd-1b": "sdxl", "sd2": "sd1", "unclip": named}
    if not named or family == "unknown" or kin.get(family, family) == named:
        return []
    return [f"its model_index.json names a {pipeline}, but its network is that of {TITLES[family]}, which it is"]


def _family_of_folder(
    pipeline: str,
    index: Mapping[str, Any],
    unet: Mapping[str, Any],
    transformer: Mapping[str, Any],
    parts: Collection[str],
) -> tuple[str, list[str]]:
    """By the configuration of its network, and only where that leaves it open by its pipeline's name."""
    if pipeline.startswith("StableUnCLIP") or unet.get("class_embed_type") == "projection":
        return "unclip", ["its network is told a picture too (unCLIP)"]
    if "joint_attention_dim" in transformer and "caption_projection_dim" in transformer:
        return "sd3", ["its transformer reads images and text side by side (joint_attention_dim): Stable Diffusion 3"]
    others = {"StableDiffusion3": "sd3", "Flux": "flux", "StableCascade": "cascade"}
    for start, family in others.items():
        if pipeline.startswith(start) and not unet:
            return family, [f"its pipeline is {pipeline}"]
    if not unet:
        return "unknown", [f"it has no UNet, and its pipeline is {pipeline or 'not named'}"]
    width = unet.get("cross_attention_dim")
    if unet.get("addition_embed_type") == "text_time":
        reasons = ["its network is told sizes (addition_embed_type): XL"]
        if "text_encoder" not in parts and not (index.get("text_encoder") or [None])[0]:
            return "sdxl-refiner", [*reasons, "it has the second text encoder alone: the refiner"]
        if unet.get("mid_block_type", "") is None:
            return "ssd-1b", [*reasons, "it has no middle block: SSD-1B"]
        return "sdxl", _with_width(reasons, width)
    if unet.get("use_linear_projection"):
        return "sd2", _with_width(["its use_linear_projection is true: 2.x"], width)
    return "sd1", _with_width(["its use_linear_projection is not set: 1.x"], width)


def _family(shapes: Shapes) -> tuple[str, list[str]]:
    """The family, and by what it is known."""
    other = _other(shapes)
    if other is not None:
        return other
    names = shapes.keys()
    projection = _first(shapes, r".*\.proj_in\.weight")
    reasons = [] if projection is None else [_about_projection(projection)]
    widths = _first(shapes, r".*attn2\.to_k\.weight")
    width = None if widths is None or len(widths) != 2 else widths[1]
    label = shapes.get(f"{UNET}label_emb.0.0.weight")
    if label is not None:
        reasons.append(f"its network is told {label[-1]} numbers about sizes and text (label_emb): XL")
        openclip_first = any(key.startswith("conditioner.embedders.0.model.") for key in names)
        if openclip_first or width == 1280:
            return "sdxl-refiner", [*reasons, "its only text encoder is OpenCLIP-bigG: the refiner"]
        if any(key.startswith("cond_stage_model.") for key in names):
            return "unclip", [*reasons, "it has one text encoder: 2.x for variations of pictures (unCLIP)"]
        if not any(key.startswith(f"{UNET}middle_block.1.") for key in names):
            return "ssd-1b", [*reasons, "it has no middle_block.1: SSD-1B"]
        if {"edm_mean", "edm_std"} <= names:
            return "playground", [*reasons, "it has edm_mean and edm_std: Playground 2.5"]
        return "sdxl", _with_width(reasons, width)
    if projection is not None and len(projection) == 4:
        return "sd1", _with_width(reasons, width)
    if any(key.startswith("cond_stage_model.model.") for key in names):
        reasons.append("its text encoder has OpenCLIP's names (cond_stage_model.model): 2.x")
    return "sd2", _with_width(reasons, width)


def _other(shapes: Shapes) -> tuple[str, list[str]] | None:
    """What it is if it has no UNet in the original release's names."""
    for start, family, said in (
        (r"control_model\.|input_hint_block\.|controlnet_", "controlnet", "a ControlNet's names"),
        (rf"(?:{re.escape(UNET)})?joint_blocks\.", "sd3", "joint_blocks: Stable Diffusion 3"),
        (rf"(?:{re.escape(UNET)})?double_blocks\.", "flux", "double_blocks: FLUX"),
        (r"(?:transformer|single_transformer|transformer_blocks)\S*\.add_k_proj", "flux", "diffusers' transformer"),
        (r".*motion_modules?\.", "motion", "motion_modules: AnimateDiff"),
        (r"(?:clip_txt_mapper|clip_txt_pooled_mapper|down_blocks\.0\.0\.)", "cascade", "Stable Cascade's names"),
    ):
        if any(re.match(start, key) for key in shapes):
            return family, [f"it has {said}"]
    if f"{UNET}input_blocks.0.0.weight" in shapes:
        return None
    if any(key.startswith(("down_blocks.", "unet.down_blocks.")) for key in shapes):
        return "unet", ["its names are those of diffusers' UNet (down_blocks)"]
    if "input_blocks.0.0.weight" in shapes:
        return "unet", ["its names are those of the original's UNet, without a model around it"]
    if any(key.startswith("model_ema.") for key in shapes):
        return "averages", ["it has model_ema. and no model.diffusion_model."]
    parts = ("first_stage_model.", "encoder.down", "decoder.up", "decoder.mid")
    if any(key.startswith(parts) for key in shapes):
        return "vae", ["it has encoder and decoder and no UNet"]
    return "unknown", ["it has no model.diffusion_model.input_blocks.0.0"]


def what_else(shapes: Shapes) -> str:
    """What a file is that is no base model, and what to do with it, "" if that cannot be told."""
    if any(re.search(r"lora[_.]|\.(?:hada|lokr|oft)_|dora_scale", key) for key in shapes):
        return "it is a LoRA; give the model that it was made for as the base, and write <lora:NAME:1> in the prompt"
    widths = {shape[-1] for shape in shapes.values() if 1 <= len(shape) <= 2}
    is_embedding = any(re.match(r"emb_params|string_to_param|clip_[lg]$", key) for key in shapes)
    if is_embedding or (len(shapes) == 1 and widths <= {768, 1024, 1280} and widths):
        return "it is an embedding; give the model that it was made for as the base, and say its name in the prompt"
    return ""


def _form(shapes: Shapes, family: str) -> str:
    """Why a model of a known family is of a form that is not opened, or ""."""
    if family not in ("sd1", "sd2", "sdxl"):
        return ""
    entry = shapes[f"{UNET}input_blocks.0.0.weight"]
    channels = entry[1] if len(entry) == 4 else 4
    if channels != 4:
        return CHANNELS.get(channels, f"its input has {channels} channels in place of 4; use a plain model")
    encoder = "conditioner.embedders." if family == "sdxl" else "cond_stage_model."
    if not any(key.startswith(encoder) for key in shapes):
        return f"it has no text encoder (no {encoder}), only part of a model; use a file of the whole model"
    return ""


def _prediction(found: Identity, shapes: Shapes, metadata: Mapping[str, str]) -> Identity:
    """What the network predicts: marks before metadata before what the family does."""
    config = _scheduler(metadata)
    zero = "ztsnr" in shapes or metadata.get("ss_zero_terminal_snr") == "True"
    zero = zero or bool(config.get("rescale_betas_zero_snr"))
    if marks := sorted(key for key in shapes if key == "v_pred" or key.startswith("edm_vpred.")):
        said = f"it has the mark {marks[0]}: it predicts v"
        return _knowing(found, "v_prediction", "mark", said, zero)
    for key in ("modelspec.prediction_type", "prediction_type"):
        if told := _spelled(metadata.get(key)):
            return _knowing(found, told, "metadata", f"its metadata say {key} = {metadata[key]}", zero)
    if told := _spelled(config.get("prediction_type")):
        return _knowing(found, told, "config", f"its own configuration says {told}", zero)
    if found.family == "sd2":
        said = "nothing in it says whether it predicts the noise (2.x at 512) or v (2.x at 768)"
        return _knowing(found, "v_prediction" if zero else "epsilon", "probe needed", said, zero)
    return _knowing(found, "epsilon", "default", "it has no mark of v-prediction: it predicts the noise", zero)


def _knowing(found: Identity, prediction_type: str, known_by: str, said: str, zero: bool) -> Identity:
    reasons = (*found.reasons, said, *(("it is marked as trained down to pure noise (ztsnr)",) if zero else ()))
    return replace(found, prediction_type=prediction_type, known_by=known_by, zero_terminal_snr=zero, reasons=reasons)


def _scheduler(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The scheduler's configuration of a file that Limner wrote; empty for others, and for what cannot be read."""
    try:
        told = json.loads(metadata.get(ARCHITECTURE, "{}")).get("scheduler", {})
    except (ValueError, RecursionError, AttributeError):
        return {}
    return told if isinstance(told, dict) else {}


def _spelled(told: object) -> str | None:
    """Limner's word for a prediction type, whoever spelled it; None for what is no such word."""
    return _WORDS.get(re.sub(r"[\s_-]+(pred(iction)?|matching)?", "", str(told).lower()))


def says_flow(scheduler: Mapping[str, Any]) -> bool:
    """Whether a scheduler's configuration is of a model that predicts flows."""
    return str(scheduler.get("_class_name", "")).startswith("FlowMatch") or (
        _spelled(scheduler.get("prediction_type")) == "flow"
    )


def _distilled(shapes: Shapes, metadata: Mapping[str, str], name: str) -> list[str]:
    """Warnings that a model was distilled to few steps, strongest evidence first; one is enough."""
    if any(key.endswith(("time_embed.cond_proj.weight", "time_embedding.cond_proj.weight")) for key in shapes):
        return [f"its network is told the guidance (cond_proj), so it is an LCM: {_LESSON}"]
    titles = " ".join(metadata.get(key, "") for key in ("modelspec.title", "modelspec.architecture", "ss_output_name"))
    for kind, pattern in _DISTILLED.items():
        word = re.compile(rf"(?<![a-z])(?:{pattern})(?![a-z])", re.IGNORECASE)
        if word.search(titles):
            return [f"its metadata call it {kind}, a model distilled to few steps: {_LESSON}"]
        if word.search(name):
            return [
                f"its name says {kind}, which is all that tells of a model distilled to few steps; if so, {_LESSON}"
            ]
    return []


def _first(shapes: Shapes, pattern: str) -> tuple[int, ...] | None:
    return next((shape for name, shape in shapes.items() if name.startswith(UNET) and re.match(pattern, name)), None)


def _about_projection(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        return "its proj_in are 1x1 convolutions: 1.x"
    return "its proj_in are matrices: 2.x or XL"


def _with_width(reasons: list[str], width: object) -> list[str]:
    """The width of the text's states in words, with whose it is in the published models."""
    if not isinstance(width, int):
        return reasons
    return [*reasons, f"cross-attention is {width} wide" + (f": {WIDTHS[width]}" if width in WIDTHS else "")]
