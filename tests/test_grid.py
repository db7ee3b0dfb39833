"""`limner grid`: every cell is what `limner generate` gives, pixel by pixel, and mistakes are named before drawing."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from limner.cli import main
from limner.config import GridSettings
from limner.errors import UserError
from limner.formats import save_weights
from limner.grid import Axis, plan_cells, read_axes, read_axis
from limner.infotext import read_picture
from limner.methods.lora import LoRA, LoRAConfig
from limner.sheet import Block, draw_grid

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_MODELS", raising=False)


@pytest.fixture
def lora(tiny_base, tmp_path: Path) -> Path:
    """A loud LoRA where the webui has them."""
    method = LoRA(LoRAConfig(rank=2))
    method.attach(tiny_base)
    weights = method.weights()
    method.detach()
    for name, tensor in weights.tensors.items():
        if name.endswith("lora_up"):
            weights.tensors[name] = tensor + 0.5
    return save_weights(weights, tmp_path / "models" / "Lora" / "zqvx.safetensors").path


def settings(prompt: str = "a {animal}", **axes: str) -> GridSettings:
    return GridSettings.read({"prompt": prompt} | axes, "test")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Json:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def holds(page: Image.Image, image: Image.Image) -> int:
    """How often a picture stands on a page, pixel by pixel, at places where its first row does."""
    row = image.crop((0, 0, image.width, 1)).tobytes()
    found = 0
    for top in range(page.height - image.height + 1):
        at = page.crop((0, top, page.width, top + 1)).tobytes().find(row)
        if at >= 0 and at % 3 == 0:
            left = at // 3
            cut = page.crop((left, top, left + image.width, top + image.height))
            found += ImageChops.difference(cut, image).getbbox() is None
    return found


def test_every_cell_is_what_generate_gives(tiny_folder: Path, lora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--base", str(tiny_folder), "--steps", "2", "--precision", "fp32"]
    prompt = "a cat <lora:zqvx:{weight}>"
    axes = ["--x", "weight=0,0.5", "--y", "seed=3,4", "--z", "sampler=Euler a,DDIM"]
    made = run(capsys, "grid", prompt, *axes, *common)
    page = Image.open("grid.png").convert("RGB")
    assert (made["width"], made["height"]) == page.size
    assert len(made["cells"]) == 8
    for cell in made["cells"]:
        i, j, k = cell["place"]
        weight, seed, sampler = ("0", "0.5")[i], ("3", "4")[j], ("Euler a", "DDIM")[k]
        one = ["generate", prompt.format(weight=weight), "--seed", seed, "--sampler", sampler, "--out", "one.png"]
        (picture,) = run(capsys, *one, "--overwrite", *common)["pictures"]
        assert picture["parameters"] == cell["parameters"]
        assert holds(page, Image.open("one.png").convert("RGB")) == 1
    text = read_picture(Path("grid.png"))
    assert text is not None
    assert text.prompt == prompt
    assert text.settings["Steps"] == "2"
    assert "Seed" not in text.settings
    assert "Sampler" not in text.settings
    assert (text.settings["X Type"], text.settings["X Values"]) == ("weight", "0, 0.5")


def test_a_seed_left_open_is_the_same_in_all_cells(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("grid.png").write_bytes(b"an earlier one")
    made = run(capsys, "grid", "a cat", "--x", "cfg=1,2", "--base", str(tiny_folder), "--steps", "1")
    assert made["file"] == "grid-2.png"
    assert Path("grid.png").read_bytes() == b"an earlier one"
    text = read_picture(Path("grid-2.png"))
    assert text is not None
    assert text.settings["Seed"].isdigit()
    assert len(made["cells"]) == 2


def test_values_and_placeholders() -> None:
    some = settings("a {animal} on a {place}", x='animal="cat, asleep",dog', y="place=rug", z="cfg-scale=1,2")
    axes = read_axes(some)
    assert axes[0] == Axis("animal", ("cat, asleep", "dog"))
    cells = plan_cells(some, axes)
    assert {cell.request.prompt for cell in cells} == {"a cat, asleep on a rug", "a dog on a rug"}
    assert {cell.request.cfg_scale for cell in cells} == {1.0, 2.0}
    larger = settings("a cat", x="hires-scale=1.5,2", y="hires_upscaler=Latent,Lanczos")
    passes = [cell.request.hires for cell in plan_cells(larger, read_axes(larger))]
    assert [(each.scale, each.upscaler) for each in passes if each] == [
        (scale, upscaler) for scale in (1.5, 2.0) for upscaler in ("Latent", "Lanczos")
    ]
    whole = settings("a cat", x="prompt=a dog,a fox", y="base=b,a")
    cells = plan_cells(whole, read_axes(whole))
    assert [cell.base for cell in cells] == ["b", "b", "a", "a"]
    assert {cell.request.prompt for cell in cells} == {"a dog", "a fox"}


MISTAKES = {
    "no values": ({"x": "seed"}, "name=value"),
    "an empty value": ({"x": "seed=1,,2"}, "name=value"),
    "a value twice": ({"x": "seed=1,1"}, "twice"),
    "a misspelt setting": ({"x": "samplr=DDIM"}, "sampler"),
    "a word that the prompt does not say": ({"x": "weight=1,2"}, "{weight}"),
    "one thing on two axes": ({"x": "seed=1,2", "y": "seed=3,4"}, "two axes change seed"),
    "a value of the wrong kind": ({"x": "steps=1,many"}, "steps"),
    "too many": (
        {"x": "seed=" + ",".join(map(str, range(30))), "y": "steps=" + ",".join(map(str, range(1, 20)))},
        "570",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named(case: str) -> None:
    axes, named = MISTAKES[case]
    some = settings("a cat", **axes)
    with pytest.raises(UserError, match=named):
        plan_cells(some, read_axes(some))


def test_mistakes_of_the_command_line(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--base", str(tiny_folder)]
    for arguments, named in (
        (["grid", "a cat"], "x is missing"),
        (["grid", "a cat", "--x", "seed=1,2", "--out", "grid.jpg"], ".png"),
        (["grid", "a cat", "--x", "seed=1,2", "--count", "2"], "one picture a cell"),
        (["grid", "a cat", "--x", "sampler=Euler,Eulre", *base], "Eulre"),
        (["grid", "a cat <lora:{file}:1>", "--x", "file=a,b", *base], "no LoRA named 'a'"),
        (["grid", "a cat", "--x", "steps=2,5000", *base], "steps 5000"),
        (["grid", "a cat", "--x", "width=4096,64", "--y", "height=4096,2048,1024,512,64,128,1152", *base], "too large"),
    ):
        assert main(arguments) == 2
        assert named in capsys.readouterr().err
    assert not list(Path().glob("*.png"))


def test_a_grid_of_pictures_of_several_sizes_scales_none() -> None:
    images = [Image.effect_noise((side, side), 60).convert("RGB") for side in (64, 96, 128, 200)]
    page = draw_grid([Block("", [images[:2], images[2:]])], ["a column", "b" * 400], ["first", "second"])
    assert [holds(page, image) for image in images] == [1] * 4


def test_an_axis_says_what_it_changes() -> None:
    some = settings("a cat", x="seed=1,2")
    assert read_axis("seed=1,2", "--x", some).labels == ["seed 1", "seed 2"]
    assert read_axis("prompt=a dog", "--x", some).labels == ["a dog"]
