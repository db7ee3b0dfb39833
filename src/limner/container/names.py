"""Every name that a pickle of a model may ask for, and what it makes of it: places, plain values, or nothing at all."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from limner.container.places import DTYPES, MAX_DIMENSIONS, Refused, contiguous, extent

Spend = Callable[[int], None]  # counts what a call copies
Make = Callable[[tuple[Any, ...], Spend], Any]


@dataclass(frozen=True, eq=False)
class Global:
    """A class or function by its name. make: what calling it gives, if it can be called. dtype: of a storage's class,
    or the dtype that it is itself; None of storages that are bytes."""

    name: str
    make: Make | None = None
    dtype: torch.dtype | None = None
    is_storage: bool = False


@dataclass(eq=False)
class Storage:
    """Bytes that tensors are views of: `size` from `start` on in the file, or in `data`. dtype: None if only a view
    knows it. Where it starts may be known last."""

    start: int
    size: int
    dtype: torch.dtype | None
    data: bytes | None = None


@dataclass(frozen=True, eq=False)
class View:
    """A tensor, not yet read."""

    storage: Storage
    dtype: torch.dtype
    start: int  # in bytes, in the storage
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class Numpy:
    """A numpy dtype of plain numbers, as in "f8"."""

    code: str

    @property
    def dtype(self) -> torch.dtype:
        return _NUMPY_DTYPES[self.code]

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or state[1] not in ("<", "|", "="):
            raise Refused("holds numbers in the byte order of other machines", "save it again on this one")


@dataclass(eq=False)
class Array:
    """A numpy array whose bytes stand in the pickle."""

    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    data: bytes = field(default=b"", repr=False)

    def set_state(self, state: Any) -> None:
        _, shape, numpy, is_fortran, data = state
        if is_fortran or not isinstance(numpy, Numpy) or not isinstance(data, bytes):
            raise TypeError
        self.shape, self.dtype, self.data = counts(shape), numpy.dtype, data


def view(storage: Any, dtype: torch.dtype | None, offset: Any, shape: Any, stride: Any) -> View:
    """A tensor in a storage; offset and stride in elements. Raises Refused if it reaches beyond the storage."""
    if not isinstance(storage, Storage) or dtype is None or type(offset) is not int or offset < 0:
        raise TypeError
    shape, stride = counts(shape), counts(stride)
    if len(shape) != len(stride):
        raise TypeError
    end = offset + extent(shape, stride)
    if end * dtype.itemsize > storage.size:
        raise Refused(f"holds a tensor of {end:,} elements in {storage.size:,} bytes", "do not trust it")
    return View(storage, dtype, offset * dtype.itemsize, shape, stride)


def counts(numbers: Any) -> tuple[int, ...]:
    """A shape or strides. Raises TypeError if they are none."""
    if type(numbers) is not tuple or len(numbers) > MAX_DIMENSIONS:
        raise TypeError
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise TypeError
    return numbers


def _tensor(arguments: tuple[Any, ...], _: Spend) -> View:
    storage, offset, shape, stride, *_rest = arguments
    return view(storage, storage.dtype, offset, shape, stride)


def _tensor_of_dtype(arguments: tuple[Any, ...], _: Spend) -> View:
    storage, offset, shape, stride, _grad, _hooks, dtype, *_rest = arguments
    return view(storage, dtype.dtype, offset, shape, stride)


def _tensor_of_array(arguments: tuple[Any, ...], _: Spend) -> View:
    array, dtype, *_rest = arguments
    if not isinstance(array, Array) or array.dtype is None or array.dtype is not dtype.dtype:
        raise TypeError
    storage = Storage(0, len(array.data), array.dtype, array.data)
    return view(storage, array.dtype, 0, array.shape, contiguous(array.shape))


def _tensor_with_state(arguments: tuple[Any, ...], spend: Spend) -> Any:
    function, _class, inner, *_state = arguments
    if function not in (KNOWN["torch._utils", name] for name in _TENSORS):
        raise TypeError
    return function.make(inner, spend)


def _first(arguments: tuple[Any, ...], _: Spend) -> Any:
    return arguments[0]


def _nothing(arguments: tuple[Any, ...], _: Spend) -> None:
    return None


def _stand_in(arguments: tuple[Any, ...], _: Spend) -> dict[Any, Any]:
    return {}


def _mapping(arguments: tuple[Any, ...], spend: Spend) -> dict[Any, Any]:
    """An OrderedDict; Python 2 gave its items along."""
    if not arguments:
        return {}
    (items,) = arguments
    if type(items) is not list or not all(type(item) in (list, tuple) and type(item[0]) is str for item in items):
        raise TypeError
    spend(len(items))
    return dict(items)


def _list(arguments: tuple[Any, ...], spend: Spend) -> list[Any]:
    items = arguments[0] if arguments else []
    if type(items) not in (list, tuple):
        raise TypeError
    spend(len(items))
    return list(items)


def _size(arguments: tuple[Any, ...], _: Spend) -> tuple[int, ...]:
    return counts(arguments[0])


def _encoded(arguments: tuple[Any, ...], spend: Spend) -> bytes:
    """How protocol 2 writes bytes."""
    text, encoding = arguments
    if type(text) is not str or encoding != "latin1":
        raise TypeError
    spend(len(text) // 16)
    return text.encode("latin-1")


def _numpy_dtype(arguments: tuple[Any, ...], _: Spend) -> Numpy:
    code = arguments[0]
    if code not in _NUMPY_DTYPES:
        raise TypeError
    return Numpy(code)


def _numpy_scalar(arguments: tuple[Any, ...], _: Spend) -> Any:
    numpy, data = arguments
    data = data.encode("latin-1") if type(data) is str else data  # Python 2's
    if not isinstance(numpy, Numpy):
        raise TypeError
    return struct.unpack(f"<{_STRUCT[numpy.code]}", data)[0]


_NUMPY_DTYPES = {
    "b1": torch.bool, "i1": torch.int8, "u1": torch.uint8, "i2": torch.int16, "u2": torch.uint16, "i4": torch.int32,
    "u4": torch.uint32, "i8": torch.int64, "u8": torch.uint64, "f2": torch.float16, "f4": torch.float32,
    "f8": torch.float64,
}  # fmt: skip
_STRUCT = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "f2": "e",
    "f4": "f", "f8": "d",
}  # fmt: skip
_STORAGES = {
    "BoolStorage": torch.bool, "ByteStorage": torch.uint8, "CharStorage": torch.int8, "ShortStorage": torch.int16,
    "IntStorage": torch.int32, "LongStorage": torch.int64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32, "DoubleStorage": torch.float64,
    "ComplexFloatStorage": torch.complex64,
}  # fmt: skip
_TENSORS: dict[str, Make] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor_of_dtype,
    "_rebuild_parameter": _first,
    "_rebuild_parameter_with_state": _first,
    "_rebuild_device_tensor_from_numpy": _tensor_of_array,
}
# Callbacks that Lightning's checkpoints carry the state of, under the names that the library has had; they are made
# into empty dictionaries.
_LIGHTNING = ("pytorch_lightning", "lightning.pytorch", "lightning")
_CALLBACKS = {
    "ModelCheckpoint": "model_checkpoint",
    "EarlyStopping": "early_stopping",
    "LearningRateMonitor": "lr_monitor",
    "LearningRateLogger": "lr_logger",
    "GPUStatsMonitor": "gpu_stats_monitor",
    "DeviceStatsMonitor": "device_stats_monitor",
    "StochasticWeightAveraging": "stochastic_weight_avg",
    "GradientAccumulationScheduler": "gradient_accumulation_scheduler",
    "ModelSummary": "model_summary",
    "TQDMProgressBar": "progress.tqdm_progress",
    "RichProgressBar": "progress.rich_progress",
    "ProgressBar": "progress",
    "Timer": "timer",
}


def _callbacks() -> list[tuple[str, str]]:
    return [
        pair
        for library in _LIGHTNING
        for name, module in _CALLBACKS.items()
        for pair in (
            (f"{library}.callbacks.{module}", name),
            (f"{library}.callbacks", name),
            (f"{library}.callbacks", module),  # the module itself, which some files name
        )
    ] + [
        (f"{library}.utilities.{module}", "AttributeDict")
        for library in _LIGHTNING
        for module in ("parsing", "data")  # of hyper_parameters
    ]


def _known() -> dict[tuple[str, str], Global]:
    made: dict[tuple[str, str], Make] = {("torch._utils", name): make for name, make in _TENSORS.items()}
    made |= dict.fromkeys(_callbacks(), _stand_in)
    made |= {
        ("torch._tensor", "_rebuild_from_type_v2"): _tensor_with_state,
        ("torch", "Size"): _size,
        ("torch", "device"): _nothing,
        ("torch.nn.modules.container", "ParameterDict"): _stand_in,
        ("collections", "OrderedDict"): _mapping,
        ("_codecs", "encode"): _encoded,
        ("numpy", "dtype"): _numpy_dtype,
    }
    made |= {(module, "set"): _list for module in ("builtins", "__builtin__")}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        made |= {(module, "scalar"): _numpy_scalar, (module, "_reconstruct"): lambda arguments, spend: Array()}
    found = {pair: Global(".".join(pair), make) for pair, make in made.items()}
    for pair in (("numpy", "ndarray"), ("torch.nn.parameter", "Parameter"), ("torch", "Tensor")):
        found[pair] = Global(".".join(pair))  # only ever handed on
    for name, dtype in _STORAGES.items():
        found["torch", name] = Global(name, dtype=dtype, is_storage=True)
        found["torch.cuda", name] = found["torch", name]
    found["torch.storage", "UntypedStorage"] = Global("UntypedStorage", is_storage=True)
    for dtype in DTYPES.values():
        module, _, name = str(dtype).partition(".")
        found[module, name] = Global(name, dtype=dtype)
    return found


KNOWN = _known()
