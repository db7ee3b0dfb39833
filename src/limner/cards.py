"""NVIDIA cards as the driver names them, found without torch: a torch without CUDA does not see them."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

SECONDS = 10  # that the driver's program may take
PROC = Path("/proc/driver/nvidia/gpus")  # Linux
WINDOWS = Path(r"C:\Windows\System32\nvidia-smi.exe")  # where the driver puts it, on the path or not


@functools.cache
def nvidia_cards() -> tuple[str, ...]:
    """The names of the NVIDIA cards in this machine whose driver is installed, "NVIDIA GeForce RTX 3060" for one."""
    program = shutil.which("nvidia-smi") or (str(WINDOWS) if WINDOWS.is_file() else None)
    if program is not None:
        command = [program, "--query-gpu=name", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.SubprocessError):
            done = None
        if done is not None and done.returncode == 0 and done.stdout.strip():
            return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
    try:
        files = sorted(PROC.glob("*/information"))
        lines = [line for path in files for line in path.read_text(errors="replace").splitlines()]
    except OSError:
        return ()
    return tuple(line.partition(":")[2].strip() for line in lines if line.startswith("Model:"))


def unused_card() -> str | None:
    """A sentence where a card is there that this torch cannot use, else None."""
    import torch

    cards = nvidia_cards()
    if not cards or torch.cuda.is_available():
        return None
    return f"{cards[0]} is in this machine, but this PyTorch cannot use it; run limner doctor to see what to do"


def install_command(version: str) -> str:
    """The command that puts a torch for this machine's card in the place of the one that runs."""
    python = sys.executable
    quoted = f'"{python}"' if " " in python else python
    return (
        f"{quoted} -m pip install uv && {quoted} -m uv pip install --python {quoted} --torch-backend auto "
        f"--reinstall-package torch torch=={version}"
    )
