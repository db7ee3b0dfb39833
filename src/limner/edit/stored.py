"""A checkpoint as it lies on the disk, a single file or a folder in diffusers' layout, read a tensor at a time.

Its tensors go by limner.weights' names, "<network>.<path>"; one tensor of a file may hold several of them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.base import folder, layout, single
from limner.base.families import UNETS
from limner.base.family import Family
from limner.base.find import find_base, identify
from limner.base.original import Configs, Place, places, with_wrapper
from limner.container import TensorFile, open_tensors
from limner.container.header import SUFFIX
from limner.edit.written import Source
from limner.errors import UserError
from limner.files import require_unchanged, sha256_file, stamp_of

AVERAGES = "model_ema."  # begins the keys of averages of the UNet's weights over a training
_PLAIN = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")


@dataclass(frozen=True)
class StoredFile:
    """One file of a checkpoint. inside: its place in the folder, "." of a single file. own: {a tensor's key: the names
    that are in it, and where}; keys that no network has are left out."""

    file: TensorFile
    inside: Path
    own: Mapping[str, Sequence[tuple[str, Place]]]


class Stored:
    """An open checkpoint. path: of the file or folder. names: {what there is: (the file, its key, where in that)}."""

    def __init__(self, path: Path, family: Family, files: Sequence[StoredFile]) -> None:
        self.path, self.family, self.files = path, family, files
        self._stamps = {each.file.path: stamp_of(each.file.path) for each in files}
        self.names = {
            name: (each.file, key, place)
            for each in files
            for key, own in each.own.items()
            for name, place in own
        }  # fmt: skip

    def shape(self, name: str) -> tuple[int, ...]:
        file, key, place = self.names[name]
        return tuple(place.take(torch.empty(file.shapes[key], device="meta")).shape)

    def dtype(self, name: str) -> torch.dtype:
        file, key, _ = self.names[name]
        return file.dtypes[key]

    @property
    def metadata(self) -> dict[str, str]:
        """What a single file says of itself; a folder says nothing."""
        return self.files[0].file.metadata if self.path.is_file() else {}

    def source(self) -> Source:
        """What it was, for the metadata of what is made of it."""
        sha256 = sha256_file(self.path) if self.path.is_file() else layout.fingerprint(self.path)
        return Source(self.path.name, sha256)

    def get(self, name: str, key: str | None = None) -> Tensor:
        """The tensor of a name, in the file's dtype; taken from under another key if one is given."""
        file, own, place = self.names[name]
        return place.take(file.get(key or own))

    def average(self, name: str) -> str | None:
        """The key of the average of one of the UNet's weights, if the file has it: all dots but the first are left out
        of it."""
        file, key, _ = self.names[name]
        average = AVERAGES + key.removeprefix("model.").replace(".", "")
        return average if average in file.shapes else None

    def configs(self) -> Configs:
        """How its networks are made."""
        return single.read_configs(self.path) if self.path.is_file() else folder.read_configs(self.path, self.family)

    def require_unchanged(self) -> None:
        """Raise UserError if a file was written to since it was opened, so that what was read of it may be of both."""
        require_unchanged(self._stamps)

    def require_whole(self) -> None:
        """Raise UserError if it lacks a weight of its networks."""
        configs = self.configs()
        for part in single.networks_of(configs):
            for name in single.names_of(part, configs):
                if name not in self.names:
                    raise UserError(f"{self.path} lacks {name}, so that no whole model can be made of it; use another")


@contextmanager
def open_stored(name: str | Path) -> Iterator[Stored]:
    """Open a base by name as `open_base` does, but nothing of it. Raises UserError if it is none that Limner knows."""
    path = find_base(name)
    found = identify(path)
    if found.family not in UNETS:
        raise UserError(
            f"{path} is {found.title}, which this command does not know; use Stable Diffusion 1.x, 2.x or XL"
        )
    family = UNETS[found.family]
    with ExitStack() as opened:
        if path.is_file():
            yield Stored(path, family, [_of_file(opened.enter_context(open_tensors(path)))])
            return
        parts = [(part, file) for part in family.networks for file in _files(path / part)]
        yield Stored(
            path, family, [_of_folder(opened.enter_context(open_tensors(file)), path, part) for part, file in parts]
        )


def _of_file(file: TensorFile) -> StoredFile:
    configs = single.read_configs(file.path)
    names = [name for part in single.networks_of(configs) for name in single.names_of(part, configs)]
    known = places(names, configs)
    own = {key: known[with_wrapper(key)] for key in file.shapes if with_wrapper(key) in known}
    return StoredFile(file, Path(), own)


def _of_folder(file: TensorFile, root: Path, part: str) -> StoredFile:
    own = {key: [(f"{part}.{single.own_name(key)}", Place(key))] for key in file.shapes}
    return StoredFile(file, file.path.relative_to(root), own)


def _files(place: Path) -> list[Path]:
    """The weights' files of a network, of the plain variant if there are several. Raises UserError without any."""
    found = sorted(path for path in place.iterdir() if path.suffix == SUFFIX)
    chosen = [path for path in found if _PLAIN.fullmatch(path.name)] or [p for p in found if ".fp16." in p.name]
    if not chosen:
        raise UserError(f"{place} holds no weights in .safetensors files; save the model in that format first")
    return chosen
