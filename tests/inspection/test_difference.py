"""How two files or folders differ: what was asked for, made from and learned; or the same weights, other metadata."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from limner.base.model import BaseModel
from limner.cli import main
from limner.formats import save_weights
from limner.formats.diffusers import save_folder
from limner.infotext import format_infotext, save_png
from limner.inspection import explain
from limner.inspection.difference import DIFFERENT, ROUNDED, SAME_FILE, SAME_RUN, SAME_WEIGHTS
from limner.methods.full import Full, FullConfig
from limner.weights import Weights

MakeLora = Callable[..., Weights]


def card(**changes: object) -> dict[str, str]:
    held = {
        "settings": {"method": "lora", "steps": 100}, "methods": {"lora": {"rank": 4}},
        "images_sha256": ["a", "b"], "versions": {"torch": "2.13.0"}, "base": {"name": "tiny", "sha256": "0"},
    } | changes  # fmt: skip
    return {"limner.run_card": json.dumps(held)}


def test_the_same_weights_and_other_metadata(tmp_path: Path, random_lora: MakeLora) -> None:
    one = save_weights(replace(random_lora(), metadata=card()), tmp_path / "one.safetensors").path
    other = card(settings={"method": "lora", "steps": 200}, images_sha256=["b", "c"], versions={"torch": "2.14.0"})
    two = save_weights(replace(random_lora(), metadata=other), tmp_path / "two.safetensors").path
    found = explain(one, two)
    assert found.says == SAME_WEIGHTS
    assert found.sections["settings"] == {"steps": [100, 200]}
    assert found.sections["data"] == {"images_sha256": [["a", "b"], ["b", "c"]]}
    assert found.sections["versions"] == {"torch": ["2.13.0", "2.14.0"]}
    assert found.sections["hashes"].keys() == {"sha256", "autov2"}
    assert found.sections["metadata"].keys() >= {"ss_output_name"}
    assert found.tensors["file"].is_same
    assert explain(one, one).says == SAME_FILE
    assert explain(one, one).sections == {}


def test_the_same_weights_in_another_number_format(tmp_path: Path, random_lora: MakeLora) -> None:
    one = save_weights(random_lora(), tmp_path / "one.safetensors", dtype=torch.float32).path
    two = save_weights(random_lora(), tmp_path / "two.safetensors", dtype=torch.float16).path
    found = explain(one, two)
    assert (found.says, found.tensors["file"].differing) == (ROUNDED, 0)
    assert found.tensors["file"].rounded > 10
    assert found.sections["facts"].keys() >= {"dtypes", "size_bytes"}


def test_where_weights_differ_and_how_much(tmp_path: Path, random_lora: MakeLora) -> None:
    weights = random_lora()
    one = save_weights(weights, tmp_path / "one.safetensors", dtype=torch.float32).path
    tensors = load_file(one)
    ups = [name for name in tensors if "mid_block" in name and name.endswith("up.weight")]
    tensors[ups[0]] = tensors[ups[0]] * 1.5
    tensors[ups[1]] = tensors[ups[1]] * 1.25
    gone = next(name for name in tensors if name.startswith("lora_te_"))
    del tensors[gone]
    save_file(tensors | {"lora_te_new.alpha": torch.ones(())}, tmp_path / "two.safetensors")
    found = explain(one, tmp_path / "two.safetensors")
    difference = found.tensors["file"]
    assert found.says == DIFFERENT
    assert (difference.differing, difference.only_first, difference.only_second) == (2, [gone], ["lora_te_new.alpha"])
    assert difference.blocks["mid"].differing == 2
    assert difference.blocks["mid"].largest == pytest.approx(0.5)
    assert difference.blocks["mid"].at == ups[0]
    assert difference.blocks["down"].differing == difference.blocks["up"].differing == 0


def test_numbers_that_are_none_and_other_shapes(tmp_path: Path) -> None:
    name = "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"
    save_file({name: torch.ones(4, 4), "lora_te_x.alpha": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({name: torch.full((4, 4), torch.nan), "lora_te_x.alpha": torch.ones(3)}, tmp_path / "two.safetensors")
    difference = explain(tmp_path / "one.safetensors", tmp_path / "two.safetensors").tensors["file"]
    assert (difference.differing, difference.blocks["mid"].at, difference.reshaped) == (1, name, ["lora_te_x.alpha"])


def test_a_lora_in_two_spellings_is_the_same_lora(tmp_path: Path, random_lora: MakeLora) -> None:
    weights = random_lora(text=False, alpha=4.0)
    one = save_weights(weights, tmp_path / "one.safetensors", dtype=torch.float32).path
    dotted = {
        f"{module}.lora_{side}.weight": leaves[leaf].contiguous()
        for module, leaves in weights.modules().items()
        for side, leaf in (("A", "lora_down"), ("B", "lora_up"))
    }
    save_file(dotted, tmp_path / "two.safetensors")
    found = explain(one, tmp_path / "two.safetensors")
    assert (found.says, found.tensors["file"].neutral) == (SAME_WEIGHTS, True)


def test_models_folders(tmp_path: Path, tiny_base: BaseModel, tiny_folder: Path) -> None:
    method = Full(FullConfig())
    method.attach(tiny_base)
    method.detach()
    weights = method.weights()
    name = "unet.mid_block.resnets.0.conv1.weight"
    weights.tensors[name] = weights.tensors[name] * 1.125
    save_folder(weights, tmp_path / "changed", tiny_base, torch.float32)
    found = explain(tiny_folder, tmp_path / "changed")
    assert found.says == DIFFERENT
    assert {part: each.differing for part, each in found.tensors.items()} == {"text_encoder": 0, "unet": 1, "vae": 0}
    assert found.tensors["unet"].blocks["mid"].largest == pytest.approx(0.125)


def test_pictures(tmp_path: Path) -> None:
    settings = {"Steps": 20, "Sampler": "Euler", "CFG scale": 7, "Seed": 1}
    image = Image.new("RGB", (8, 8), (10, 10, 10))
    save_png(image, format_infotext("a cat", "", settings), tmp_path / "one.png")
    image.putpixel((0, 0), (10, 13, 10))
    save_png(image, format_infotext("a dog", "", settings | {"Seed": 2}), tmp_path / "two.png")
    found = explain(tmp_path / "one.png", tmp_path / "two.png")
    assert found.sections["settings"] == {"Seed": ["1", "2"]}
    assert found.sections["facts"]["prompt"] == ["a cat", "a dog"]
    assert found.sections["facts"]["pixels"] == ["up to 3 of 255 apart", "1.6% of them differ"]


def test_a_picture_and_a_file_are_of_two_kinds(tmp_path: Path, random_lora: MakeLora) -> None:
    lora = save_weights(random_lora(), tmp_path / "one.safetensors").path
    save_png(Image.new("RGB", (8, 8)), "", tmp_path / "two.png")
    assert explain(lora, tmp_path / "two.png").says == "the first is a lora, the second a picture"


def run_folder(path: Path, steps: int, learning_rate: float, shas: str, torch_version: str) -> Path:
    path.mkdir()
    sources = [{"file": f"{sha}.png", "sha256": sha, "caption": f"a {sha}"} for sha in shas]
    record = {"base": "00", "sources": sources, "versions": {"torch": torch_version}}
    (path / "record.json").write_text(json.dumps(record))
    (path / "run.toml").write_text(f'method = "lora"\nlearning_rate = {learning_rate}\n\n[lora]\nrank = 4\n')
    lines = [{"step": step, "loss": 0.1, "lr": 1e-4, "seconds": 0.5} for step in range(1, steps + 1)]
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = run_folder(tmp_path / "one", 3, 1e-4, "ab", "2.13.0")
    two = run_folder(tmp_path / "two", 5, 2e-4, "bc", "2.14.0")
    found = explain(one, two)
    assert found.says == DIFFERENT
    assert found.sections["settings"] == {"learning_rate": [1e-4, 2e-4]}
    assert found.sections["versions"] == {"torch": ["2.13.0", "2.14.0"]}
    assert found.sections["data"] == {"pictures": [{"a": "a a", "b": "a b"}, {"b": "a b", "c": "a c"}]}
    assert found.sections["facts"]["steps"] == [3, 5]
    again = run_folder(tmp_path / "again", 5, 1e-4, "ab", "2.13.0")
    assert explain(one, again).says == SAME_RUN
    assert main(["inspect", str(one), str(two), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sections"]["facts"]["steps"] == [3, 5]
    assert main(["inspect", str(one), str(two)]) == 0
    assert "2 entries, 1 of them only here" in capsys.readouterr().out
    assert main(["inspect", str(one)]) == 0
    assert "2 pictures" in capsys.readouterr().out


def test_the_command_line_shows_where(
    tmp_path: Path, random_lora: MakeLora, capsys: pytest.CaptureFixture[str]
) -> None:
    one = save_weights(random_lora(), tmp_path / "one.safetensors").path
    two = save_weights(random_lora(alpha=5.0), tmp_path / "two.safetensors").path
    assert main(["inspect", str(one), str(two)]) == 0
    shown = capsys.readouterr().out
    assert "tensors differ" in shown
    assert "text_encoder" in shown
