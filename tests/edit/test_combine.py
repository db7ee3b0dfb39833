"""`limner merge --into lora`: the sum of several files' changes, exactly or as well as a rank allows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import limner
from limner.base.model import BaseModel
from limner.cli import main
from limner.formats import inspect, load_weights, verify

Changes = Callable[[Path], dict[str, Tensor]]
MakeLora = Callable[..., Path]


@pytest.fixture
def two(make_lora: MakeLora) -> tuple[Path, Path]:
    """Files that share some layers, of different ranks and alphas."""
    one = make_lora("one", rank=3, alpha=1.5, **{"modelspec.trigger_phrase": "zqvx", "ss_steps": "100"})
    other = make_lora("other", rank=4, alpha=8.0, layers=("to_q", "to_k", "conv1"), seed=1)
    return one, other


def summed(two: tuple[Path, Path], changes_of: Changes, strengths: list[tuple[float, float]]) -> dict[str, Tensor]:
    """What the two add to each layer; strengths: (text, UNet) of each."""
    total: dict[str, Tensor] = {}
    for file, (text, unet) in zip(two, strengths, strict=True):
        for name, change in changes_of(file).items():
            total[name] = total.get(name, 0) + change * (text if name.startswith("text") else unet)
    return total


def test_matrices_side_by_side_are_the_exact_sum(
    tmp_path: Path,
    tiny_base: BaseModel,
    two: tuple[Path, Path],
    changes_of: Changes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "both.safetensors"
    arguments = ["merge", f"{two[0]}:0.25:0.5", str(out), "--into", "lora", "--lora", f"{two[1]}:-2", "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    wanted, found = summed(two, changes_of, [(0.25, 0.5), (-2, -2)]), changes_of(out)
    assert found.keys() == wanted.keys()
    for name, change in wanted.items():
        assert torch.allclose(found[name], change, atol=1e-6 * float(change.norm()))
    assert set(told["ranks"]) == {"3", "4", "7"}
    assert all(report.matched == len(wanted) for report in verify(out, tiny_base, load_weights(out)))
    said = inspect(out)
    assert said.keyword == "zqvx"
    assert "ss_steps" not in said.metadata  # of one of the two alone
    (edit,) = json.loads(said.metadata["limner.edits"])
    assert [file["name"] for file in edit["files"]] == ["one.safetensors", "other.safetensors"]
    assert [file["weight"] for file in edit["files"]] == [0.5, -2]


def test_a_rank_approximates_the_sum_as_well_as_it_can(
    tmp_path: Path, two: tuple[Path, Path], changes_of: Changes
) -> None:
    out = tmp_path / "both.safetensors"
    made = limner.merge(two[0], out, (str(two[1]),), into="lora", rank=2)
    there = kept = 0.0
    for name, change in summed(two, changes_of, [(1, 1), (1, 1)]).items():
        left, lengths, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
        wanted = (left[:, :2] * lengths[:2] @ right[:2]).view(change.shape)
        assert torch.allclose(changes_of(out)[name], wanted, atol=1e-5 * float(change.norm()))
        there, kept = there + float(change.square().sum()), kept + float(wanted.square().sum())
    assert made.energy["all"] == pytest.approx(kept / there)


def test_a_lora_and_its_opposite_are_nothing(tmp_path: Path, make_lora: MakeLora, changes_of: Changes) -> None:
    """Terms that cancel out leave neither noise nor layers that a reader would miss."""
    file, out = make_lora(), tmp_path / "none.safetensors"
    limner.merge(file, out, (f"{file}:-1",), into="lora", rank=4)
    before = changes_of(file)
    assert before.keys() == changes_of(out).keys()
    assert all(float(change.norm()) <= 1e-6 * float(before[name].norm()) for name, change in changes_of(out).items())


def test_mistakes(
    tmp_path: Path, make_lora: MakeLora, two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    wide = {"lora_down.weight": torch.randn(2, 320), "lora_up.weight": torch.randn(320, 2), "alpha": torch.tensor(1.0)}
    names = {f"{key}.{leaf}": tensor for leaf, tensor in wide.items()}
    save_file(names, tmp_path / "wide.safetensors")
    save_file(names, tmp_path / "second.safetensors", {"ss_base_model_version": "sd_v2"})
    word = {"zqvx": {"text_encoder": torch.randn(2, 32)}}
    speaking, other = make_lora("speaking", words=word), make_lora(words={"zqvx": {"text_encoder": torch.zeros(1, 32)}})
    for (base, lora), said in {
        (str(two[0]), str(tmp_path / "wide.safetensors")): "another shape",
        (str(two[0]), str(tmp_path / "second.safetensors")): "one family",
        (str(two[0]), f"{two[1]}:much"): "FILE:0.8",
        (str(two[0]), "nowhere.safetensors"): "nowhere.safetensors",
        (str(speaking), str(other)): "bring along an embedding",
    }.items():
        arguments = ["merge", base, str(tmp_path / "x.safetensors"), "--into", "lora", "--lora", lora, "--quiet"]
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
