"""A package outside of Limner adds a method and a captioner by entry points, and no line of Limner knows of them."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from limner.captions.captioner import find_captioner
from limner.errors import UserError
from limner.methods.method import find_method

OUTSIDE = Path(__file__).parent / "outside"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of installed packages with this one in it, as pip would leave it."""
    project = tomllib.loads((OUTSIDE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    about = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in own.items()) for group, own in groups]
    (about / "entry_points.txt").write_text("\n".join(lines))
    shutil.copytree(OUTSIDE / "limner_gain", site / "limner_gain", ignore=shutil.ignore_patterns("__pycache__"))
    return site


TRAIN_AND_LOOK = """
import sys
from pathlib import Path
import numpy as np
import torch
from limner.base.open import open_base
from limner.cli import main
from limner.formats import inspect
from limner.generate import Request, generate
from limner.named import PromptFiles

file, base, *command = sys.argv[1:]
file = Path(file)
assert main(command) == 0
assert inspect(file).kind == "gain"
model = open_base(base, torch.device("cpu"), torch.float32)
requests = [
    Request(f"a cat{tag}", steps=1, seed=1, width=64, height=64) for tag in ("", "<lora:zqvx:0>", "<lora:zqvx:3>")
]
drawn = [np.asarray(next(generate(model, request, PromptFiles(file))).image) for request in requests]
assert np.array_equal(drawn[0], drawn[1])
assert not np.array_equal(drawn[0], drawn[2])
"""


def python(folder: Path, site: Path, *arguments: str) -> str:
    """What a process of its own prints, with the packages of `site`."""
    places = {"LIMNER_CACHE": str(folder / "cache"), "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | places, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_method_from_outside_trains_exports_and_draws(tmp_path: Path, installed: Path, tiny_folder: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(2):
        Image.effect_noise((70, 70), 60 + index).convert("RGB").save(photos / f"{index}.png")
    with pytest.raises(UserError, match="no method 'gain'"):
        find_method("gain")
    file = tmp_path / "models" / "Lora" / "zqvx.safetensors"
    printed = python(
        tmp_path, installed, "-c", TRAIN_AND_LOOK, str(file), str(tiny_folder),
        "train", "photos", "--keyword", "zqvx", "--method", "gain", "--json",
        "--base", str(tiny_folder), "--steps", "3", "--resolution", "64", "--learning-rate", "0.1", "--previews", "0",
        "--set", "gain.layers=all",
    )  # fmt: skip
    told = json.loads(printed.splitlines()[-1])
    assert (tmp_path / told["file"]).samefile(file)
    assert told["readers"] == []
    assert any("not every program uses zqvx.safetensors" in warning for warning in told["warnings"])
    tensors = load_file(file)
    assert all(key.startswith("lora_unet_") and key.endswith(".gain") for key in tensors)
    assert any(float(tensor) for tensor in tensors.values())


@pytest.mark.slow
def test_a_captioner_from_outside_says_its_own(tmp_path: Path, installed: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (70, 50), "teal").save(photos / "a.png")
    with pytest.raises(UserError, match="no captioner 'size'"):
        find_captioner("size")
    printed = python(
        tmp_path, installed, "-m", "limner", "captions", "photos", "--keyword", "zqvx", "--class", "dog", "--json",
        "--captioner", "size", "--captioner-set", "unit=dots",
    )  # fmt: skip
    assert [each["after"] for each in json.loads(printed.splitlines()[-1])["changes"]] == [
        "zqvx dog, 70 dots wide, 50 dots high"
    ]
