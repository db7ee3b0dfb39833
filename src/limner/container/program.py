"""The program of a pickle, run on paper: values are built, but nothing that it names is ever imported or called.

Python's own unpickler calls whatever a file asks for. torch's restricted one calls what torch has put on a list, and
some of that takes any amount of memory (`bytearray`, `torch.Tensor`), reads tensors at once, and knows no Lightning.
Here a name stands for an entry of names.py or the file is refused; what a program can cost is bounded by its length.
"""

import pickle
import struct
from collections.abc import Callable
from typing import Any

from limner.container.names import KNOWN, Array, Global, Numpy
from limner.container.places import Refused, readable

MAX_BYTES = 16 * 2**20  # of a program; that of a whole XL model has some 300 kB
MAX_STEPS = 1_000_000  # instructions and copied items; a tensor takes about 40
MAX_INTEGER_BYTES = 16  # torch's own mark has 10
MAX_GLOBAL = 200  # characters of a module's or a class's name

Load = Callable[[tuple[Any, ...]], Any]  # a storage, of what the program says about it
_DAMAGED = "holds a damaged pickle"
_MARK = object()


class Program:
    """One pickle in `data`, beginning at `at`; after `run`, `at` is the byte behind it.

    Values are None, bool, int, float, str, bytes, tuple, list (a set too), dict (any mapping), and what names.py makes.
    """

    def __init__(self, data: bytes, at: int, load: Load) -> None:
        self.data, self.at, self.load = data, at, load
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.steps = 0

    def run(self) -> Any:
        """What the program makes. Raises Refused if it asks for anything but tensors and plain values, is too large, or
        is no program at all."""
        try:
            while (code := self.data[self.at]) != pickle.STOP[0]:
                self.at += 1
                self.spend(1)
                _STEPS[code](self)
            self.at += 1
            return self.stack.pop()
        except KeyError as error:
            raise Refused(f"{_DAMAGED}, or one of a kind that Limner does not read") from error
        except (IndexError, struct.error, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise Refused(_DAMAGED) from error

    def spend(self, count: int) -> None:
        self.steps += count
        if self.steps > MAX_STEPS:
            raise Refused("holds a pickle of more parts than any model has", "do not trust it")

    # reading

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Refused(f"{_DAMAGED}: its end is missing")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return value

    def line(self) -> str:
        end = self.data.index(b"\n", self.at, self.at + MAX_GLOBAL)
        return self.take(end + 1 - self.at)[:-1].decode()

    def integer(self) -> int:
        count = self.number("<B")
        if count > MAX_INTEGER_BYTES:
            raise Refused("holds a number of more digits than any model needs", "do not trust it")
        return int.from_bytes(self.take(count), "little", signed=True)

    # the stack

    def since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def wrap(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    # what names stand for

    def name(self, module: str, name: str) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError
        known = KNOWN.get((module, name))
        if known is None:
            raise Refused(
                f"asks for {readable(f'{module}.{name}')}, which is no tensor and no plain value, so it is not opened",
                "use a .safetensors file of what it holds",
            )
        self.stack.append(known)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Global) or function.make is None or type(arguments) is not tuple:
            raise TypeError
        self.stack.append(function.make(arguments, self.spend))

    def set_state(self) -> None:
        """What an object's state means here: a ParameterDict's parameters and numpy's shapes; the rest is left out."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Array | Numpy):
            target.set_state(state)
        elif type(target) is dict and type(state) is dict and type(parameters := state.get("_parameters")) is dict:
            self.spend(len(parameters))
            target.update(parameters)
        elif isinstance(target, Global):
            raise TypeError


def checked_key(key: object) -> Any:
    """A dictionary's key, of those that are cheap to compare: old Lightning files have classes among them."""
    if key is None or isinstance(key, str | bytes | Global) or (isinstance(key, int) and abs(key) < 2**31):
        return key
    raise TypeError


def _put(program: Program, at: int) -> None:
    program.memo[at] = program.stack[-1]


Step = Callable[[Program], Any]


def _push(make: Callable[[Program], Any]) -> Step:
    return lambda program: program.stack.append(make(program))


def _text(form: str) -> Step:
    return _push(lambda program: program.take(program.number(form)).decode())


def _bytes(form: str) -> Step:
    return _push(lambda program: program.take(program.number(form)))


def _old_text(form: str) -> Step:  # of Python 2, which had one type for both
    return _push(lambda program: program.take(program.number(form)).decode("latin-1"))


_INSTRUCTIONS: dict[bytes, Step] = {
    pickle.PROTO: lambda p: p.take(1),
    pickle.FRAME: lambda p: p.take(8),
    pickle.NONE: _push(lambda p: None),
    pickle.NEWTRUE: _push(lambda p: True),
    pickle.NEWFALSE: _push(lambda p: False),
    pickle.BININT: _push(lambda p: p.number("<i")),
    pickle.BININT1: _push(lambda p: p.number("<B")),
    pickle.BININT2: _push(lambda p: p.number("<H")),
    pickle.LONG1: _push(lambda p: p.integer()),
    pickle.BINFLOAT: _push(lambda p: p.number(">d")),
    pickle.SHORT_BINUNICODE: _text("<B"),
    pickle.BINUNICODE: _text("<I"),
    pickle.BINUNICODE8: _text("<Q"),
    pickle.SHORT_BINSTRING: _old_text("<B"),
    pickle.BINSTRING: _old_text("<I"),
    pickle.SHORT_BINBYTES: _bytes("<B"),
    pickle.BINBYTES: _bytes("<I"),
    pickle.BINBYTES8: _bytes("<Q"),
    pickle.EMPTY_LIST: _push(lambda p: []),
    pickle.EMPTY_SET: _push(lambda p: []),
    pickle.EMPTY_DICT: _push(lambda p: {}),
    pickle.EMPTY_TUPLE: _push(lambda p: ()),
    pickle.MARK: _push(lambda p: _MARK),
    pickle.POP: lambda p: p.stack.pop(),
    pickle.POP_MARK: lambda p: p.since_mark(),
    pickle.TUPLE: _push(lambda p: tuple(p.since_mark())),
    pickle.TUPLE1: lambda p: p.wrap(1),
    pickle.TUPLE2: lambda p: p.wrap(2),
    pickle.TUPLE3: lambda p: p.wrap(3),
    pickle.APPEND: lambda p: p.extend([p.stack.pop()]),
    pickle.APPENDS: lambda p: p.extend(p.since_mark()),
    pickle.ADDITEMS: lambda p: p.extend(p.since_mark()),
    pickle.SETITEM: lambda p: p.set_items([p.stack.pop(-2), p.stack.pop()]),
    pickle.SETITEMS: lambda p: p.set_items(p.since_mark()),
    pickle.BINPUT: lambda p: _put(p, p.number("<B")),
    pickle.LONG_BINPUT: lambda p: _put(p, p.number("<I")),
    pickle.MEMOIZE: lambda p: _put(p, len(p.memo)),
    pickle.BINGET: _push(lambda p: p.memo[p.number("<B")]),
    pickle.LONG_BINGET: _push(lambda p: p.memo[p.number("<I")]),
    pickle.GLOBAL: lambda p: p.name(p.line(), p.line()),
    pickle.STACK_GLOBAL: lambda p: p.name(p.stack.pop(-2), p.stack.pop()),
    pickle.NEWOBJ: lambda p: p.call(),
    pickle.REDUCE: lambda p: p.call(),
    pickle.BUILD: lambda p: p.set_state(),
    pickle.BINPERSID: lambda p: p.stack.append(p.load(p.stack.pop())),
}
_STEPS = {code[0]: step for code, step in _INSTRUCTIONS.items()}
