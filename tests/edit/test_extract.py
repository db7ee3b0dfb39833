"""`limner extract`: a known change comes back, the energy is that of whole matrices, and what is left out is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner.base.model import BaseModel
from limner.cli import main
from limner.formats import inspect, load_weights, verify
from limner.formats.layers import layers

Changes = Callable[[Path], dict[str, Tensor]]
MakeLora = Callable[..., Path]
Tune = Callable[..., Path]
UNET = "model.diffusion_model."


def random(shape: tuple[int, ...], size: float = 0.02, seed: int = 0) -> Tensor:
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_known_change_of_low_rank_comes_back(
    tmp_path: Path, tiny_base: BaseModel, base_file: Path, make_lora: MakeLora, changes_of: Changes
) -> None:
    """A LoRA merged into the base and taken out again, convolutions and text encoder too."""
    lora, tuned, out = make_lora(rank=3), tmp_path / "tuned.safetensors", tmp_path / "out.safetensors"
    limner.merge(base_file, tuned, (str(lora),))
    options = ["--rank", "3", "--conv", "--text-encoder", "--file-precision", "fp32", "--quiet"]
    assert main(["extract", str(tuned), str(base_file), str(out), *options]) == 0
    wanted, found = changes_of(lora), changes_of(out)
    assert wanted.keys() == found.keys()
    for name, change in wanted.items():
        assert torch.allclose(found[name], change, atol=1e-5 * float(change.norm()))
    assert set(inspect(out).ranks) == {3}
    reports = verify(out, tiny_base, load_weights(out))
    assert all(report.matched == len(wanted) and not report.fault for report in reports)


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_from_other_families_too(
    tmp_path: Path,
    tiny_folders: Callable[[str], Path],
    base_files: Callable[[str], Path],
    make_lora: MakeLora,
    family: str,
) -> None:
    """A tuned single file against its base as a folder; of OpenCLIP's joint tensors each third is a layer."""
    layers = ("to_q", "conv1", "self_attn", "fc1", "fc2")
    lora, tuned = make_lora(family=family, rank=2, layers=layers), tmp_path / "tuned.safetensors"
    limner.merge(base_files(family), tuned, (str(lora),))
    out, options = tmp_path / "out.safetensors", {"rank": 2, "conv": True, "text_encoder": True}
    made = limner.extract(tuned, tiny_folders(family), out, file_precision="fp32", **options)
    wanted, found = load_weights(lora).modules(), load_weights(out).modules()
    assert wanted.keys() == found.keys()
    assert made.energy["all"] == pytest.approx(1, abs=1e-6)
    for name, leaves in wanted.items():
        one, other = (
            each["lora_up"].flatten(1) @ each["lora_down"].flatten(1) * float(each["alpha"]) / 2
            for each in (leaves, found[name])
        )
        assert torch.allclose(one, other, atol=1e-4 * float(one.norm()))


def test_the_energy_is_that_of_whole_matrices(
    tmp_path: Path, tiny_base: BaseModel, base_file: Path, tune: Tune, changes_of: Changes,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Full fine-tuning of a few layers in three blocks, and of the VAE, norms and convolutions beside them."""
    known = {layer.name: layer for layer in layers(tiny_base)}
    blocks = {
        "down": "unet.down_blocks.1.attentions.0.",
        "mid": "unet.mid_block.attentions.0.",
        "up": "unet.up_blocks.2.attentions.1.",
    }
    inner = "transformer_blocks.0.attn1.to_q"
    changes = {}
    for seed, start in enumerate(blocks.values()):
        layer = known[start + inner]
        changes[f"{UNET}{layer.original}.weight"] = random(layer.shape, seed=seed)
    conv = known["unet.mid_block.resnets.0.conv1"]
    others = {
        f"{UNET}{conv.original}.weight": random(conv.shape, 0.01),
        f"{UNET}out.0.bias": torch.full((32,), 0.01),
        "first_stage_model.decoder.conv_in.bias": torch.full((16,), 0.01),
    }
    tuned, out = tune(changes | others), tmp_path / "out.safetensors"
    assert main(["extract", str(tuned), str(base_file), str(out), "--rank", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    there = kept = 0.0
    for (block, start), change in zip(blocks.items(), changes.values(), strict=True):
        left, lengths, right = torch.linalg.svd(change.double(), full_matrices=False)
        share = float(lengths[:5].square().sum() / lengths.square().sum())
        assert told["energy"][block] == pytest.approx(share, rel=1e-4)
        best = left[:, :5] * lengths[:5] @ right[:5]
        assert torch.allclose(changes_of(out)[start + inner], best, atol=2e-3 * float(best.norm()))
        there, kept = there + float(lengths.square().sum()), kept + float(lengths[:5].square().sum())
    assert told["energy"]["all"] == pytest.approx(kept / there, rel=1e-4)
    assert set(told["energy"]) == {"down", "mid", "up", "all"}
    sizes = {
        kind: float(t.square().sum())
        for kind, t in zip(("convolutions", "norms and biases", "the VAE"), others.values(), strict=True)
    }
    total = there + sum(sizes.values())
    assert told["left_out"] == pytest.approx({kind: size / total for kind, size in sizes.items()}, rel=1e-3)


@pytest.mark.parametrize("share", [pytest.param(0.3, marks=pytest.mark.slow), 0.8])
def test_an_energy_share_decides_each_layer_s_rank(
    tmp_path: Path, tiny_base: BaseModel, base_file: Path, tune: Tune, share: float
) -> None:
    layer = next(each for each in layers(tiny_base) if each.name.endswith("up_blocks.1.attentions.2.proj_in"))
    change = random(layer.shape)
    made = limner.extract(
        tune({f"{UNET}{layer.original}.weight": change}), base_file, tmp_path / "x.safetensors", energy=share
    )
    squares = torch.linalg.svdvals(change.flatten(1)).square()
    rank = 1 + int((torch.cumsum(squares, 0) / squares.sum() < share).sum())
    assert made.ranks == {rank: 1}
    assert made.energy["up"] >= share
    limner.extract(
        tune({f"{UNET}{layer.original}.weight": change}), base_file, tmp_path / "y.safetensors", energy=share, rank=2
    )
    assert load_weights(tmp_path / "y.safetensors").modules()[layer.name]["lora_down"].shape[0] == 2


def test_large_layers_are_taken_apart_by_projections_almost_as_well(
    tmp_path: Path, base_file: Path, tune: Tune, tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = next(each for each in layers(tiny_base) if each.name.endswith("mid_block.attentions.0.proj_in"))
    tuned = tune({f"{UNET}{layer.original}.weight": random(layer.shape)})
    exact = limner.extract(tuned, base_file, tmp_path / "x.safetensors", rank=8)
    monkeypatch.setattr("limner.edit.extract.WHOLE", 8)
    found = limner.extract(tuned, base_file, tmp_path / "y.safetensors", rank=8)
    assert 0.99 * exact.energy["all"] < found.energy["all"] <= exact.energy["all"] + 1e-6
    again = limner.extract(tuned, base_file, tmp_path / "z.safetensors", rank=8)
    assert load_file(tmp_path / "y.safetensors").keys() == load_file(again.path).keys()
    pairs = zip(load_file(tmp_path / "y.safetensors").values(), load_file(again.path).values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_rounding_is_no_difference(tmp_path: Path, base_file: Path, tune: Tune, tiny_base: BaseModel) -> None:
    """A tuned model in half precision against a base in full: what only rounding changed is not taken out."""
    layer = next(each for each in layers(tiny_base) if each.name.endswith("mid_block.attentions.0.proj_in"))
    tuned = tune({f"{UNET}{layer.original}.weight": random(layer.shape, 0.1)}, dtype=torch.float16)
    made = limner.extract(tuned, base_file, tmp_path / "x.safetensors", rank=4, text_encoder=True, conv=True)
    assert load_weights(made.path).modules().keys() == {layer.name}
    assert not made.left_out


def test_of_a_text_encoder_all_layers_are_there_or_none(
    tmp_path: Path, base_file: Path, tune: Tune, tiny_base: BaseModel
) -> None:
    """diffusers and the webuis refuse files with some of them."""
    layer = next(each for each in layers(tiny_base) if each.name.endswith("layers.1.self_attn.q_proj"))
    tuned = tune({f"cond_stage_model.transformer.{layer.original}.weight": random(layer.shape)})
    made = limner.extract(tuned, base_file, tmp_path / "x.safetensors", rank=2, text_encoder=True)
    assert len(load_weights(made.path).modules()) == 2 * 6
    assert made.ranks == {2: 1}
    reports = verify(made.path, tiny_base, load_weights(made.path))
    assert all(report.matched == 2 * 6 for report in reports)


def test_merged_again_it_is_the_tuned_model_as_far_as_the_energy_says(
    tmp_path: Path, base_file: Path, tune: Tune, tiny_base: BaseModel
) -> None:
    changes = {
        f"{UNET}{layer.original}.weight": random(layer.shape, 0.02, seed)
        for seed, layer in enumerate(layers(tiny_base))
        if layer.network == "unet" and "attentions" in layer.name
    }
    tuned, lora, again = tune(changes), tmp_path / "lora.safetensors", tmp_path / "again.safetensors"
    made = limner.extract(tuned, base_file, lora, energy=0.9, file_precision="fp32")
    limner.merge(base_file, again, (str(lora),))
    wanted, base, found = load_file(tuned), load_file(base_file), load_file(again)
    missing = sum(float((wanted[key] - found[key]).square().sum()) for key in wanted)
    whole = sum(float((wanted[key] - base[key]).square().sum()) for key in wanted)
    assert 1 - missing / whole == pytest.approx(made.energy["all"], abs=1e-3)
    assert made.energy["all"] >= 0.9


def test_mistakes(
    tmp_path: Path, base_file: Path, tune: Tune, tiny_base: BaseModel, make_lora: MakeLora,
    tiny_folders: Callable[[str], Path], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    conv = next(each for each in layers(tiny_base) if each.name.endswith("mid_block.resnets.0.conv1"))
    key = f"{UNET}{conv.original}.weight"
    broken = tune({key: torch.full(conv.shape, float("nan"))}, "broken")
    other = tune({key: random(conv.shape)}, "other")
    lacking = load_file(base_file)
    del lacking[key]
    save_file(lacking, tmp_path / "lacking.safetensors", inspect(base_file).metadata)
    base, x = str(base_file), str(tmp_path / "x.safetensors")
    for arguments, said in [
        ([base, base, x, "--rank", "4"], "hold the same weights"),
        ([str(other), base, x, "--rank", "4"], "only in convolutions; add --conv"),
        ([str(broken), base, x, "--rank", "4", "--conv"], "not finite"),
        ([str(tmp_path / "lacking.safetensors"), base, x, "--rank", "4"], "lacks"),
        ([str(tiny_folders("sd2")), base, x, "--rank", "4"], "Stable Diffusion 2.x"),
        (["pocket", base, x, "--rank", "4"], "tuned from"),
        ([base, base, x], "--rank or --energy"),
        ([str(make_lora()), base, x, "--rank", "1"], "zqvx.safetensors"),
        ([str(other), base, base, "--rank", "1", "--overwrite"], "is what is to be read"),
    ]:
        assert main(["extract", *arguments, "--quiet"]) == 2, arguments
        assert said in capsys.readouterr().err, said
    assert not Path(x).exists()
