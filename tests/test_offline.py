"""The main job with no network at all: in a namespace of its own, without interfaces."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from limner.base.open import open_base
from limner.container.header import read_header
from limner.formats import save_weights
from limner.weights import whole

ALONE = ["unshare", "--user", "--map-root-user", "--net"]
# What is refused in there, so that a test that is not alone fails: any address at all, and any name.
NO_ONE = """
import socket
assert [name for _, name in socket.if_nameindex()] in ([], ["lo"]), socket.if_nameindex()
try:
    socket.create_connection(("1.1.1.1", 443), 1)
except OSError:
    pass
else:
    raise SystemExit(3)
"""


def _why_not() -> str:
    """Why this machine lends no namespace, or ""."""
    if shutil.which("unshare") is None:
        return "there is no unshare here"
    tried = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"namespaces are not permitted here: {tried.stderr.strip()}"


# Two commands one after the other, as a person gives them; in one process, which imports torch once.
COMMANDS = """
import json, sys
from limner.cli import main
sys.exit(any(main(command) for command in json.loads(sys.argv[1])))
"""


def alone(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a namespace without interfaces, with empty caches."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    homes = {name: str(folder / "home") for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "LIMNER_CACHE")}
    return subprocess.run(
        [*ALONE, sys.executable, *arguments], cwd=folder, env=kept | homes, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "family", ["sd1", pytest.param("sd2", marks=pytest.mark.slow), pytest.param("sdxl", marks=pytest.mark.slow)]
)
def test_train_export_and_draw_without_any_interface(
    tiny_folders: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    """From a single file, for which nothing but what is in the package says how it is made and how text is read."""
    if why := _why_not():
        pytest.skip(why)
    assert alone("-c", NO_ONE, folder=tmp_path).returncode == 0
    base = tmp_path / "base.safetensors"
    save_weights(whole(open_base(tiny_folders(family), torch.device("cpu"), torch.float32)), base)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (80 * number, 40, 200)).save(pictures / f"{number}.png")
    train = [
        *("train", str(pictures), "--keyword", "zqvx", "--class", "blob", "--base", str(base)),
        *("--steps", "2", "--batch-size", "1", "--resolution", "64", "--previews", "1", "--precision", "fp32"),
        *("--out", "zqvx.safetensors", "--run", "run"),
    ]
    generate = [
        *("generate", "a zqvx blob <lora:zqvx:1>", "--base", str(base), "--lora", "zqvx.safetensors"),
        *("--steps", "2", "--seed", "1", "--width", "64", "--height", "64", "--out", "drawn.png"),
    ]
    done = alone("-c", COMMANDS, json.dumps([train, generate]), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_header(tmp_path / "zqvx.safetensors").metadata["modelspec.trigger_phrase"] == "zqvx"
    with Image.open(tmp_path / "drawn.png") as picture:
        assert picture.size == (64, 64)
        assert "<lora:zqvx:1>" in picture.info["parameters"]
