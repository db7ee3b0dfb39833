"""`limner doctor`: what this machine has, what is missing, and what to run to mend it. Nothing is sent anywhere."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

import limner
from limner.cards import install_command, nvidia_cards
from limner.errors import UserError
from limner.files import require_writable

GIB = 1024**3
LEAST_MEMORY = 6 * GIB  # of the whole machine: training a LoRA on Stable Diffusion 1.5 takes about five
LEAST_DISK = 10 * GIB  # free: a base of XL, its cache and a few checkpoints
LEAST_PYTHON = (3, 11)
MOST_FILES = 100_000  # that are counted in a cache


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. fix: what to do, "" where nothing is to be done; a command where one helps."""

    what: str
    says: str
    state: Literal["good", "note", "wrong"] = "good"
    fix: str = ""


def examine(models: Path, cache: Path, studio: Path) -> Iterator[Finding]:
    """Look at Python, packages, torch, device, memory, disk and folders, in this order."""
    yield _python()
    yield from _packages()
    yield from _device()
    yield from _memory()
    yield from _folders(models, cache, studio)


def _python() -> Finding:
    version = platform.python_version()
    says = f"{version}, {platform.system()} {platform.release()} on {platform.machine()}, at {sys.executable}"
    if sys.version_info < LEAST_PYTHON:
        return Finding("Python", says, "wrong", "install Python 3.11 or newer, and Limner in it")
    if sys.maxsize < 2**32:
        return Finding("Python", f"{says}, for 32 bits", "wrong", "install a Python for 64 bits: PyTorch has no other")
    return Finding("Python", says)


def _packages() -> Iterator[Finding]:
    """Limner itself, and whether what it needs is there in versions that fit."""
    yield Finding("Limner", f"{limner.__version__}, at {Path(limner.__file__).parent}")
    from packaging.requirements import Requirement  # of huggingface_hub

    wrong = []
    for text in importlib.metadata.requires("limner") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if wrong:
        fix = f"{sys.executable} -m pip install --upgrade limner, or run make install again in the clone"
        yield Finding("Packages", "; ".join(wrong), "wrong", fix)
    else:
        yield Finding("Packages", "all that Limner needs are there")


def _device() -> Iterator[Finding]:
    cards = nvidia_cards()
    if cards:
        yield Finding("Graphics card", ", ".join(cards))
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways
        fix = f"{sys.executable} -m pip install --force-reinstall torch"
        yield Finding("PyTorch", f"cannot be loaded: {type(error).__name__}: {error}", "wrong", fix)
        return
    from limner.device import choose_device, choose_dtype

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "ROCm" if torch.version.hip else "no CUDA"
    device = choose_device()
    if cards and not torch.cuda.is_available():
        version = torch.__version__.partition("+")[0]
        if torch.version.cuda:
            says = f"{torch.__version__} ({build}) finds no card that it can use, though one is there"
            fix = f"update the card's driver; if that does not help: {install_command(version)}"
        else:
            says = f"{torch.__version__} is built without CUDA and computes on the processor, though a card is there"
            fix = install_command(version)
        yield Finding("PyTorch", says, "wrong", fix)
    else:
        yield Finding("PyTorch", f"{torch.__version__}, {build}")
    dtype = str(choose_dtype("auto", device)).removeprefix("torch.")
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        name = f"{properties.name}, {free / GIB:.1f} of {total / GIB:.1f} GiB of its memory free"
    else:
        name = {"cpu": f"the processor, {torch.get_num_threads()} threads", "mps": "Apple's GPU"}.get(device.type, "")
    yield Finding("Device", f"{device.type} ({name or 'an accelerator'}), computing in {dtype}")


def _memory() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    says = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.total < LEAST_MEMORY:
        fix = (
            "use limner train --resolution 256, or in the Colab notebook; limner train --dry-run says what a run needs"
        )
        yield Finding("Memory", f"{says}: little for Stable Diffusion 1.5", "note", fix)
    else:
        yield Finding("Memory", says)


def _folders(models: Path, cache: Path, studio: Path) -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    options = {"Models": "--models or $LIMNER_MODELS", "Cache": "--cache or $LIMNER_CACHE", "Studio": "$LIMNER_STUDIO"}
    for what, folder in (("Models", models), ("Cache", cache), ("Studio", studio), ("Hub cache", Path(HF_HUB_CACHE))):
        folder = folder.expanduser().absolute()
        size, count, is_whole = _size(folder)
        held = (
            f"{size / GIB:.2f} GiB in {count}{'' if is_whole else ' or more'} file{'' if count == 1 else 's'}"
            if count
            else "empty"
        )
        free = shutil.disk_usage(_existing(folder)).free
        says = f"{folder}: {held}, {free / GIB:.1f} GiB free on its disk"
        option = options.get(what, "$HF_HUB_CACHE")
        try:
            require_writable(folder / "limner-doctor")
        except UserError:
            yield Finding(what, f"{says}, but it cannot be written to", "wrong", f"choose another folder with {option}")
            continue
        if free < LEAST_DISK:
            fix = f"make room, or choose a folder on another disk with {option}"
            yield Finding(what, says, "note", fix)
        else:
            yield Finding(what, says)


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def _size(folder: Path) -> tuple[int, int, bool]:
    """Bytes and number of the files below a folder, and whether all were counted. Linked files count once."""
    size = count = 0
    seen: set[tuple[int, int]] = set()
    for root, _, names in os.walk(folder):
        for name in names:
            if count >= MOST_FILES:
                return size, count, False
            try:
                status = (Path(root) / name).lstat()
            except OSError:
                continue
            if (status.st_dev, status.st_ino) not in seen or status.st_ino == 0:
                seen.add((status.st_dev, status.st_ino))
                size, count = size + status.st_size, count + 1
    return size, count, True
