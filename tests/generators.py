"""Generators that return something, gone through to their end."""

from collections.abc import Generator
from typing import Any, TypeVar

Returned = TypeVar("Returned")


def drained(generator: Generator[Any, None, Returned]) -> Returned:
    """What it returns."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value
