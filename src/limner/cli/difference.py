"""`limner inspect A B` on the command line: how two of a kind differ."""

from pathlib import Path
from typing import Any

from limner.cli.facts import MOST_ROWS, short
from limner.cli.output import Output
from limner.inspection import explain
from limner.inspection.tensors import TensorDifference


def show_difference(first: Path, second: Path, output: Output) -> dict:
    """The difference in a sentence, then by what it is in; equal things are left out."""
    found = explain(first, second)
    output.result(f"{first} and {second}: {found.says}")
    for title, rows in found.sections.items():
        shown = [(name, _side(one, other), _side(other, one)) for name, (one, other) in list(rows.items())[:MOST_ROWS]]
        if len(rows) > MOST_ROWS:
            shown.append(("...", f"and {len(rows) - MOST_ROWS} more, with --json", ""))
        output.table((title, first.name, second.name), shown)
    for name, difference in found.tensors.items():
        _show_tensors("" if name == "file" else f"{name}: ", difference, output)
    return found.as_dict()


def _side(value: Any, other: Any) -> str:
    """One side's value; of two lists or tables what only this one has."""
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        alone = [each for each in value if each not in other]
        return f"{len(value)} entries, {len(alone)} of them only here" + (f": {short(alone)}" if alone else "")
    if isinstance(value, dict) and isinstance(other, dict):
        alone = [key for key, each in value.items() if other.get(key) != each]
        return f"{len(value)} entries, {len(alone)} of them only here" + (f": {short(alone)}" if alone else "")
    return short(value)


def _show_tensors(name: str, found: TensorDifference, output: Output) -> None:
    compared = sum(block.tensors for block in found.blocks.values())
    says = f"{name}{found.differing} of {compared} tensors differ"
    says += f", {found.rounded} more only in their number format" if found.rounded else ""
    says += ", compared under Limner's names for them" if found.neutral else ""
    output.result(says)
    for which, count, names in (
        ("first", found.only_first_count, found.only_first),
        ("second", found.only_second_count, found.only_second),
    ):
        if count:
            output.result(f"{name}{count} tensors are only in the {which}, such as {names[0]}")
    if found.reshaped:
        output.result(f"{name}{len(found.reshaped)} tensors have other shapes, such as {found.reshaped[0]}")
    rows = [
        (block, f"{each.differing} of {each.tensors}", f"{each.largest:.3g}", each.at)
        for block, each in found.blocks.items()
        if each.differing
    ]
    if rows:
        output.table(("part", "tensors that differ", "largest relative difference", "of"), rows)
