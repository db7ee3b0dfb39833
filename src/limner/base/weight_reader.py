"""A checkpoint's tensors as they are meant, out of one open file or several shards: what every reader of bases uses."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from limner.base import quantized
from limner.container import TensorFile, open_tensors
from limner.container.header import all_finite
from limner.errors import UserError
from limner.texts import display

SCALED = torch.float16  # the number format of float8 weights with their scales multiplied in


class WeightReader:
    """Named tensors. path: of the file, or of the folder of several. shapes, dtypes: of each by name, without scales
    and marks of float8; a weight that has a scale counts as SCALED. scaled: the names of those. float8: the names of
    all that have 8 bits.
    """

    def __init__(self, path: Path, files: Sequence[TensorFile], is_widened: bool = False) -> None:
        """is_widened: whether float8 weights without a scale count as SCALED too.

        Raises UserError if a tensor is in two files, or weights are in a quantized format that is not read.
        """
        self.path, self.files = path, tuple(files)
        self._file: dict[str, TensorFile] = {}
        for file in files:
            if twice := next((name for name in file.shapes if name in self._file), None):
                raise UserError(f"{display(path)} holds {twice} in two of its files; copy the folder again")
            self._file |= dict.fromkeys(file.shapes, file)
        self.metadata = files[0].metadata
        shapes = {name: file.shapes[name] for name, file in self._file.items()}
        dtypes = {name: file.dtypes[name] for name, file in self._file.items()}
        if reason := quantized.refusal(shapes, self.metadata, dtypes):
            raise UserError(f"{display(path)} cannot be opened: {reason}")
        hidden = {name for name in shapes if quantized.MARK.fullmatch(name)} | {*quantized.scales_of(shapes).values()}
        self._check_marks(name for name in hidden if name.endswith(quantized.COMFY))
        self._scales = self._read_scales(shapes, dtypes)
        self.scaled = tuple(self._scales)
        self.shapes = {name: shape for name, shape in shapes.items() if name not in hidden}
        self.float8 = tuple(name for name in self.shapes if quantized.is_float8(dtypes[name]))
        wide = {*self._scales, *(self.float8 if is_widened else ())}
        self.dtypes = {name: SCALED if name in wide else dtypes[name] for name in self.shapes}

    @property
    def size_bytes(self) -> int:
        return sum(file.path.stat().st_size for file in self.files)

    def get(self, name: str) -> Tensor:
        """A tensor on the CPU in the format that `dtypes` says, contiguous, its memory its own. Raises UserError."""
        return self.get_as(name, self.dtypes[name])

    def get_as(
        self, name: str, dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format
    ) -> Tensor:
        """A tensor in another number format or memory format. Raises UserError."""
        file = self._file[name]
        if name not in self._scales:
            return file.get_as(name, dtype, memory_format)
        return file.get_as(name, torch.float32, memory_format).mul_(self._scales[name]).to(dtype)

    def get_finite(
        self, name: str, dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format
    ) -> Tensor:
        """A tensor as get_as reads it. Raises UserError too if it holds numbers that are not finite, or would then."""
        tensor = self.get_as(name, dtype, memory_format)
        if all_finite({name: tensor}):
            return tensor
        if all_finite({name: self.get_as(name, torch.float32)}):
            plain = str(dtype).removeprefix("torch.")
            raise UserError(f"{display(self.path)} has numbers in {name} that {plain} cannot hold; use bf16 or fp32")
        raise UserError(
            f"{display(self.path)} holds numbers that are not finite (NaN) in {name}; the training or merge that made "
            "it failed, so use another model"
        )

    def _check_marks(self, names: Iterator[str]) -> None:
        """Raise UserError if one of ComfyUI's marks is of another format than float8."""
        for name in names:
            text = bytes(self._file[name].get(name).flatten().to(torch.uint8).tolist()).decode("utf-8", "replace")
            if odd := quantized.unknown_format(quantized.formats_in(text.strip("\0") or "?")):
                raise UserError(
                    f"{display(self.path)} is quantized as {odd} ({name}), which Limner does not read; "
                    f"{quantized.ADVICE}"
                )

    def _read_scales(self, shapes: quantized.Shapes, dtypes: dict[str, torch.dtype]) -> dict[str, Tensor]:
        """Float32 scales of the weights that have one, shaped to multiply them. Raises UserError."""
        scales = {}
        for weight, name in quantized.scales_of(shapes).items():
            shape = quantized.shape_of(shapes[name], shapes[weight])
            assert shape is not None
            scale = self._file[name].get_as(name, torch.float32).reshape(shape)
            if not all_finite({name: scale}):
                raise UserError(f"{display(self.path)} has a scale that is not finite, {name}; use another copy")
            if quantized.is_float8(dtypes[weight]):
                scales[weight] = scale
            elif not bool((scale == 1).all()):
                plain = str(dtypes[weight]).removeprefix("torch.")
                raise UserError(
                    f"{display(self.path)} has a scale {name} beside a weight that is not float8 but {plain}, so that "
                    "it cannot be told whether it is multiplied in already; use another copy"
                )
        return scales


@contextmanager
def open_weights(path: Path, files: Sequence[Path] = (), is_widened: bool = False) -> Iterator[WeightReader]:
    """Open a file, or the files of a folder `path`, as WeightReader says. Raises UserError."""
    with ExitStack() as opened:
        yield WeightReader(path, [opened.enter_context(open_tensors(each)) for each in files or [path]], is_widened)


def not_finite(reader: WeightReader) -> list[str]:
    """The tensors that hold numbers that are not finite; reads all of them."""
    return [
        name
        for name, dtype in reader.dtypes.items()
        if dtype.is_floating_point and 0 not in reader.shapes[name] and not all_finite({name: reader.get(name)})
    ]
