"""What a base predicts, found out both ways; other VAEs; files in other tools' spellings; what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.base import pocket, single
from limner.base.find import find_base, identify
from limner.base.folder import load_tokenizer
from limner.base.identify import identify_base
from limner.base.model import BaseModel
from limner.base.open import full_precision, open_base
from limner.base.probe import probe
from limner.container.header import read_header
from limner.diffusion import add_noise, prediction_target
from limner.errors import UserError
from limner.formats import inspect as examine
from limner.formats import save_weights
from limner.weights import whole

CPU = torch.device("cpu")
VAE = "first_stage_model."


def opened(path: Path | str, dtype: torch.dtype = torch.float32, **options: Any) -> BaseModel:
    return open_base(path, CPU, dtype, **options)


@pytest.fixture
def file(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny base as a single file."""
    path = tmp_path / "tiny.safetensors"
    save_weights(whole(opened(tiny_folder)), path, dtype=torch.float32)
    return path


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """The pocket base in a folder that does not say what it predicts."""
    folder = tmp_path / "silent"
    shutil.copytree(pocket.FOLDER, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    told = json.loads(path.read_text())
    del told["prediction_type"]
    path.write_text(json.dumps(told))
    return folder


@pytest.fixture
def predicting_v(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every UNet computes v in place of the noise that it learned to predict: (n - sqrt(1 - a) x_t) / sqrt(a)."""
    levels = opened("pocket").alphas_cumprod
    of_noise = UNet2DConditionModel.forward

    def forward(self: Any, sample: Tensor, timestep: Tensor, *args: Any, **options: Any) -> tuple[Tensor]:
        noise = of_noise(self, sample, timestep, *args, **options)[0]
        a = levels[timestep].view(-1, 1, 1, 1)
        return (((noise.float() - (1 - a).sqrt() * sample.float()) / a.sqrt()).to(sample),)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_noise_is_found(silent: Path, dtype: torch.dtype) -> None:
    model = opened(silent, dtype)
    verdict = probe(model)
    assert verdict.prediction_type == model.prediction_type == "epsilon"
    assert verdict.errors["epsilon"] * 10 < verdict.errors["v_prediction"]
    assert model.warnings == ()


@pytest.mark.usefixtures("predicting_v")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_v_is_found(silent: Path, dtype: torch.dtype) -> None:
    model = opened(silent, dtype)
    verdict = probe(model)
    assert verdict.prediction_type == model.prediction_type == model.scheduler_config["prediction_type"]
    assert model.prediction_type == "v_prediction"
    assert verdict.errors["v_prediction"] * 4 < verdict.errors["epsilon"]
    assert model.warnings == ()


@pytest.fixture
def predicting_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every UNet computes the flow in place of the noise that it learned to predict, from what models of flows are
    shown: (1 - s) x0 + s n at the time 1000 s."""
    levels = opened("pocket").alphas_cumprod
    of_noise = UNet2DConditionModel.forward

    def forward(self: Any, sample: Tensor, timestep: Tensor, *args: Any, **options: Any) -> tuple[Tensor]:
        s = (timestep / 1000).view(-1, 1, 1, 1)
        length = ((1 - s).square() + s.square()).sqrt()
        at = (levels[None] - ((1 - s) / length).square().view(-1, 1)).abs().argmin(1)
        a = levels[at].view(-1, 1, 1, 1)
        shown = sample.float() / length
        noise = of_noise(self, shown.to(sample), at, *args, **options)[0].float()
        return ((noise - (shown - (1 - a).sqrt() * noise) / a.sqrt()).to(sample),)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)


@pytest.mark.usefixtures("predicting_flow")
def test_a_flow_is_found_and_followed(silent: Path) -> None:
    """Whatever its configuration says; and the noise that it is shown by ours is undone as the flow has it."""
    model = opened(silent)
    assert (model.prediction_type, model.warnings) == ("flow", ())
    assert model.fingerprint != opened(silent, prediction_type="epsilon").fingerprint
    late = opened(silent)
    told = json.loads((silent / "scheduler" / "scheduler_config.json").read_text())
    (silent / "scheduler" / "scheduler_config.json").write_text(json.dumps(told | {"prediction_type": "v_prediction"}))
    warned = opened(silent)
    assert warned.prediction_type == "flow"
    assert "configuration says that it predicts v (v_prediction), but a probe found" in str(warned.warnings)
    with pytest.raises(UserError, match=r"scheduler_config\.json was changed after it was opened; give the same"):
        _ = late.fingerprint  # of what was opened, which is no longer there
    latents = model.encode_images(torch.zeros(1, 3, 64, 64))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    timestep = torch.tensor([400])
    signal = model.alphas_cumprod[timestep]
    noisy = add_noise(latents, noise, signal)
    with torch.no_grad():
        predicted = model.predict(noisy, timestep, model.encode_prompts([""]))
    target = prediction_target(latents, noise, signal, model.prediction_type)
    assert (predicted - target).square().mean() < 0.3 * target.square().mean()


def test_a_wrong_override_is_warned_of() -> None:
    assert opened("pocket", prediction_type="epsilon").warnings == ()
    model = opened("pocket", prediction_type="v_prediction")
    assert model.prediction_type == "v_prediction"
    assert "--prediction-type v_prediction is probably wrong" in str(model.warnings)
    assert "predicts the noise (epsilon)" in str(model.warnings)


@pytest.mark.usefixtures("predicting_v")
def test_a_right_override_of_a_wrong_configuration_is_not() -> None:
    assert opened("pocket", prediction_type="v_prediction").warnings == ()
    assert "probably wrong" in str(opened("pocket", prediction_type="epsilon").warnings)


def test_of_a_network_that_learned_nothing_neither_is_believed(
    tiny_folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "silent"
    shutil.copytree(tiny_folders("sd2"), folder)
    path = folder / "scheduler" / "scheduler_config.json"
    told = json.loads(path.read_text())
    del told["prediction_type"]
    path.write_text(json.dumps(told))
    assert identify(folder).known_by == "probe needed"
    model = opened(folder)
    assert model.prediction_type == "epsilon"
    assert "say --prediction-type" in str(model.warnings)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_v_models_are_written_with_marks_and_the_webui_s_yaml(
    tiny_folders: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    folder = tmp_path / "v"
    shutil.copytree(tiny_folders(family), folder)
    path = folder / "scheduler" / "scheduler_config.json"
    told = json.loads(path.read_text()) | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    path.write_text(json.dumps(told))
    model = opened(folder)
    file = tmp_path / "v.safetensors"
    save_weights(whole(model), file, dtype=torch.float32, model=model)
    header = read_header(file)
    assert {"v_pred", "ztsnr"} <= header.shapes.keys()
    assert header.metadata["modelspec.prediction_type"] == "v"
    again = opened(file)
    assert again.prediction_type == "v_prediction"
    assert torch.equal(again.alphas_cumprod, model.alphas_cumprod)
    assert again.alphas_cumprod[-1] == 0
    found = identify_base(header.shapes, {})  # as another program would, which does not read our configuration
    assert (found.family, found.prediction_type, found.known_by, found.zero_terminal_snr) == (
        (family, "v_prediction", "mark", True)
    )
    text = file.with_suffix(".yaml").read_text()
    assert ("VScaling" if family == "sdxl" else 'parameterization: "v"') in text


def test_the_yaml_is_read_where_there_are_no_marks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = read_header(file).metadata
    configs = json.loads(metadata[single.ARCHITECTURE])
    del configs["scheduler"]["prediction_type"]
    save_file(load_file(file), file, {single.ARCHITECTURE: json.dumps(configs)})
    assert identify(file).known_by == "default"
    file.with_suffix(".yaml").write_bytes('model:\r\n  params:\r\n    parameterization: "v"\r\n'.encode("utf-16"))
    found = identify(file)
    assert (found.prediction_type, found.known_by) == ("v_prediction", "config")
    assert "tiny.yaml" in str(found.reasons)


def test_the_yaml_is_yaml(tiny_folders: Callable[[str], Path]) -> None:
    yaml = pytest.importorskip("yaml")
    from limner.base.published import published
    from limner.formats.original_config import original_yaml

    for family, width in (("sd1", 768), ("sd2", 1024), ("sdxl", 2048)):
        told = yaml.safe_load(original_yaml(published(family, "v_prediction")))["model"]["params"]
        unet = told["network_config" if family == "sdxl" else "unet_config"]["params"]
        assert unet["context_dim"] == width
        assert unet["channel_mult"] == ([1, 2, 4] if family == "sdxl" else [1, 2, 4, 4])
        assert unet["attention_resolutions"] == ([2, 4] if family == "sdxl" else [1, 2, 4])
        if family == "sdxl":
            inputs = [each["input_key"] for each in told["conditioner_config"]["params"]["emb_models"]]
            assert inputs == ["txt", "txt", "original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple"]
            assert unet["transformer_depth"] == [1, 2, 10]
            assert (unet["num_head_channels"], unet["adm_in_channels"]) == (64, 2816)
        else:
            assert told["parameterization"] == "v"
            assert unet.get("num_heads") == (8 if family == "sd1" else None)
            assert unet.get("num_head_channels") == (64 if family == "sd2" else None)


def other_vae(file: Path) -> dict[str, Tensor]:
    """A VAE like a file's, with other numbers, by the original's names."""
    return {name: tensor + 0.01 for name, tensor in load_file(file).items() if name.startswith(VAE)}


def test_another_vae_in_every_spelling(file: Path, tmp_path: Path) -> None:
    base, other = opened(file), other_vae(file)
    places = {name: tmp_path / f"{name}.safetensors" for name in ("prefixed", "plain", "model", "diffusers")}
    save_file(other, places["prefixed"])
    save_file({name.removeprefix(VAE): tensor for name, tensor in other.items()}, places["plain"])
    save_file(load_file(file) | other, places["model"], read_header(file).metadata)
    wanted = opened(places["model"]).networks["vae"].state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def before(name: str) -> str:
        for new, its in old.items():
            name = name.replace(f".{new}.", f".{its}.")
        return name

    save_file({before(name): tensor.contiguous() for name, tensor in wanted.items()}, places["diffusers"])
    folder = tmp_path / "folder" / "vae"
    folder.mkdir(parents=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in wanted.items()}, folder / "diffusion_pytorch_model.safetensors"
    )
    torch.save({"state_dict": {name.removeprefix(VAE): t for name, t in other.items()}}, tmp_path / "old.pt")
    for place in (*places.values(), folder, folder.parent, tmp_path / "old.pt"):
        model = opened(file, vae=place)
        found = model.networks["vae"].state_dict()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted), place
        assert model.sha256 == base.sha256
        assert model.fingerprint != base.fingerprint
        assert model.networks["vae"].config.scaling_factor == base.networks["vae"].config.scaling_factor
    half = opened(file, torch.bfloat16, vae=places["plain"])
    assert torch.equal(full_precision(half, "vae")["decoder.conv_in.bias"], other[f"{VAE}decoder.conv_in.bias"])
    onto_folder = opened("pocket", vae=pocket.FOLDER)
    assert torch.equal(onto_folder.decode(torch.zeros(1, 4, 8, 8)), opened("pocket").decode(torch.zeros(1, 4, 8, 8)))


def test_what_is_no_vae(file: Path, tmp_path: Path) -> None:
    for place, said in (
        (tmp_path / "absent", "there is no VAE at .*--vae"),
        (tmp_path, "there is no VAE at .*--vae"),
        (_saved(tmp_path / "x.safetensors", {"a": torch.zeros(1)}), "has no encoder.conv_in.weight; .*--vae"),
        (pocket.FOLDER / "vae", "is of another kind than the base's: its .*--vae"),
    ):
        with pytest.raises(UserError, match=said):
            opened(file, vae=place)
    with pytest.raises(UserError, match=r"is of another kind than the base's: its .*--vae"):
        opened("pocket", vae=file)  # onto a folder, of which nothing but the VAE's configuration is asked


def _saved(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file(tensors, path, metadata)
    return path


def test_a_model_without_a_vae_opens_with_one(file: Path, tmp_path: Path) -> None:
    tensors, metadata = load_file(file), read_header(file).metadata
    bare = _saved(tmp_path / "bare.safetensors", {n: t for n, t in tensors.items() if VAE not in n}, metadata)
    vae = _saved(tmp_path / "vae.safetensors", {n: t for n, t in tensors.items() if VAE in n})
    with pytest.raises(UserError, match=r"bare\.safetensors has no VAE of its own; .* take one with --vae"):
        opened(bare)
    model = opened(bare, vae=vae)
    assert model.warnings == ()
    latents = torch.zeros(1, 4, 8, 8)
    assert torch.equal(model.decode(latents), opened(file).decode(latents))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".safetensors"])
def test_files_of_every_age(tiny_folders: Callable[[str], Path], tmp_path: Path, family: str, suffix: str) -> None:
    """Pickled with a trainer's leftovers, with averages beside the weights, and without the `text_model` of late."""
    model = opened(tiny_folders(family))
    plain = tmp_path / "plain.safetensors"
    save_weights(whole(model), plain, dtype=torch.float32)
    tensors = load_file(plain)
    renamed = {name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in tensors.items()}
    renamed |= {"model_ema.decay": torch.tensor(0.9), "model_ema.diffusion_modelout2bias": torch.zeros(4)}
    path = tmp_path / f"old{suffix}"
    if suffix == ".safetensors":
        save_file(renamed, path, read_header(plain).metadata)
    else:
        torch.save({"state_dict": renamed, "global_step": 7}, path, _use_new_zipfile_serialization=suffix == ".ckpt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "published", lambda *_: single.configs_of(model))
        again = opened(path)
    for part, network in model.networks.items():
        found = again.networks[part].state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in network.state_dict().items())


def test_a_precision_is_every_tensor_s(file: Path) -> None:
    tensors = {n: t.half() if VAE in n else t.bfloat16() for n, t in load_file(file).items()}
    save_file(tensors, file, read_header(file).metadata)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert {p.dtype for net in opened(file, dtype).networks.values() for p in net.parameters()} == {dtype}


def test_another_model_s_description_is_not_believed(file: Path, tiny_folders: Callable[[str], Path]) -> None:
    """As other tools' merges leave it: the tensors say what it is."""
    others = single.describe(opened(tiny_folders("sdxl")))
    save_file(
        load_file(file), file, {single.ARCHITECTURE: others, "modelspec.architecture": "stable-diffusion-xl-v1-base"}
    )
    found = identify(file)
    assert found.family == "sd1"
    assert "stable-diffusion-xl-v1-base" in str(found.warnings)
    assert single.ARCHITECTURE in str(found.warnings)


def test_what_is_left_out_of_a_file_is_said(file: Path) -> None:
    tensors, metadata = load_file(file), read_header(file).metadata
    more = {"model_ema.diffusion_modelout2bias": torch.zeros(4), "control.weight": torch.zeros(1)}
    needless = {"alphas_cumprod": torch.ones(1000), "cond_stage_model.logit_scale": torch.zeros(())}
    save_file(tensors | more | needless, file, metadata)
    unknown, averages = opened(file).warnings  # in the order of the file's tensors
    assert "(model_ema.diffusion_modelout2bias): they are averages" in averages
    assert "1 of" in unknown
    assert "(control.weight)" in unknown
    assert "NaN" not in str(examine(file).warnings)
    save_file(
        tensors | {"cond_stage_model.transformer.text_model.final_layer_norm.bias": torch.full((32,), torch.nan)},
        file,
        metadata,
    )
    assert "1 of its tensors hold numbers that are not finite (NaN)" in str(examine(file).warnings)
    with pytest.raises(UserError, match=r"not finite .* in cond_stage_model.*final_layer_norm.bias"):
        opened(file)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"GGUF\x03\0\0\0", "a GGUF file, .*; use the .safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
    ],
)
def test_what_is_no_weights_at_all_is_named(tmp_path: Path, start: bytes, said: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(start + bytes(100))
    with pytest.raises(UserError, match=rf"model\.safetensors is {said}"):
        opened(path)


def test_refusals_are_one_sentence_with_the_file_s_name(file: Path, tmp_path: Path) -> None:
    tensors, metadata = load_file(file), read_header(file).metadata
    entry = "model.diffusion_model.input_blocks.0.0.weight"
    cases = {
        "inpainting": tensors | {entry: torch.zeros(32, 9, 3, 3)},
        "no text encoder": {name: t for name, t in tensors.items() if "cond_stage" not in name},
        "VAE alone": {name: t for name, t in tensors.items() if VAE in name},
        "ControlNet": {"control_model.input_hint_block.0.weight": torch.zeros(1)},
        "lacks model.diffusion_model.out.2.bias": {n: t for n, t in tensors.items() if not n.endswith("out.2.bias")},
        "int64": tensors | {"model.diffusion_model.out.2.bias": torch.zeros(4, dtype=torch.int64)},
    }
    for number, (said, held) in enumerate(cases.items()):
        path = _saved(tmp_path / f"case{number}.safetensors", held, metadata)
        with pytest.raises(UserError, match=rf"case{number}\.safetensors.*{said}") as caught:
            opened(path)
        assert "\n" not in str(caught.value)


def test_a_configuration_that_asks_for_too_much(file: Path) -> None:
    configs = json.loads(read_header(file).metadata[single.ARCHITECTURE])
    for part, name, value in (
        ("text_encoder", "num_hidden_layers", 10**9),
        ("unet", "block_out_channels", [10**9] * 4),
        ("unet", "transformer_layers_per_block", 10**6),
        ("vae", "block_out_channels", [8] * 1000),
    ):
        told = configs | {part: configs[part] | {name: value}}
        save_file(load_file(file), file, {single.ARCHITECTURE: json.dumps(told)})
        with pytest.raises(UserError, match="describes itself"):
            find_base(file)


def test_a_hub_id_that_is_not_in_the_cache_is_not_asked_for() -> None:
    with pytest.raises(UserError, match="nor in the hub's cache"):
        find_base("some-owner/some-model-that-is-not-there")


def test_a_hub_id_opens_from_the_cache(
    tiny_folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hub's own client leaves it there, with the network refused."""
    snapshot = tmp_path / "models--owner--tiny" / "snapshots" / "0123456789012345678901234567890123456789"
    shutil.copytree(tiny_folders("sd2"), snapshot)
    refs = tmp_path / "models--owner--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(snapshot.name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", _refuse)
    model = opened("owner/tiny")
    assert (model.family.name, model.name, model.source) == ("sd2", "owner/tiny", snapshot)


def _refuse(*_: object) -> None:
    raise AssertionError("the network was asked")


def test_a_tokenizer_is_known_by_what_is_in_its_files(tiny_folder: Path, tmp_path: Path) -> None:
    """Not by where they lie: an equal one is read once, and one whose files have changed is read again."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    first = load_tokenizer(tiny_folder, "tokenizer")
    assert load_tokenizer(folder, "tokenizer") is first
    assert load_tokenizer(folder, "tokenizer", "!").pad_token == "!"
    told = folder / "tokenizer" / "tokenizer_config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"pad_token": "a"}))
    assert load_tokenizer(folder, "tokenizer").pad_token == "a"
    assert first.pad_token == "<|endoftext|>"
