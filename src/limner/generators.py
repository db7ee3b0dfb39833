"""Generators that tell how far a long work is, and return what came of it."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

Told = TypeVar("Told")
Retold = TypeVar("Retold")
T = TypeVar("T")


def finish(work: Generator[object, None, T]) -> T:
    """What comes of it, waited for."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def retold(work: Generator[Told, None, T], into: Callable[[Told], Retold]) -> Generator[Retold, None, T]:
    """The same work, told in other words; closing this closes it."""
    with closing(work):
        while True:
            try:
                told = next(work)
            except StopIteration as end:
                return end.value
            yield into(told)
