"""Open a base model by name: the pocket base, a diffusers folder, a single file, or a hub id in the cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from limner.base import flow, folder, layout, pocket, single
from limner.base.attention import AttentionByShape
from limner.base.families import FAMILIES
from limner.base.family import Family
from limner.base.find import find_base, find_vae, identify
from limner.base.identify import NO_VAE, Identity
from limner.base.model import BaseModel, weights_of
from limner.base.norm import use_by_shape
from limner.base.original import Configs
from limner.base.probe import NAMES, probe
from limner.base.published import PADS, published
from limner.base.sd3 import SD3
from limner.cards import unused_card
from limner.config import Prediction
from limner.errors import UserError
from limner.files import require_unchanged, sha256_file, stamp_of

# Of families that are more than names.
MODELS: dict[str, type[BaseModel]] = {SD3.name: flow.FlowModel}


def open_base(
    name: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    prediction_type: Prediction = "auto",
    vae: Path | None = None,
) -> BaseModel:
    """Load a base model onto a device, without asking a hub for anything.

    `name` is "pocket", a folder in diffusers' layout, a single file as base/single.py has it, or a hub id
    ("owner/name") that the hub's cache holds. prediction_type: what the network predicts, if the person knows better
    than the model says. vae: a file or a diffusers folder with another VAE. Raises UserError when it is none of these
    or a family that Limner does not know.
    """
    source = find_base(name)
    identity = identify(source)
    family = FAMILIES[identity.family]
    vae_source = None if vae is None else find_vae(vae)
    stamps = {path: stamp_of(path) for path in ([source] if source.is_file() else layout.files_of(source, family))}
    configs = single.read_configs(source, identity) if source.is_file() else None
    memory_format = torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format
    networks: dict[str, Any] = {
        part: _network(source, part, dtype, configs, vae_source, memory_format) for part in family.networks
    }
    pads: Mapping[str, str] = PADS.get(family.name, {}) if source.is_file() else {}
    tokenizers = {}
    for encoder in family.encoders:
        of = (pocket.FOLDER, "tokenizer") if source.is_file() else (source, encoder.tokenizer)
        tokenizers[encoder.name] = folder.load_tokenizer(*of, pads.get(encoder.name))
    scheduler_config, alphas_cumprod = _noise(source, configs, family)
    for part in (family.denoiser, "vae"):
        networks[part].to(memory_format=memory_format)
    if device.type == "cpu" and "unet" in networks:
        networks["unet"].set_attn_processor(AttentionByShape())
        use_by_shape(networks["unet"])
    model = MODELS.get(family.name, BaseModel)(
        family=family,
        name=str(name),
        sha256=lambda: _sha256(source, stamps),
        networks={part: network.to(device) for part, network in networks.items()},
        tokenizers=tokenizers,
        scheduler_config=scheduler_config,
        alphas_cumprod=alphas_cumprod,
        source=source,
        vae_source=vae_source,
        warnings=_warnings(identity, vae_source),
    )
    require_unchanged(stamps)
    if device.type == "cpu" and (sentence := unused_card()) is not None:
        model.warnings += (sentence,)
    _settle(model, identity, prediction_type)
    return model


def _sha256(source: Path, stamps: Mapping[Path, tuple[int, ...]]) -> str:
    """Of what was opened. Raises UserError if something else lies there by now."""
    digest = sha256_file(source) if source.is_file() else layout.fingerprint(source)
    require_unchanged(stamps)
    return digest


def full_precision(model: BaseModel, part: str) -> dict[str, Tensor]:
    """A network's weights in float32 on the CPU, by limner.weights' paths: as their file has them, not as the model
    computes. Raises UserError if the file is no longer there."""
    if model.dtype == torch.float32 or model.source is None:
        network = model.networks[part]
    else:
        source = find_base(model.source)
        configs = single.configs_of(model) if source.is_file() else None
        network = _network(source, part, torch.float32, configs, model.vae_source)
    return {name: tensor.float().cpu() for name, tensor in weights_of(network).items()}


def _network(
    source: Path,
    part: str,
    dtype: torch.dtype,
    configs: Configs | None,
    vae_source: Path | None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> nn.Module:
    """A network on the CPU, of a folder or a single file; configs: of the latter, the only one whose weights are read
    in a memory format at once."""
    if part == "vae" and vae_source is not None:
        base = configs or {"vae": layout.read_config(source, "vae")}
        return single.load_vae(vae_source, base, dtype)
    if configs is None:
        return folder.load_network(source, part, dtype)
    return single.load_network(source, part, configs, dtype, memory_format)


def _noise(source: Path, configs: Configs | None, family: Family) -> tuple[dict[str, Any], Tensor]:
    """The scheduler's configuration, and a of each timestep."""
    if family.denoiser == "transformer":
        config = layout.read_scheduler(source)
        return config, flow.alphas_cumprod(int(config.get("num_train_timesteps", 1000)))
    scheduler = folder.load_scheduler(source) if configs is None else single.scheduler(configs)
    return dict(scheduler.config), scheduler.alphas_cumprod.float()


def _warnings(identity: Identity, vae_source: Path | None) -> tuple[str, ...]:
    """What to tell a person about a base, but not that it lacks a VAE when there is another."""
    return tuple(w for w in identity.warnings if vae_source is None or w != NO_VAE)


def _settle(model: BaseModel, identity: Identity, prediction_type: Prediction) -> None:
    """Decide what the network predicts: as the person says, as its marks say, or as a probe finds."""
    if model.prediction_type == "flow":
        if prediction_type != "auto":
            raise UserError(f"{model.name} predicts flows and nothing else; leave --prediction-type out")
        return
    told = identity.known_by in ("mark", "metadata", "config")
    if prediction_type == "auto" and told:
        return
    verdict = probe(model)
    chosen = identity.prediction_type if prediction_type == "auto" else prediction_type
    if prediction_type == "auto":
        if verdict.prediction_type is not None:
            chosen = verdict.prediction_type
        elif identity.known_by == "probe needed":
            model.warnings += (
                f"nothing in {model.name} says whether it predicts the noise or v, and {verdict.said}; it is taken for "
                f"{NAMES[chosen]}, so say --prediction-type if it is not",
            )
    elif verdict.prediction_type not in (None, chosen):
        model.warnings += (
            f"--prediction-type {chosen} is probably wrong for {model.name}: {verdict.said}; leave it out, or what is "
            "learned will be of no use",
        )
    _read_as(model, chosen, is_published=not told and model.source is not None and model.source.is_file())


def _read_as(model: BaseModel, prediction_type: str, is_published: bool) -> None:
    """Have the network's output read in a way; published: it is made as the models of its family are that do so."""
    if prediction_type == model.prediction_type:
        return
    zero = bool(model.scheduler_config.get("rescale_betas_zero_snr")) and prediction_type == "v_prediction"
    config = single.essential("scheduler", model.scheduler_config)  # without diffusers' note of what was left open
    config |= {"prediction_type": prediction_type, "rescale_betas_zero_snr": zero}
    scheduler = single.scheduler({"scheduler": config})
    model.scheduler_config, model.alphas_cumprod = dict(scheduler.config), scheduler.alphas_cumprod.float()
    if is_published:
        unet = model.networks["unet"]
        told = published(model.family.name, prediction_type)["unet"]
        told = {"sample_size": told["sample_size"], "upcast_attention": told.get("upcast_attention", False)}
        unet.register_to_config(**told)
        for module in unet.modules():
            if isinstance(module, Attention):
                module.upcast_attention = told["upcast_attention"]
