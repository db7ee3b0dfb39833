"""`limner inspect`: what a file is, and how two differ."""

import json
from pathlib import Path
from typing import Any

from limner.cli.output import Output, megabytes
from limner.formats import Summary, inspect

SHOWN = 200  # characters of a value


def show(path: Path, output: Output) -> dict:
    """One file's facts, its training record below them."""
    summary = inspect(path)
    rows = [
        ("file", f"{summary.path} ({megabytes(summary.size_bytes)})"),
        ("kind", f"{summary.kind}, for {summary.family}, {summary.naming} names"),
        ("keyword", summary.keyword or "not said"),
        ("tensors" if summary.kind == "checkpoint" else "layers", _counts(summary.modules)),
        *([("rank", _counts(summary.ranks)), ("alpha", _counts(summary.alphas))] if summary.ranks else []),
        ("number format", _counts(summary.dtypes)),
        *(("not as trained in", f"{program}, which {fault}") for program, fault in summary.faults.items()),
        ("SHA-256", summary.sha256),
        ("AutoV2, AutoV3", f"{summary.autov2}, {summary.autov3}"),
        ("webui's hash", summary.webui_hash + _doubt(summary)),
    ]
    output.table(("", ""), rows)
    card = _flat(summary.run_card or {})
    output.table(("run card", ""), [(name, _short(value)) for name, value in card.items()])
    others = {name: text for name, text in summary.metadata.items() if name != "limner.run_card"}
    output.table(("metadata", ""), [(name, _short(text)) for name, text in others.items()])
    return summary.as_dict()


def difference(one: Path, other: Path, output: Output) -> dict:
    """Where two files differ, fact by fact."""
    facts = [_facts(inspect(path)) for path in (one, other)]
    names = sorted(facts[0].keys() | facts[1].keys())
    differences = {
        name: [each.get(name) for each in facts] for name in names if facts[0].get(name) != facts[1].get(name)
    }
    if differences:
        output.table(("", str(one), str(other)), [(n, _short(a), _short(b)) for n, (a, b) in differences.items()])
    else:
        output.result(f"{one} and {other} do not differ")
    return {"files": [str(one), str(other)], "differences": differences}


def _facts(summary: Summary) -> dict[str, Any]:
    facts = summary.as_dict()
    card = facts.pop("run_card") or {}
    metadata = {name: text for name, text in facts.pop("metadata").items() if name != "limner.run_card"}
    del facts["path"]
    return _flat(facts) | _flat(card) | metadata


def _flat(values: dict[Any, Any], prefix: str = "", depth: int = 3) -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; deeper levels stay as they are, for a stranger's file may nest without end."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        flat |= _flat(value, f"{path}.", depth - 1) if isinstance(value, dict) and depth else {path: value}
    return flat


def _counts(counts: dict[Any, int]) -> str:
    """{16: 192} -> "16 (192)"."""
    if len(counts) == 1 and not isinstance(next(iter(counts)), str):
        return f"{next(iter(counts)):g}"
    return ", ".join(f"{value} ({count})" for value, count in counts.items()) or "none"


def _doubt(summary: Summary) -> str:
    return ", as the file says, but its contents have another" if summary.hash_matches is False else ""


def _short(value: Any) -> str:
    if isinstance(value, list):
        first = ", ".join(str(each)[:12] for each in value[:3])
        return f"{len(value)} entries: {first}{', ...' if len(value) > 3 else ''}"
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
