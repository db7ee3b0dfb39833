"""`python -m bench.check`: what `limner check` finds of planted faults, and of what it falsely accuses clean pictures.

SET is a folder of recipes/faults with its truth.json. Each fault counts as found if a finding says it, by the table of
recipes/faults/plan.py; each near-duplicate, if it is grouped with the picture that it was made from. A clean picture is
falsely accused of a kind if a finding of that kind is not true of it, and of being a duplicate if it is grouped with a
picture that shows something else. One JSON line at the end.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.checking.findings import KINDS

ROOT = Path(__file__).resolve().parents[1]
GROUPED = {"duplicate", "best"}  # findings of pictures that are in a group
AIM_FOUND, AIM_FALSE = 0.95, 0.02  # of near-duplicates


@dataclass(frozen=True)
class Said:
    """What check said of a file. kinds: of its findings, with their level. group: the files shown to be the same."""

    kinds: dict[str, str]
    group: frozenset[str] = frozenset()


@dataclass
class Line:
    """A line of a table. names: of the files that were missed, or falsely accused."""

    of: int = 0
    counted: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, counts: bool, name: str, wanted: bool) -> None:
        """wanted: whether what counts is good, so that others are named."""
        self.of += 1
        self.counted += counts
        if counts != wanted:
            self.names.append(name)

    @property
    def share(self) -> float:
        return self.counted / self.of if self.of else 0.0


def ask(folder: Path, options: Sequence[str]) -> dict[str, Said]:
    """What `limner check --json` says of each file of a folder."""
    command = [sys.executable, "-m", "limner", "check", str(folder), "--json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError as error:
        raise SystemExit(f"limner check gave no JSON; try {' '.join(command)}") from error
    return understand(told)


def understand(told: dict[str, Any]) -> dict[str, Said]:
    """The JSON of `limner check`, by files."""
    pictures = {each["file"]: each["findings"] for each in told["pictures"]}
    for each in told["skipped"]:
        kind = "truncated" if "truncated" in each["reason"] else "unreadable"
        pictures[each["file"]] = [{"kind": kind, "level": "unusable"}]
    groups: dict[str, frozenset[str]] = {}
    for group in told["duplicates"]:
        groups |= dict.fromkeys(group, frozenset(group))
    return {
        name: Said({finding["kind"]: finding["level"] for finding in findings}, groups.get(name, frozenset()))
        for name, findings in pictures.items()
    }


def found(truths: list[dict[str, Any]], said: dict[str, Said]) -> dict[str, Line]:
    """Of what was planted, by its name."""
    lines: dict[str, Line] = defaultdict(Line)
    for truth in truths:
        of = said.get(truth["file"], Said({}))
        if truth["kind"] == "duplicate":
            lines[f"duplicate: {truth['planted']}"].add(truth["original"] in of.group, truth["file"], True)
        elif truth["kind"] == "fault" and truth["found"]:
            lines[truth["planted"]].add(bool(of.kinds.keys() & {*truth["found"]}), truth["file"], True)
    return lines


def accused(truths: list[dict[str, Any]], said: dict[str, Said]) -> dict[str, Line]:
    """Of the clean pictures, by the kind of finding: those of which it is not true."""
    clean = [truth for truth in truths if not truth["found"] and truth["kind"] != "duplicate"]
    kinds = dict.fromkeys(kind for truth in clean for kind in said[truth["file"]].kinds if kind not in GROUPED)
    lines: dict[str, Line] = {}
    for kind in ("any that would leave it out", *kinds):
        lines[kind] = Line()
        for truth in clean:
            wrong = _wrong(truth, said[truth["file"]])
            hit = kind in wrong if kind in kinds else any(level != "note" for level in wrong.values())
            lines[kind].add(hit, f"{truth['file']} ({truth['kind']})", False)
    lines["duplicate"] = Line()
    same = kin(truths)
    for truth in clean:
        wrongly = said[truth["file"]].group - same[truth["file"]]
        lines["duplicate"].add(bool(wrongly), f"{truth['file']} with {', '.join(sorted(wrongly))}", False)
    return lines


def _wrong(truth: dict[str, Any], said: Said) -> dict[str, str]:
    """The findings that are not true of a clean picture, with their levels."""
    return {kind: level for kind, level in said.kinds.items() if kind not in {*truth["allowed"], *GROUPED}}


def _noted(truth: dict[str, Any], said: Said) -> bool:
    """Whether what was planted was found and is a fault, but said in a way that does not leave the picture out."""
    kinds = said.kinds.keys() & {*truth["found"]}
    faults = any(KINDS[kind].level != "note" for kind in kinds)
    return faults and all(level == "note" for level in said.kinds.values())


def kin(truths: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Of each file, those with which it may be grouped, itself among them: what is near to one that is near, too."""
    together = {truth["file"]: {truth["file"]} for truth in truths}
    for truth in truths:
        joined = {truth["file"], *truth["near"], *([truth["original"]] if truth["original"] else [])}
        joined = set().union(*(together[name] for name in joined))
        together |= dict.fromkeys(joined, joined)
    return together


def table(title: str, lines: dict[str, Line], verb: str) -> str:
    """In Markdown."""
    rows = [f"| {title} | of | {verb} | share | {'missed' if verb == 'found' else 'which'} |", "|---|---|---|---|---|"]
    for name, line in lines.items():
        rows.append(f"| {name} | {line.of} | {line.counted} | {line.share:.0%} | {', '.join(line.names[:6])} |")
    return "\n".join(rows) + "\n"


def summary(truths: list[dict[str, Any]], said: dict[str, Said]) -> dict[str, Any]:
    """The figures that have an aim."""
    by_name = found(truths, said)
    hard = {truth["planted"] for truth in truths if truth["hard"]}
    wrong = accused(truths, said)
    near, hard_ones, others = Line(), Line(), Line()
    for name, line in by_name.items():
        to = near if name.startswith("duplicate") else hard_ones if name in hard else others
        to.of, to.counted = to.of + line.of, to.counted + line.counted
    return {
        "found as a note alone": sum(
            truth["kind"] == "fault" and _noted(truth, said.get(truth["file"], Said({}))) for truth in truths
        ),
        "hard faults found": [hard_ones.counted, hard_ones.of],
        "other faults found": [others.counted, others.of],
        "near-duplicates found": [near.counted, near.of],
        "clean": wrong["duplicate"].of,
        "falsely duplicates": wrong["duplicate"].counted,
        "falsely left out": wrong["any that would leave it out"].counted,
        "aims met": hard_ones.share == 1 and near.share >= AIM_FOUND and wrong["duplicate"].share < AIM_FALSE,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path, nargs="?", default=ROOT / "build" / "faults" / "report")
    parser.add_argument("--check", action="append", default=[], help="an option of limner check, as in --check=--x=1")
    parser.add_argument("--said", type=Path, help="what limner check --json printed, instead of running it")
    options = parser.parse_args()
    truths = json.loads((options.set / "truth.json").read_text(encoding="utf-8"))["pictures"]
    if options.said:
        said = understand(json.loads(options.said.read_text(encoding="utf-8")))
    else:
        said = ask(options.set, options.check)
        for name, of in ask(options.set, [*options.check, "--subject=person"]).items():  # a second look, by known facts
            if "several_faces" in of.kinds:
                said[name].kinds["several_faces"] = of.kinds["several_faces"]
    lines = dict(sorted(found(truths, said).items(), key=lambda item: item[0].startswith("duplicate")))
    print(table("planted", lines, "found"))
    print(table("clean pictures accused of", accused(truths, said), "falsely"))
    print(json.dumps(summary(truths, said)))


if __name__ == "__main__":
    main()
