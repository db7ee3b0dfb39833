"""`python -m bench.methods`: subjects by method by seed, each trained by the command line and judged alike.

Subjects are the folders of recipes/subjects (subject.toml, train/, judge/). A method's training is a process of its
own; its pictures are judged by those in judge/, which take no part in any training. The floor is the base, under the
same prompt or with what subject.toml calls `floor` for keyword and class, whichever comes nearer. A method with
settings of its own, as in `--methods lora lora,learning_rate=3e-4`, is a column of its own: that is how defaults are
found.

Resumable: OUT holds every training, every picture, and one JSON line a result in results.jsonl; what is there is not
made again. SUMMARY.md has means and spreads: over the seeds of trainings for each subject, and over subjects for each
method.
"""

import argparse
import functools
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.base.open import open_base
from limner.compare.training import Failed, train_method, training_arguments
from limner.config import CompareSettings, read_toml
from limner.data.folder import load_folder
from limner.device import choose_device, choose_dtype
from limner.evaluate.judge import Judge
from limner.evaluate.pictures import Learned
from limner.evaluate.protocol import Evidence, make_protocol, request_of
from limner.evaluate.report import Report
from limner.files import write_text

ROOT = Path(__file__).resolve().parents[1]
SUBJECTS = ROOT / "recipes" / "subjects"
RESULTS, SUMMARY = "results.jsonl", "SUMMARY.md"
DRAWING_SEED = 1

Row = dict[str, Any]  # a line of results.jsonl

# Of a result: a column of the summary, how to find its value in a row, and how to write it.
COLUMNS: dict[str, tuple[Callable[[Row], float | None], str]] = {
    "likeness or style": (lambda row: row["report"]["main"]["normalised"], "{:.2f}"),
    "fidelity kept": (lambda row: (row["report"]["fidelity"] or {}).get("kept"), "{:.2f}"),
    "drift": (lambda row: row["report"]["unrelated_drift"], "{:.3f}"),
    "class drift": (lambda row: row["report"]["class_drift"], "{:.3f}"),
    "near-copies": (lambda row: row["report"]["near_copies"], "{:.2f}"),
    "steps": (lambda row: row["trained"]["steps"], "{:.0f}"),
    "seconds": (lambda row: row["trained"]["seconds"], "{:.0f}"),
    "memory, MB": (lambda row: row["trained"]["peak_memory_bytes"] / 1e6, "{:.0f}"),
    "file, MB": (lambda row: row["trained"]["size_bytes"] / 1e6, "{:.3f}"),
}


@dataclass(frozen=True)
class Subject:
    """A folder of recipes/subjects, as far as it matters here."""

    folder: Path
    keyword: str
    class_word: str
    kind: str
    floor: str

    @staticmethod
    def read(folder: Path) -> "Subject":
        told = read_toml(folder / "subject.toml")
        return Subject(folder, told["keyword"], told["class"], told["kind"], told["floor"])


def settings_of(subject: Subject, seed: int, options: argparse.Namespace, own: Sequence[str] = ()) -> CompareSettings:
    """What compare would be told of this training. own: the method's settings here."""
    values = {
        "images": subject.folder / "train",
        "keyword": subject.keyword,
        "class": subject.class_word,
        "base": options.base,
        "seed": seed,
        "minutes": options.minutes,
        "train": ("previews=0", *options.train, *own),
        "count": options.count,
        "drawing_steps": options.drawing_steps,
    }
    return CompareSettings.read(values, "bench.methods")


def open_judge(subject: Subject, options: argparse.Namespace) -> Judge:
    """What judges every method of a subject, the base's pictures drawn."""
    evidence = Evidence(
        load_folder(subject.folder / "judge").pictures, load_folder(subject.folder / "train").pictures, held_out=True
    )
    protocol, evidence = make_protocol(
        evidence,
        subject.keyword,
        subject.class_word,
        request_of(settings_of(subject, 0, options), DRAWING_SEED),
        subject="style" if subject.kind == "style" else "object",
        rivals=(subject.floor,),
    )
    device = choose_device("auto")
    model = open_base(options.base, device, choose_dtype("auto", device))
    judge = Judge(model, evidence, protocol, options.out / subject.folder.name / "pictures")
    for progress in judge.prepare():
        print(f"\r{subject.folder.name}: base {progress.done}/{progress.total}", end="", file=sys.stderr)
    return judge


def results(path: Path) -> list[Row]:
    """The lines that are whole; a process that died may have left half of one."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def work(subjects: Sequence[Subject], options: argparse.Namespace) -> None:
    """Make what is missing."""
    path = options.out / RESULTS
    done = {(row["subject"], row["method"], row["seed"]) for row in results(path) if "report" in row}
    for subject in subjects:
        judge = functools.cache(functools.partial(open_judge, subject, options))
        for method in options.methods:
            for seed in range(options.seeds):
                if (subject.folder.name, method, seed) not in done:
                    note(path, train_and_judge(subject, subject.folder / "train", method, method, seed, options, judge))


def train_and_judge(
    subject: Subject,
    images: Path,
    method: str,
    label: str,
    seed: int,
    options: argparse.Namespace,
    judge: Callable[[], Judge],
) -> Row:
    """The result of training on a folder of pictures. label: its method's name in the row. judge: opened if needed."""
    plain, *own = method.split(",")
    name = f"{label}-{seed}"
    folder = options.out / subject.folder.name / name
    folder.mkdir(parents=True, exist_ok=True)
    arguments = training_arguments(plain, images, settings_of(subject, seed, options, own))
    trained = train_method(folder, folder / f"{subject.keyword}.safetensors", arguments, quiet=False)
    row: Row = {"subject": subject.folder.name, "kind": subject.kind, "method": label, "seed": seed}
    if isinstance(trained, Failed):
        return row | {"failure": trained.reason}
    *_, report = judge().judge(Learned(folder / trained.file), name)
    assert isinstance(report, Report)
    return row | {"trained": vars(trained), "report": report.to_dict()}


def note(path: Path, row: Row) -> None:
    """Add a result to the file, and say it."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
    named = {name: row[name] for name in ("subject", "method", "seed")}
    print(json.dumps(named | _short(row)), flush=True)


def _short(row: Row) -> Row:
    if "failure" in row:
        return {"failure": row["failure"]}
    return {name: value(row) for name, (value, _) in COLUMNS.items()}


def summary(rows: Iterable[Row]) -> str:
    """Tables in Markdown: each method over subjects, then each subject by method over seeds."""
    good: dict[tuple[str, str, int], Row] = {
        (row["subject"], row["method"], row["seed"]): row for row in rows if "report" in row
    }
    by_pair: dict[tuple[str, str], list[Row]] = {}
    for (subject, method, _), row in good.items():
        by_pair.setdefault((subject, method), []).append(row)
    methods = list(dict.fromkeys(method for _, method in by_pair))
    over = {method: [pair for pair in by_pair if pair[1] == method] for method in methods}
    head = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines = [
        "# Methods, measured",
        "",
        "## Each method, mean of its subjects' means ± deviation over subjects",
        "",
        *head,
    ]
    for method, pairs in over.items():
        means = [[_mean(by_pair[pair], value) for pair in pairs] for value, _ in COLUMNS.values()]
        lines.append(_line(f"{method} ({len(pairs)} subjects)", means))
    lines += ["", "## Each subject, mean ± deviation over the seeds of the trainings", "", *head]
    for (subject, method), found in by_pair.items():
        values = [[value(row) for row in found] for value, _ in COLUMNS.values()]
        lines.append(_line(f"{subject}, {method} ({len(found)} seeds)", values))
    return "\n".join(lines) + "\n"


def _mean(rows: Sequence[Row], value: Callable[[Row], float | None]) -> float | None:
    known = [each for each in map(value, rows) if each is not None]
    return statistics.fmean(known) if known else None


def _line(label: str, columns: Sequence[Sequence[float | None]]) -> str:
    cells = []
    for values, (_, form) in zip(columns, COLUMNS.values(), strict=True):
        known = [value for value in values if value is not None]
        spread = f" ± {form.format(statistics.stdev(known))}" if len(known) > 1 else ""
        cells.append(form.format(statistics.fmean(known)) + spread if known else "-")
    return f"| {label} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "methods")
    parser.add_argument("--subjects", nargs="*", help="names of folders in recipes/subjects; all by default")
    parser.add_argument("--methods", nargs="*", default=["dreambooth", "lora", "embedding"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--minutes", type=float, help="for each training; to its own stop by default")
    parser.add_argument("--train", action="append", default=[], help="a setting of limner train, as in steps=100")
    parser.add_argument("--count", type=int, default=3, help="drawings of a prompt")
    parser.add_argument("--drawing-steps", type=int, default=20)
    options = parser.parse_args()
    folders = sorted(path.parent for path in SUBJECTS.glob("*/subject.toml"))
    chosen = [folder for folder in folders if not options.subjects or folder.name in options.subjects]
    unknown = set(options.subjects or ()) - {folder.name for folder in folders}
    if unknown:
        parser.error(f"no subject {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in folders)}")
    options.out.mkdir(parents=True, exist_ok=True)
    work([Subject.read(folder) for folder in chosen], options)
    rows = results(options.out / RESULTS)
    write_text(options.out / SUMMARY, summary(rows))
    print((options.out / SUMMARY).read_text(encoding="utf-8"))
    print(json.dumps({"results": len(rows), "failures": sum("failure" in row for row in rows)}))


if __name__ == "__main__":
    main()
