"""Shared fixtures: a tiny random base of Stable Diffusion 1's architecture and layout, and real image files."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: threads of its own would only wait for each other's
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_folders("sd1" | "sd2" | "sdxl"): a diffusers folder of that family with narrow random networks."""
    from bases import save_tiny

    root = tmp_path_factory.mktemp("base")

    @functools.cache
    def find(family: str) -> Path:
        return save_tiny(family, root / ("tiny" if family == "sd1" else f"tiny-{family}"))

    return find


@pytest.fixture(scope="session")
def tiny_folder(tiny_folders: Callable[[str], Path]) -> Path:
    """A diffusers folder of SD 1's layout (four levels, two layers a block, factor 8) with narrow random networks."""
    return tiny_folders("sd1")


@pytest.fixture
def tiny_base(tiny_folder: Path):
    """The tiny base, freshly opened on the CPU in float32."""
    import torch

    from limner.base.open import open_base

    return open_base(tiny_folder, torch.device("cpu"), torch.float32)
