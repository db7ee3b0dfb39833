"""A checkpoint as it lies on the disk, a single file or a folder in diffusers' layout, read a tensor at a time.

Its tensors go by limner.weights' names, "<network>.<path>"; one tensor of a file may hold several of them.
"""

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
from limner.base.single import AVERAGES
from limner.base.weight_reader import WeightReader, open_weights
from limner.edit.written import Source
from limner.errors import UserError
from limner.files import require_unchanged, sha256_file, stamp_of


@dataclass(frozen=True)
class StoredPart:
    """What is open of a checkpoint: a single file, or a network's files in a folder. part: that network, "" of a single
    file. own: {a tensor's key: the names that are in it, and where}; keys that no network has are left out."""

    file: WeightReader
    part: str
    own: Mapping[str, Sequence[tuple[str, Place]]]


class Stored:
    """An open checkpoint. path: of the file or folder. names: {what there is: (the file, its key, where in that)}.
    warnings: what there is to be said of it, in sentences."""

    def __init__(self, path: Path, family: Family, parts: Sequence[StoredPart], warnings: Sequence[str]) -> None:
        self.path, self.family, self.parts = path, family, parts
        self.warnings = (*warnings, *self._about_numbers())
        self._stamps = {each: stamp_of(each) for each in ([path] if path.is_file() else layout.files_of(path, family))}
        self.names = {
            name: (each.file, key, place)
            for each in parts
            for key, own in each.own.items()
            for name, place in own
        }  # fmt: skip

    def _about_numbers(self) -> list[str]:
        """That float8 weights are read with their scales."""
        count = sum(len(each.file.scaled) for each in self.parts)
        return [f"{self.path}: the scales of {count} float8 weights are multiplied in"] if count else []

    @property
    def size_bytes(self) -> int:
        return sum(each.file.size_bytes for each in self.parts)

    @property
    def is_float8(self) -> bool:
        """Whether some of its weights have eight bits, with a scale or without."""
        return any(each.file.float8 for each in self.parts)

    def shape(self, name: str) -> tuple[int, ...]:
        file, key, place = self.names[name]
        return tuple(place.take(torch.empty(file.shapes[key], device="meta")).shape)

    def dtype(self, name: str) -> torch.dtype:
        file, key, _ = self.names[name]
        return file.dtypes[key]

    @property
    def metadata(self) -> dict[str, str]:
        """What a single file says of itself; a folder says nothing."""
        return self.parts[0].file.metadata if self.path.is_file() else {}

    def source(self) -> Source:
        """What it was, for the metadata of what is made of it."""
        sha256 = sha256_file(self.path) if self.path.is_file() else layout.fingerprint(self.path)
        return Source(self.path.name, sha256)

    def get(self, name: str, key: str | None = None) -> Tensor:
        """The tensor of a name, in the file's dtype; taken from under another key if one is given. Raises UserError if
        it holds numbers that are not finite."""
        file, own, place = self.names[name]
        return place.take(file.get_finite(key or own, file.dtypes[key or own]))

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
def open_stored(name: str | Path, is_widened: bool = False, averages: bool = False) -> Iterator[Stored]:
    """Open a base by name as `open_base` does, but read nothing of it yet.

    is_widened: whether float8 weights without a scale are read in 16 bits too, as those with one are. averages: whether
    averages of the weights will be read. Raises UserError if it is none that Limner knows.
    """
    path = find_base(name)
    found = identify(path)
    if found.family not in UNETS:
        raise UserError(
            f"{path} is {found.title}, which this command does not know; use Stable Diffusion 1.x, 2.x or XL"
        )
    family = UNETS[found.family]
    warnings = found.warnings
    with ExitStack() as opened:
        if path.is_file():
            file = opened.enter_context(open_weights(path, is_widened=is_widened))
            configs = single.read_configs(path)
            names = [name for part in single.networks_of(configs) for name in single.names_of(part, configs)]
            tensors = single.inventory(file, configs, names)
            if averages:
                tensors.use(*(key for key in file.shapes if key.startswith(AVERAGES)))
            left = tensors.remarks(path, "tensor", "tensors")
            yield Stored(path, family, [_of_file(file, places(names, configs))], (*warnings, *left))
            return
        own = {part: _names(path, family, part) for part in family.networks}
        left = folder.remarks(path, family, own)
        parts = [
            _of_folder(opened.enter_context(folder.open_part(path, part, is_widened)), part, own[part])
            for part in family.networks
        ]
        yield Stored(path, family, parts, (*warnings, *left))


def _names(root: Path, family: Family, part: str) -> set[str]:
    """Our own names of a network's weights in a folder, without the network's."""
    return {single.own_name(name) for name in folder.skeleton(root, family, part).state_dict()}


def _of_file(file: WeightReader, known: Mapping[str, Sequence[tuple[str, Place]]]) -> StoredPart:
    keys = sorted(file.shapes, key=len)  # of two spellings, the longer
    chosen = {with_wrapper(key): key for key in keys if with_wrapper(key) in known}
    return StoredPart(file, "", {key: known[plain] for plain, key in chosen.items()})


def _of_folder(file: WeightReader, part: str, names: set[str]) -> StoredPart:
    keys = folder.stored_keys(part, file.shapes)
    return StoredPart(file, part, {key: [(f"{part}.{own}", Place(key))] for own, key in keys.items() if own in names})
