"""What the machine has and lacks is said with the command that helps; the shell completes commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from limner import cards, doctor
from limner.cards import nvidia_cards, unused_card
from limner.cli import main

CARD = "NVIDIA GeForce RTX 3060"


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver is installed, and a torch that sees no card."""
    import torch

    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{CARD}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    nvidia_cards.cache_clear()
    yield
    nvidia_cards.cache_clear()


def of(findings: list[dict], what: str) -> dict:
    return next(each for each in findings if each["what"] == what)


def test_all_that_matters_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.safetensors").write_bytes(bytes(1000))
    options = ["--models", str(tmp_path / "models"), "--cache", str(tmp_path / "cache"), "--json"]
    assert main(["doctor", *options]) == 0
    findings = json.loads(capsys.readouterr().out.splitlines()[-1])["findings"]
    named = [each["what"] for each in findings if each["what"] != "Graphics card"]
    folders = ["Models", "Cache", "Studio", "Hub cache"]
    assert named == ["Python", "Limner", "Packages", "PyTorch", "Device", "Memory", *folders]
    assert "in 1 file," in of(findings, "Models")["says"]
    assert "empty" in of(findings, "Cache")["says"]
    assert not (tmp_path / "cache").exists()  # it looks, and leaves nothing behind


@pytest.mark.skipif(sys.platform == "win32", reason="the driver's program is a shell script here")
def test_a_card_that_torch_cannot_use_is_a_fault_with_a_command(
    card: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    assert nvidia_cards() == (CARD,)
    for build, says, fix in (
        (None, "built without CUDA", "uv pip install"),
        ("13.0", "finds no card", "update the card's driver"),
    ):
        monkeypatch.setattr(torch.version, "cuda", build)
        findings = {each.what: each for each in doctor.examine(tmp_path, tmp_path, tmp_path)}
        assert findings["Graphics card"].says == CARD
        assert findings["PyTorch"].state == "wrong"
        assert says in findings["PyTorch"].says
        assert fix in findings["PyTorch"].fix
        assert f"torch=={torch.__version__.partition('+')[0]}" in findings["PyTorch"].fix


@pytest.mark.skipif(sys.platform == "win32", reason="the driver's program is a shell script here")
def test_a_card_that_is_not_used_is_said_wherever_a_base_is_opened(card: None, tiny_folder: Path) -> None:
    import torch

    from limner.base.open import open_base

    model = open_base(tiny_folder, torch.device("cpu"), torch.float32)
    assert unused_card() in model.warnings
    assert "limner doctor" in str(unused_card())


def test_without_a_driver_there_is_no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cards, "PROC", tmp_path)
    nvidia_cards.cache_clear()
    assert nvidia_cards() == ()
    assert unused_card() is None
    nvidia_cards.cache_clear()


def test_packages_that_do_not_fit_and_folders_that_cannot_be_written_are_faults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        doctor.importlib.metadata, "requires", lambda name: ["nosuchpackage>=2", "pillow<1", 'keyring; extra == "x"']
    )
    file = tmp_path / "file"
    file.write_text("")
    findings = {each.what: each for each in doctor.examine(file / "models", tmp_path, tmp_path)}
    assert findings["Packages"].state == "wrong"
    assert "nosuchpackage is missing; pillow is" in findings["Packages"].says
    assert "keyring" not in findings["Packages"].says
    assert findings["Models"].state == "wrong"
    assert "--models" in findings["Models"].fix


def test_the_shell_completes_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish", "powershell"):
        assert main(["completion", shell]) == 0
        script = capsys.readouterr().out
        assert "dreambooth" in script
        assert "keyword" in script
    assert main(["completion", "tcsh"]) == 2


def test_a_reader_that_stops_reading_is_no_fault() -> None:
    command = f"'{sys.executable}' -P -m limner completion bash"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1"], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.stdout.startswith("# Bash completion")
    assert done.stderr == ""
