"""Shared fixtures: a tiny random base of Stable Diffusion 1's architecture and layout, and real image files."""

import functools
import gc
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A check of a change must say the same of it each time; `--hypothesis-profile default` looks for new cases.
settings.register_profile("same-cases", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("same-cases")

EVERYWHERE = ("lora", "full", "embedding")  # methods whose conformance is shown over families by default

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: threads of its own would only wait for each other's
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a person's own folders and settings are found by. Tests have an empty home, so that none passes, or fails, by
# what an earlier run or the person who runs them left there.
HOMES = ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
OWN = (
    "LIMNER_",
    "HF_",
    "HUGGINGFACE_",
    "TRANSFORMERS_",
    "TORCH_HOME",
    "CIVITAI_",
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
)
KEPT = ("LIMNER_READERS", "LIMNER_SCREENSHOTS", "LIMNER_POCKET_BUILD")  # what the person who runs tests says to them

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers have the home of the process that starts them
    _home = tempfile.TemporaryDirectory(prefix="limner-tests-", ignore_cleanup_errors=True)
    for name in [each for each in os.environ if each.startswith(OWN) and each not in KEPT]:
        del os.environ[name]
    for name in HOMES:
        os.environ[name] = str(Path(_home.name) / name.lower())
        Path(os.environ[name]).mkdir()


def pytest_collection_finish() -> None:
    """Spare the garbage collector what the libraries brought: it looked through all of torch's objects again for every
    file of weights or words that was read, which took half of the time of the whole run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave to the slow tests what the quick ones show of one family or one kind of method already: 2.x lies between
    1.x and XL, the methods that are not in EVERYWHERE touch no more of a family than LoRA does and compute in float32
    as it does on a base of bfloat16, and edits of files and their opening take a family's names from one place."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    families = {"sd2", "sdxl"} & {value for value in parameters.values() if isinstance(value, str)}
    other_method = "conformance" in item.nodeid and parameters.get("name", "lora") not in EVERYWHERE
    half = any(str(value) == "torch.bfloat16" for value in parameters.values())
    of_files = re.search("/(edit|base)/", item.nodeid) is not None
    if "sd2" in families or (half and other_method) or (families and (other_method or of_files)):
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def plain_processes() -> None:
    """Processes that tests start have what a person has; this one needs what shows that our files are right."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent / "plain")


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


@pytest.fixture(scope="session")
def flat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller one yet, in no published layout: for tests of the loop, to which any network is the same."""
    from bases import FLAT, save_tiny

    return save_tiny("sd1", tmp_path_factory.mktemp("base") / "flat", unet=FLAT)


@pytest.fixture
def tiny_base(tiny_folder: Path):
    """The tiny base, freshly opened on the CPU in float32."""
    import torch

    from limner.base.open import open_base

    return open_base(tiny_folder, torch.device("cpu"), torch.float32)
