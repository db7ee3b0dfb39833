"""`limner resize`: the best approximation there is, what readers make of it, and what it says and refuses."""

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
from limner.errors import UserError
from limner.formats import inspect, load_weights, verify

Changes = Callable[[Path], dict[str, Tensor]]
MakeLora = Callable[..., Path]


def best(change: Tensor, rank: int) -> Tensor:
    """A change's best approximation (Eckart and Young), from the whole matrix."""
    left, lengths, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
    return (left[:, :rank] * lengths[:rank] @ right[:rank]).view(change.shape)


def blocks(name: str) -> str:
    if name.startswith("text"):
        return "text"
    return name.removeprefix("unet.").partition("_")[0]


def test_of_each_layer_the_best_approximation_is_kept(
    tmp_path: Path, tiny_base: BaseModel, make_lora: MakeLora, changes_of: Changes, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line: the file, and the energy kept by block, agree with whole matrices taken apart."""
    file, out = make_lora(rank=6, alpha=3.0, decay=0.5), tmp_path / "small.safetensors"
    assert main(["resize", str(file), str(out), "--rank", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    before, after = changes_of(file), changes_of(out)
    assert before.keys() == after.keys()
    there: dict[str, float] = {}
    kept: dict[str, float] = {}
    for name, change in before.items():
        wanted = best(change, 2)
        assert torch.allclose(after[name], wanted, atol=1e-6 * float(change.norm()))
        for block in (blocks(name), "all"):
            there[block] = there.get(block, 0) + float(change.square().sum())
            kept[block] = kept.get(block, 0) + float(wanted.square().sum())
    assert told["energy"] == pytest.approx({block: kept[block] / there[block] for block in there})
    assert set(told["energy"]) == {"down", "mid", "up", "text", "all"}
    assert told["ranks"] == {"2": len(before)}
    assert told["size_bytes"] == out.stat().st_size < 0.6 * file.stat().st_size
    assert told["size_before"] == file.stat().st_size
    assert not told["faults"]
    reports = verify(out, tiny_base, load_weights(out))  # as every reader's own rules have it
    assert all(report.matched == len(before) and not report.fault for report in reports)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_an_energy_share_takes_the_fewest_directions_that_hold_it(
    tmp_path: Path, make_lora: MakeLora, changes_of: Changes, share: float
) -> None:
    file, out = make_lora(rank=6, decay=0.6), tmp_path / "small.safetensors"
    made = limner.resize(file, out, energy=share)
    ranks = {n: leaves["lora_down"].shape[0] for n, leaves in load_weights(out).modules().items()}
    for name, change in changes_of(file).items():
        squares = torch.linalg.svdvals(change.flatten(1)).square()
        held = torch.cumsum(squares, 0) / squares.sum()
        assert ranks[name] == 1 + int((held < share).sum())
    assert made.energy["all"] >= share
    assert sum(made.ranks.values()) == len(ranks)


def test_a_ratio_leaves_out_what_is_short_and_a_rank_is_a_cap(
    tmp_path: Path, make_lora: MakeLora, changes_of: Changes
) -> None:
    file, out = make_lora(rank=6, decay=0.6), tmp_path / "small.safetensors"
    limner.resize(file, out, ratio=0.1, rank=3)
    for name, leaves in load_weights(out).modules().items():
        lengths = torch.linalg.svdvals(changes_of(file)[name].flatten(1))
        assert leaves["lora_down"].shape[0] == min(3, int((lengths >= 0.1 * lengths[0]).sum()))


def test_ranks_may_differ_and_every_reader_still_has_the_right_strength(
    tmp_path: Path, tiny_base: BaseModel, make_lora: MakeLora
) -> None:
    """One reader takes one alpha for all layers, so all have the same and the rest lies in the matrices."""
    file, out = make_lora(rank=6, decay=0.4), tmp_path / "small.safetensors"
    made = limner.resize(file, out, energy=0.97)
    assert len(made.ranks) > 1
    alphas = {float(t) for name, t in load_file(out).items() if name.endswith(".alpha")}
    assert alphas == {float(max(made.ranks))}
    reports = verify(out, tiny_base, load_weights(out))
    assert all(report.largest_error < 1e-5 for report in reports)


def test_a_core_between_the_matrices_goes_into_the_second(tmp_path: Path, tiny_base: BaseModel) -> None:
    """A file that diffusers refuses becomes one that it reads."""
    numbers = torch.Generator().manual_seed(1)
    layer, key = "unet.down_blocks.0.resnets.0.conv1", "lora_unet_down_blocks_0_resnets_0_conv1"
    leaves = {
        f"{key}.lora_down.weight": torch.randn(4, 32, 1, 1, generator=numbers),
        f"{key}.lora_mid.weight": torch.randn(4, 4, 3, 3, generator=numbers),
        f"{key}.lora_up.weight": torch.randn(32, 4, 1, 1, generator=numbers),
        f"{key}.alpha": torch.tensor(2.0),
    }
    save_file(leaves, tmp_path / "cp.safetensors")
    limner.resize(tmp_path / "cp.safetensors", tmp_path / "plain.safetensors", rank=2)
    down, core, up = (leaves[f"{key}.lora_{part}.weight"].double() for part in ("down", "mid", "up"))
    whole = 0.5 * torch.einsum("oa,abkl,bi->oikl", up[:, :, 0, 0], core, down[:, :, 0, 0])
    made = load_weights(tmp_path / "plain.safetensors").modules()[layer]
    assert made.keys() == {"lora_down", "lora_up", "alpha"}
    product = made["lora_up"][:, :, 0, 0] @ made["lora_down"].flatten(1) * float(made["alpha"]) / 2
    assert torch.allclose(product.double().view(32, 32, 3, 3), best(whole, 2), atol=1e-5 * float(whole.norm()))


def test_what_the_file_says_of_its_making_goes_with_it(tmp_path: Path, make_lora: MakeLora) -> None:
    card = json.dumps({"settings": {"keyword": "zqvx"}})
    file = make_lora(
        rank=4,
        **{"limner.run_card": card, "modelspec.trigger_phrase": "zqvx", "ss_steps": "300", "ss_network_dim": "4"},
    )
    out = tmp_path / "zqvx-small.safetensors"
    limner.resize(file, out, rank=1, file_precision="bf16")
    said = inspect(out)
    assert said.run_card == json.loads(card)
    assert said.keyword == "zqvx"
    assert said.hash_matches
    assert said.dtypes.keys() == {"BF16"}
    assert said.metadata["ss_steps"] == "300"
    assert said.metadata["ss_network_dim"] == "1"
    assert said.metadata["ss_output_name"] == "zqvx-small"
    (edit,) = json.loads(said.metadata["limner.edits"])
    assert edit == {
        "command": "resize",
        "files": [{"name": file.name, "sha256": inspect(file).sha256}],
        "rank": 1,
    }
    limner.resize(make_lora(name="again", rank=3), tmp_path / "b.safetensors", energy=0.5)
    again = tmp_path / "c.safetensors"
    with pytest.raises(UserError, match="stay as it is"):
        limner.resize(out, again, rank=2)
    assert not again.exists()


def test_embeddings_in_the_file_stay_in_it(tmp_path: Path, make_lora: MakeLora) -> None:
    words = {"zqvx": {"text_encoder": torch.randn(2, 32)}}
    limner.resize(make_lora(words=words), tmp_path / "small.safetensors", rank=1)
    kept = load_weights(tmp_path / "small.safetensors").words["zqvx"]["text_encoder"]
    assert torch.equal(kept, words["zqvx"]["text_encoder"])


def test_mistakes(tmp_path: Path, make_lora: MakeLora, capsys: pytest.CaptureFixture[str]) -> None:
    file, taken = make_lora(), tmp_path / "taken.safetensors"
    taken.write_bytes(b"mine")
    save_file({"emb_params": torch.randn(1, 32)}, tmp_path / "word.safetensors")
    key = "lora_unet_mid_block_attentions_0_proj_in"
    loha = {f"{key}.hada_w{n}_{side}": torch.randn(64, 64) for n in "12" for side in "ab"}
    save_file(loha | {f"{key}.alpha": torch.tensor(1.0)}, tmp_path / "loha.safetensors")
    for arguments, said in {
        (str(file), "x.safetensors"): "--rank, --energy or --ratio",
        (str(file), "x.safetensors", "--energy", "1.5"): "energy = 1.5",
        (str(file), "x.safetensors", "--rank", "0"): "rank = 0",
        (str(file), "x.pt", "--rank", "1"): "x.pt does not end in .safetensors",
        (str(file), str(file), "--rank", "1", "--overwrite"): "is what is to be read",
        (str(file), str(taken), "--rank", "1"): "is there already",
        ("none.safetensors", "x.safetensors", "--rank", "1"): "none.safetensors",
        (str(tmp_path / "word.safetensors"), "x.safetensors", "--rank", "1"): "is not a LoRA but holds embedding",
        (str(tmp_path / "loha.safetensors"), "x.safetensors", "--rank", "1"): "limner extract",
    }.items():
        arguments = tuple(a if a[:2] != "x." else str(tmp_path / a) for a in arguments)
        assert main(["resize", *arguments, "--quiet"]) == 2, arguments
        assert said in capsys.readouterr().err
    assert taken.read_bytes() == b"mine"
    assert {p.name for p in tmp_path.iterdir()} == {
        "zqvx.safetensors", "taken.safetensors", "word.safetensors", "loha.safetensors"
    }  # fmt: skip
