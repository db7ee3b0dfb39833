"""Open a base model by name: the pocket base, a diffusers folder, a single file, or a hub id in the cache."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from limner.base import flow, folder, layout, pocket, single
from limner.base.announce import size_of, size_of_part
from limner.base.attention import AttentionByShape
from limner.base.families import FAMILIES
from limner.base.family import Family
from limner.base.find import find_base, find_vae, identify
from limner.base.identify import NO_VAE, Identity, says_flow
from limner.base.model import BaseModel, weights_of
from limner.base.norm import use_by_shape
from limner.base.original import Configs
from limner.base.probe import NAMES, Verdict, probe
from limner.base.published import PADS, published
from limner.base.sd3 import SD3
from limner.base.weight_reader import open_weights
from limner.cards import unused_card
from limner.config import Prediction
from limner.errors import UserError
from limner.files import require_unchanged, sha256_file, stamp_of
from limner.generators import finish

# Of families that are more than names.
MODELS: dict[str, type[BaseModel]] = {SD3.name: flow.FlowModel}
# How a base says itself what it predicts, by Identity.known_by.
SAYS = {"mark": "marks say", "metadata": "metadata say", "config": "configuration says"}
_verdicts: dict[tuple[Any, ...], Verdict] = {}  # by the base's files as they were when it was asked


@dataclass(frozen=True)
class Opening:
    """So many bytes of a base's weights are read, of about so many."""

    done: int
    total: int


def open_base(
    name: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    prediction_type: Prediction = "auto",
    vae: Path | None = None,
) -> BaseModel:
    """As `opening`, to its end."""
    return finish(opening(name, device, dtype, prediction_type, vae))


def opening(
    name: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    prediction_type: Prediction = "auto",
    vae: Path | None = None,
) -> Generator[Opening, None, BaseModel]:
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
    networks: dict[str, Any] = {}
    total = sum(size_of_part(source / part) for part in family.networks) if source.is_dir() else size_of(source)
    done = 0
    yield Opening(0, total)
    for part in family.networks:
        loading = _network(source, family, part, dtype, configs, vae_source, memory_format)
        while True:
            try:
                done += next(loading)
            except StopIteration as end:
                networks[part] = end.value
                break
            yield Opening(min(done, total), total)
    pads: Mapping[str, str] = PADS.get(family.name, {}) if source.is_file() else {}
    tokenizers = {}
    for encoder in family.encoders:
        of = (pocket.FOLDER, "tokenizer") if source.is_file() else (source, encoder.tokenizer)
        tokenizers[encoder.name] = folder.load_tokenizer(*of, pads.get(encoder.name))
    scheduler_config, alphas_cumprod, shift = _noise(source, configs, family)
    for part in (family.denoiser, "vae"):
        networks[part].to(memory_format=memory_format)  # of another VAE, and of a family that is read in none
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
        warnings=(*_warnings(identity, vae_source), *_left_out(source, family, networks, configs, vae_source)),
    )
    require_unchanged(stamps, "was changed while it was being read")
    if device.type == "cpu" and (sentence := unused_card()) is not None:
        model.warnings += (sentence,)
    return _settled(model, identity, prediction_type, shift)


def _sha256(source: Path, stamps: Mapping[Path, tuple[int, ...]]) -> str:
    """Of what was opened. Raises UserError if something else lies there by now."""
    digest = sha256_file(source) if source.is_file() else layout.fingerprint(source)
    require_unchanged(stamps, "was changed after it was opened")
    return digest


def full_precision(model: BaseModel, part: str) -> dict[str, Tensor]:
    """A network's weights in float32 on the CPU, by limner.weights' paths: as their file has them, not as the model
    computes. Raises UserError if the file is no longer there."""
    if model.dtype == torch.float32 or model.source is None:
        network = model.networks[part]
    else:
        source = find_base(model.source)
        configs = single.configs_of(model) if source.is_file() else None
        network = finish(_network(source, model.family, part, torch.float32, configs, model.vae_source))
    return {name: tensor.float().cpu() for name, tensor in weights_of(network).items()}


def _network(
    source: Path,
    family: Family,
    part: str,
    dtype: torch.dtype,
    configs: Configs | None,
    vae_source: Path | None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> single.Reading[nn.Module]:
    """A network on the CPU, of a folder or a single file; configs: of the latter. Yields the bytes of each tensor."""
    if part == "vae" and vae_source is not None:
        base = configs or {"vae": layout.read_config(source, "vae")}
        return single.load_vae(vae_source, base, dtype)
    if configs is None:
        return (yield from folder.load_network(source, family, part, dtype, memory_format))
    return (yield from single.load_network(source, part, configs, dtype, memory_format))


def _noise(source: Path, configs: Configs | None, family: Family) -> tuple[dict[str, Any], Tensor, float]:
    """The scheduler's configuration, a of each timestep, and the shift of a flow. Of a UNet that is said to predict
    flows they are those that its family has: what it predicts is settled later."""
    config = layout.read_scheduler(source) if configs is None else dict(configs["scheduler"])
    shift = float(config.get("shift") or 1.0)
    if family.denoiser == "transformer":
        return config, flow.alphas_cumprod(int(config.get("num_train_timesteps", 1000))), shift
    if says_flow(config):
        configs = published(family.name)
    scheduler = folder.load_scheduler(source) if configs is None else single.scheduler(configs)
    return dict(scheduler.config), scheduler.alphas_cumprod.float(), shift


def _warnings(identity: Identity, vae_source: Path | None) -> tuple[str, ...]:
    """What to tell a person about a base, but not that it lacks a VAE when there is another."""
    return tuple(w for w in identity.warnings if vae_source is None or w != NO_VAE)


def _left_out(
    source: Path, family: Family, networks: Mapping[str, nn.Module], configs: Configs | None, vae_source: Path | None
) -> list[str]:
    """What is in a base and is not used, in sentences."""
    names = {part: [single.own_name(name) for name in network.state_dict()] for part, network in networks.items()}
    other_vae = vae_source is not None
    if configs is None:
        return [] if source == pocket.FOLDER else folder.remarks(source, family, names, other_vae)
    own = (f"{part}.{name}" for part, each in names.items() for name in each)
    with open_weights(source) as file:
        return single.inventory(file, configs, own, other_vae).remarks(source, "tensor", "tensors")


def _settled(model: BaseModel, identity: Identity, prediction_type: Prediction, shift: float) -> BaseModel:
    """The model, read as predicting what the person says, or what a probe finds, or what it says of itself."""
    if isinstance(model, flow.FlowModel):
        if prediction_type not in ("auto", "flow"):
            raise UserError(f"{model.name} predicts flows and nothing else; leave --prediction-type out")
        return model
    is_told = identity.known_by in SAYS
    chosen = identity.prediction_type if prediction_type == "auto" else prediction_type
    if prediction_type != "auto" or model.source != pocket.FOLDER:
        verdict = _probed(model)
        if prediction_type != "auto" and verdict.prediction_type not in (None, chosen):
            model.warnings += (
                f"--prediction-type {chosen} is probably wrong for {model.name}: {verdict.said}; leave it out, or what "
                "is learned will be of no use",
            )
        elif prediction_type == "auto" and verdict.prediction_type is None and not is_told:
            model.warnings += (
                f"nothing in {model.name} says what it predicts, and {verdict.said}; it is taken for {NAMES[chosen]}, "
                "so say --prediction-type if it is not",
            )
        elif prediction_type == "auto" and verdict.prediction_type is not None:
            if is_told and verdict.prediction_type != chosen:
                model.warnings += (
                    f"{model.name}: its {SAYS[identity.known_by]} that it predicts {NAMES[chosen]}, but "
                    f"{verdict.said}, and so it is used; say --prediction-type {chosen} if that is wrong",
                )
            chosen = verdict.prediction_type
    return _read_as(model, chosen, shift)


def _probed(model: BaseModel) -> Verdict:
    """What a probe finds, of a base whose files were asked before what it found then."""
    assert model.source is not None
    files = [model.source] if model.source.is_file() else sorted(model.source.rglob("*"))
    stats = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.is_file())
    key = (stats, model.vae_source, model.dtype, model.device.type)
    if model.source == pocket.FOLDER or key not in _verdicts:
        _verdicts[key] = probe(model)
    return _verdicts[key]


def _read_as(model: BaseModel, prediction_type: str, shift: float) -> BaseModel:
    """The model with its network's output read in a way, and made as the published models are that do so if it is of
    their size and came as a single file. shift: of a flow."""
    if prediction_type == "flow":
        steps = len(model.alphas_cumprod)
        return flow.FlowUNet(
            family=model.family,
            name=model.name,
            sha256=lambda: model.sha256,
            networks=model.networks,
            tokenizers=model.tokenizers,
            scheduler_config={"num_train_timesteps": steps, "prediction_type": "flow", "shift": shift},
            alphas_cumprod=flow.alphas_cumprod(steps),
            source=model.source,
            vae_source=model.vae_source,
            warnings=model.warnings,
        )
    if prediction_type == model.prediction_type:
        return model
    zero = bool(model.scheduler_config.get("rescale_betas_zero_snr")) and prediction_type == "v_prediction"
    config = single.essential("scheduler", model.scheduler_config)  # without diffusers' note of what was left open
    config |= {"prediction_type": prediction_type, "rescale_betas_zero_snr": zero}
    scheduler = single.scheduler({"scheduler": config})
    model.scheduler_config, model.alphas_cumprod = dict(scheduler.config), scheduler.alphas_cumprod.float()
    unet, told = model.networks["unet"], published(model.family.name, prediction_type)["unet"]
    is_published = list(unet.config.block_out_channels) == told["block_out_channels"]
    if is_published and model.source is not None and model.source.is_file():
        told = {"sample_size": told["sample_size"], "upcast_attention": told.get("upcast_attention", False)}
        unet.register_to_config(**told)
        for module in unet.modules():
            if isinstance(module, Attention):
                module.upcast_attention = told["upcast_attention"]
    return model
