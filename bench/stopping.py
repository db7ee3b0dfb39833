"""`python -m bench.stopping SUBJECT...`: how near the state that a training keeps by itself is to the best one.

SUBJECT is a folder of recipes/subjects, whose pictures in judge/ are put aside; or a folder of pictures with a
sample.toml that says `keyword` and `class`, or FOLDER:KEYWORD:CLASS, of which a quarter is put aside. On the others
every method trains to its full length; each milestone's state becomes a file, and `limner evaluate`'s own judge, which
the training knows nothing of, judges all of them by the pictures put aside. `best_of_all` is the state that the
training would have kept of all milestones, `by_rule` the one it would have kept had it stopped by its rule; `share` is
a state's normalised figure (likeness, or style for a style) over that of the best milestone. The best of several noisy
figures is too good by chance, so every state is drawn twice, from other noise: `elsewhere` has the figures of the kept
state and of the one that is best by one set of drawings, both by the other set, mean of both ways round. What was drawn
and judged is not done again, so a stopped bench goes on. With --runs the trainings are those of bench.methods, if it
was told `--train keep=all --train stop=never`: its seed 0 of every subject and method.

Prints one JSON line at the end.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner import run
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import ResumeSettings, TrainSettings, read_toml
from limner.data.folder import load_folder
from limner.device import choose_device, choose_dtype
from limner.evaluate.judge import Judge
from limner.evaluate.pictures import Learned
from limner.evaluate.protocol import Evidence, SubjectKind, make_protocol, subject_kind
from limner.events import Warned
from limner.files import write_text
from limner.generate import Request
from limner.run import verdict
from limner.run.curves import history_of
from limner.run.folder import Log, RunFolder
from limner.run.verdict import Measurement

ASIDE = 0.25  # of the pictures judge afterwards
DRAWING_SEEDS = (1, 2)  # of the two sets of drawings


@dataclass(frozen=True)
class Subject:
    """Pictures and what they are called. floor: what the base is told in place of it. judges: pictures put aside
    already, or None."""

    name: str
    pictures: Path
    keyword: str
    class_word: str
    kind: SubjectKind
    floor: str = ""
    judges: Path | None = None

    @staticmethod
    def read(text: str) -> "Subject":
        """A folder of recipes/subjects, with train/ and judge/; or one with sample.toml; or FOLDER:KEYWORD:CLASS."""
        place, *said = text.rsplit(":", 2) if text.count(":") >= 2 else [text]
        folder = Path(place).resolve()
        if said:
            return Subject(folder.name, folder, said[0], said[1], subject_kind(said[1]))
        if (folder / "subject.toml").exists():
            told = read_toml(folder / "subject.toml")
            kind: SubjectKind = "style" if told["kind"] == "style" else "object"
            names = told["keyword"], told["class"]
            return Subject(folder.name, folder / "train", *names, kind, told["floor"], folder / "judge")
        if (folder / "sample.toml").exists():
            told = read_toml(folder / "sample.toml")
            return Subject(folder.name, folder, told["keyword"], told["class"], subject_kind(told["class"]))
        raise SystemExit(f"{folder} has no subject.toml; write {folder}:KEYWORD:CLASS")


def split(subject: Subject, work: Path, seed: int) -> tuple[Path, Path]:
    """The folder of pictures to learn from, and that of those put aside; copies unless they lie apart already."""
    if subject.judges is not None:
        return subject.pictures, subject.judges
    learned, aside = work / "learned", work / "aside"
    pictures = load_folder(subject.pictures).pictures
    chance = random.Random(f"aside {seed}")
    chosen = set(chance.sample(range(len(pictures)), max(2, round(ASIDE * len(pictures)))))
    for number, picture in enumerate(pictures):
        target = aside if number in chosen else learned
        target.mkdir(parents=True, exist_ok=True)
        for path in (picture.path, picture.path.with_suffix(".txt")):
            if path.exists() and not (target / path.name).exists():
                shutil.copy(path, target / path.name)
    return learned, aside


def train(subject: Subject, method: str, images: Path, work: Path, options: argparse.Namespace) -> RunFolder:
    """A run of full length with a file for each milestone; goes on with one that was stopped."""
    folder = RunFolder(work / "run")
    values: dict[str, Any] = {
        "images": images,
        "keyword": subject.keyword,
        "class": subject.class_word,
        "method": method,
        "base": options.base,
        "run": folder.path,
        "out": work / f"{subject.keyword}.safetensors",
        "overwrite": True,
        "stop": "never",
        "keep": "all",
        "previews": 0,
        "seed": options.seed,
        "steps": options.steps,
        "milestones": options.milestones,
        "batch_size": options.batch_size,
        "crops": options.crops,
    }
    if not (work / "trained").exists():
        settings = TrainSettings.read({name: value for name, value in values.items() if value is not None}, "bench")
        begun = folder.settings_file.exists()
        events = run.resume(ResumeSettings(run=folder.path)) if begun else run.train(settings, {}, "bench")
        for event in events:
            if isinstance(event, Warned):
                print(f"{subject.keyword} {method}: {event.message}", file=sys.stderr)
        write_text(work / "trained", "")
    return folder


def judged(
    model: BaseModel,
    subject: Subject,
    folder: RunFolder,
    folders: tuple[Path, Path],
    work: Path,
    seed: int,
    options: argparse.Namespace,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The figure of every milestone by its step. folders: of the pictures learned from, and of those put aside.
    seed: of the drawings."""
    learned, aside = (load_folder(each).pictures for each in folders)
    request = Request("", steps=options.drawing_steps, seed=seed, count=options.count)
    protocol, evidence = make_protocol(
        Evidence(aside, learned, held_out=True),
        subject.keyword,
        subject.class_word,
        request,
        subject=subject.kind,
        rivals=(subject.floor,) if subject.floor else (),
    )
    # only the figure that counts is wanted, so the base need not draw what it takes for the others
    protocol = replace(protocol, class_prompts=(), questions=(), unrelated=protocol.unrelated[:1])
    again = "" if seed == DRAWING_SEEDS[0] else f"-{seed}"
    judge = Judge(model, evidence, protocol, work.parent / f"judge{again}")
    prepared = False
    for path in sorted(folder.states.glob("*/*.safetensors")):
        step = int(path.stem.rpartition("-")[2])
        said = work / f"reports{again}" / f"{step}.json"
        if not said.exists():
            if not prepared:
                list(judge.prepare())
                prepared = True
            figure, spread = judge.figure(Learned(path), f"{work.name}-{step}")
            found = {"normalised": figure.normalised, "deviation": spread.deviation if spread else None}
            write_text(said, json.dumps(found))
            print(f"{subject.keyword} {work.name} step {step}, seed {seed}: {figure.normalised}", file=sys.stderr)
        yield step, json.loads(said.read_text())


def by_rule(history: list[Measurement]) -> tuple[int, Measurement | None, str | None]:
    """Where the rule would have stopped, which state it would have kept, and why."""
    for count in range(1, len(history) + 1):
        reason = verdict.stop_reason(history[:count]) if history[count - 1].step else None
        if reason:
            return history[count - 1].step, verdict.best(history[:count]), reason
    return history[-1].step, verdict.best(history), None


def elsewhere(kept: int | None, sets: list[dict[int, float]]) -> dict[str, float] | None:
    """Figures of the kept state and of the best by one set of drawings, by the other set; means of both ways round."""
    if kept is None or not all(kept in figures for figures in sets):
        return None
    pairs = list(zip(sets, reversed(sets), strict=True))
    best = [other[max(figures, key=lambda step: figures[step])] for figures, other in pairs]
    return {"kept": statistics.fmean(figures[kept] for figures in sets), "best": statistics.fmean(best)}


def compare(folder: RunFolder, both: list[dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """The milestones' figures, and how near the kept states come to the best of them. both: reports of the two sets of
    drawings."""
    reports = both[0]
    sets = [{step: each["normalised"] for step, each in one.items() if each["normalised"] is not None} for one in both]
    log = Log(folder.log_file)
    history = history_of(log)
    figures = {step: report["normalised"] for step, report in reports.items()}
    known = {step: value for step, value in figures.items() if value is not None}
    best = max(known, key=lambda step: known[step], default=None)
    stopped, kept, reason = by_rule(history)
    of_all = verdict.best(history)

    def share(step: int | None) -> float | None:
        value, top = known.get(step if step is not None else -1), known.get(best if best is not None else -1)
        return value / top if value is not None and top is not None and top > 0 else None

    return {
        "milestones": [
            {
                "step": step,
                "normalised": figures[step],
                "deviation": report["deviation"],
                "online": next((each.figures for each in history if each.step == step), {}),
            }
            for step, report in sorted(reports.items())
        ],
        "best_step": best,
        "best_of_all": {"step": of_all.step if of_all else None, "share": share(of_all.step if of_all else None)},
        "by_rule": {
            "stopped_at": stopped,
            "step": kept.step if kept else None,
            "share": share(kept.step if kept else None),
            "why": reason,
        },
        "elsewhere": elsewhere(kept.step if kept else None, sets),
        "steps": log.steps[-1]["step"],
        "step_seconds": log.seconds,
        "measuring_share": log.measuring_share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="+", metavar="SUBJECT")
    parser.add_argument("--methods", default="lora,dreambooth,embedding", help="separated by commas")
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--work", type=Path, default=Path("stopping"), help="folder for everything that is made")
    parser.add_argument("--runs", type=Path, help="the folder of bench.methods whose trainings are judged")
    parser.add_argument("--steps", type=int, help="the longest training; by default Limner's own choice")
    parser.add_argument("--milestones", type=int, help="by default Limner's own choice")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--crops", type=int)
    parser.add_argument("--count", type=int, default=3, help="pictures of a prompt when judging afterwards")
    parser.add_argument("--drawing-steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = choose_device("auto")
    results = []
    for subject in map(Subject.read, options.subjects):
        place = options.work / subject.name
        folders = split(subject, place, options.seed)
        for method in options.methods.split(","):
            work = place / method
            work.mkdir(parents=True, exist_ok=True)
            if options.runs is None:
                folder = train(subject, method, folders[0], work.absolute(), options)
            else:
                folder = RunFolder(options.runs / subject.name / f"{method}-{options.seed}" / "run")
            model = open_base(options.base, device, choose_dtype("auto", device))
            both = [dict(judged(model, subject, folder, folders, work, seed, options)) for seed in DRAWING_SEEDS]
            results.append({"subject": place.name, "method": method} | compare(folder, both))
            write_text(options.work / "results.json", json.dumps(results, indent=1) + "\n")
    shares = [each["by_rule"]["share"] for each in results if each["by_rule"]["share"] is not None]
    pairs = [each["elsewhere"] for each in results if each["elsewhere"] is not None]
    whole = {
        "runs": len(results),
        "elsewhere": {what: statistics.fmean(pair[what] for pair in pairs) for what in ("kept", "best") if pairs},
        "within_3_percent": sum(share >= 0.97 for share in shares),
        "mean_share": statistics.fmean(shares) if shares else None,
        "worst_share": min(shares, default=None),
        "measuring_share": statistics.fmean(each["measuring_share"] for each in results),
        "results": results,
    }
    print(json.dumps(whole))


if __name__ == "__main__":
    main()
