"""A stranger's JSON, read leniently: what is missing or of another kind than it should be is empty, never an error."""

import json
from typing import Any

MOST_TEXT = 500  # characters


def parse(body: bytes) -> Any:
    """The value, None if it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def table(value: Any, name: str = "") -> dict[str, Any]:
    """A table, or the one that lies in it under a name."""
    found = value.get(name) if name and isinstance(value, dict) else value
    return found if isinstance(found, dict) else {}


def tables(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The tables of a list."""
    found = value.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text(value: dict[str, Any], name: str) -> str:
    """One line of text, without characters that act on a terminal; a number is one too."""
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, str | int):
        return ""
    return "".join(c if c.isprintable() else " " for c in str(found)[:MOST_TEXT]).strip()


def texts(value: dict[str, Any], name: str) -> tuple[str, ...]:
    found = value.get(name)
    lines = [text({"": each}, "") for each in found[:100]] if isinstance(found, list) else []
    return tuple(line for line in lines if line)


def number(value: dict[str, Any], name: str) -> float | None:
    """A number that is not negative."""
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return found if 0 <= found < 2**63 else None


def count(value: dict[str, Any], name: str) -> int | None:
    found = number(value, name)
    return None if found is None else int(found)
