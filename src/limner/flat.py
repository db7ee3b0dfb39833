"""Tables in tables, as one."""

from collections.abc import Mapping
from typing import Any

DEPTH = 4  # of tables in tables


def flat(values: Mapping[Any, Any], prefix: str = "", depth: int = DEPTH) -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; deeper levels stay as they are, for a stranger's file may nest without end."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        found |= flat(value, f"{path}.", depth - 1) if isinstance(value, dict) and depth else {path: value}
    return found
