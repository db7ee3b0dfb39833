"""Open a base model by name: the pocket base, a diffusers folder, a single file, or a hub id in the cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from torch import Tensor, nn

from limner.base import folder, pocket, sd3, single
from limner.base.attention import AttentionByShape
from limner.base.families import FAMILIES, MODELS
from limner.base.family import Family
from limner.base.identify import Identity
from limner.base.model import BaseModel, weights_of
from limner.base.norm import use_by_shape
from limner.base.original import Configs
from limner.base.probe import NAMES, probe
from limner.base.published import PADS, published
from limner.config import Prediction
from limner.errors import UserError
from limner.files import sha256_file


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
        sha256=lambda: sha256_file(source) if source.is_file() else folder.fingerprint(source),
        networks={part: network.to(device) for part, network in networks.items()},
        tokenizers=tokenizers,
        scheduler_config=scheduler_config,
        alphas_cumprod=alphas_cumprod,
        source=source,
        vae_source=vae_source,
        warnings=_warnings(identity, vae_source),
    )
    _settle(model, identity, prediction_type)
    return model


def identify(source: Path) -> Identity:
    """What a folder or a single file is. Raises UserError if it cannot be read."""
    return single.identify_file(source) if source.is_file() else folder.identify_folder(source)


def resolution_of(name: str | Path) -> int:
    """The size in pixels that a base model was trained at, without loading it. Raises UserError."""
    source = find_base(name)
    identity = identify(source)
    denoiser = FAMILIES[identity.family].denoiser
    if source.is_file():
        configs = single.read_configs(source, identity)
    else:
        configs = {part: folder.read_config(source, part) for part in (denoiser, "vae")}
    levels = len(configs["vae"]["block_out_channels"])
    return int(configs[denoiser]["sample_size"]) * 2 ** (levels - 1)


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


def find_base(name: str | Path) -> Path:
    """The folder or file that a name stands for, found to be of a known family. Raises UserError."""
    path = Path(name).expanduser()
    if str(name) != pocket.NAME and path.is_file():
        single.read_configs(path)
        return path
    found = _find_folder(name)
    folder.check_family(found)
    return found


def _find_folder(name: str | Path) -> Path:
    """The diffusers folder that a name stands for."""
    if str(name) == pocket.NAME:
        return pocket.FOLDER
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / folder.INDEX).is_file():
            raise UserError(f"the base {path} is not in diffusers' layout: it has no {folder.INDEX}")
        return path
    try:
        return Path(snapshot_download(str(name), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(
            f"no base model {str(name)!r}: it is neither a file or folder nor in the hub's cache on this machine; "
            "give a diffusers folder, or use --base pocket"
        ) from error


def find_vae(path: Path) -> Path:
    """The file with a VAE's weights that a file or a diffusers folder stands for. Raises UserError."""
    path = path.expanduser()
    if path.is_file():
        return path
    for place in (path, path / "vae"):
        for name in ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16"):
            for suffix in (".safetensors", ".bin"):
                if (found := place / f"{name}{suffix}").is_file():
                    return found
    raise UserError(f"there is no VAE at {path}; give a file, or a folder in diffusers' layout, with --vae")


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
        base = configs or {"vae": folder.read_config(source, "vae")}
        return single.load_vae(vae_source, base, dtype)
    if configs is None:
        return folder.load_network(source, part, dtype)
    return single.load_network(source, part, configs, dtype, memory_format)


def _noise(source: Path, configs: Configs | None, family: Family) -> tuple[dict[str, Any], Tensor]:
    """The scheduler's configuration, and a of each timestep."""
    if family.denoiser == "transformer":
        config = folder.read_scheduler(source)
        return config, sd3.alphas_cumprod(int(config.get("num_train_timesteps", 1000)))
    scheduler = folder.load_scheduler(source) if configs is None else single.scheduler(configs)
    return dict(scheduler.config), scheduler.alphas_cumprod.float()


def _warnings(identity: Identity, vae_source: Path | None) -> tuple[str, ...]:
    """What to tell a person about a base, but not that it lacks a VAE when there is another."""
    return tuple(w for w in identity.warnings if vae_source is None or "--vae" not in w)


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
