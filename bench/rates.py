"""`python -m bench.rates METHOD=RATE,RATE...`: whole trainings of a method at several learning rates, judged alike.

RATE is in units of the optimizer's own learning rate, as in `Method.rates`; METHOD alone tries what the method declares
for the subject's kind, four times that, and a quarter of it. Subjects are folders of recipes/subjects, two by
default: an object and a style. Every training runs to its last step, with the length, the schedule and the batch that
`limner train` chooses, and its last state is judged as bench.methods judges, by the figure that counts for the subject
(likeness of an object, share of the way to a style): 0 is the base, 1 the best that it could show.

Resumable: OUT holds every training, every image, and one JSON line a result in results.jsonl; what is there is not made
again. Prints a Markdown table of them all; ± is the deviation over the drawings of one training, so that differences
below twice it say nothing.
"""

import argparse
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.methods import RESULTS, ROOT, SUBJECTS, Row, Subject, open_judge, results, settings_of
from limner.compare.training import Failed, train_method, training_arguments
from limner.evaluate.judge import Judge
from limner.evaluate.pictures import Learned
from limner.methods.method import find_method
from limner.optimize import OPTIMIZERS

WHOLE = ("stop=never", "measure_every=0", "milestones=0", "held_out=0")  # to the last step, and that state is taken
AROUND = (1.0, 4.0, 0.25)  # times the declared rate


def grid(text: str, subject: Subject) -> tuple[str, list[float]]:
    """The method and the rates that "METHOD" or "METHOD=RATE,RATE" means for a subject. Raises UserError."""
    name, given, rates = text.partition("=")
    declared = find_method(name).rates
    usual = declared[1] if subject.kind == "style" else declared[0]
    return name, [float(rate) for rate in rates.split(",")] if given else [factor * usual for factor in AROUND]


def trainings(subjects: Sequence[Subject], options: argparse.Namespace) -> Iterator[tuple[Subject, str, float, int]]:
    """Everything that there is to train: the first rate of every method and subject, then the second, and so on, so
    that a bench which is stopped has something to say of all of them."""
    for seed in range(options.seeds):
        grids = [(subject, *grid(text, subject)) for text in options.methods for subject in subjects]
        for at in range(max(len(rates) for _, _, rates in grids)):
            yield from ((subject, name, rates[at], seed) for subject, name, rates in grids if at < len(rates))


def measure(subject: Subject, method: str, rate: float, seed: int, options: argparse.Namespace, judge: Judge) -> Row:
    """Train, judge, and say what came out."""
    learning_rate = rate * OPTIMIZERS["adamw"].learning_rate
    own = (*WHOLE, *options.train, f"learning_rate={learning_rate:g}")
    label = f"{method}-{rate:g}-{seed}"
    folder = options.out / subject.folder.name / label
    folder.mkdir(parents=True, exist_ok=True)
    arguments = training_arguments(method, subject.folder / "train", settings_of(subject, seed, options, own))
    trained = train_method(folder, folder / f"{subject.keyword}.safetensors", arguments, quiet=True)
    row: Row = {"subject": subject.folder.name, "kind": subject.kind, "method": method, "rate": rate, "seed": seed}
    if isinstance(trained, Failed):
        return row | {"failure": trained.reason}
    figure, over_drawings = judge.figure(Learned(folder / trained.file), label)
    deviation = None if over_drawings is None else over_drawings.deviation
    return row | {"figure": figure.normalised, "deviation": deviation, "steps": trained.steps}


def table(rows: Sequence[Row]) -> str:
    """Methods and rates by subject, in Markdown."""
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    cells: dict[tuple[str, float], dict[str, list[str]]] = {}
    for row in rows:
        found = cells.setdefault((row["method"], row["rate"]), {}).setdefault(row["subject"], [])
        found.append(row.get("failure") or f"{row['figure']:.2f} ± {row['deviation'] or 0:.2f}")
    lines = [f"| method, times the optimizer's rate | {' | '.join(subjects)} |", "|---" * (len(subjects) + 1) + "|"]
    for (method, rate), by_subject in sorted(cells.items()):
        values = (", ".join(by_subject.get(subject, ["-"])) for subject in subjects)
        lines.append(f"| {method}, {rate:g} | {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="+", metavar="METHOD[=RATE,RATE...]")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "rates")
    parser.add_argument("--subjects", nargs="+", default=["cactus", "outlined"], help="folders in recipes/subjects")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--train", action="append", default=[], help="a setting of limner train, as in steps=100")
    parser.add_argument("--count", type=int, default=2, help="drawings of a prompt")
    parser.add_argument("--drawing-steps", type=int, default=15)
    options = parser.parse_args()
    options.minutes = None
    unknown = [name for name in options.subjects if not (SUBJECTS / name / "subject.toml").exists()]
    if unknown:
        parser.error(f"no subject {', '.join(unknown)} in {SUBJECTS}")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / RESULTS
    done = {(row["subject"], row["method"], row["rate"], row["seed"]) for row in results(path)}
    judge = functools.cache(lambda subject: open_judge(subject, options))
    for subject, method, rate, seed in trainings([Subject.read(SUBJECTS / name) for name in options.subjects], options):
        if (subject.folder.name, method, rate, seed) in done:
            continue
        row = measure(subject, method, rate, seed, options, judge(subject))
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)
    rows = results(path)
    print(table(rows))
    print(json.dumps({"results": len(rows), "failures": sum("failure" in row for row in rows)}))


if __name__ == "__main__":
    main()
