"""`python -m bench.messy`: what `limner prepare` does for the result, on messy versions of held-out subjects.

Each subject of recipes/subjects is trained on as it is (clean, the ceiling), in the messy version that
recipes/faults/messy.py makes (a third there twice, some blurred, letterboxed, framed, small in a corner, turned by
EXIF, compressed), and on what `limner prepare` makes of that, all judged as bench.methods judges. Resumable likewise.
"""

import argparse
import functools
import json
import shutil
import sys
from pathlib import Path

from bench.methods import (
    RESULTS,
    ROOT,
    SUBJECTS,
    SUMMARY,
    Subject,
    note,
    open_judge,
    results,
    summary,
    train_and_judge,
)
from limner.compare.training import run_limner
from limner.files import write_text
from recipes.faults.messy import messy

VARIANTS = ("clean", "messy", "prepared")
METHOD = "lora"


def images_of(subject: Subject, variant: str, options: argparse.Namespace) -> Path:
    """The folder that a variant is trained on, made if it is not there yet. Raises SystemExit if prepare fails."""
    if variant == "clean":
        return subject.folder / "train"
    folder: Path = options.out / subject.folder.name / "data"
    untidy, prepared = folder / "messy", folder / "prepared"
    if not untidy.is_dir():
        messy(subject.folder / "train", untidy, options.seed)
    if variant == "messy":
        return untidy
    if not prepared.is_dir():
        kind = "style" if subject.kind == "style" else "object"
        words = ["--keyword", subject.keyword, "--class", subject.class_word, "--subject", kind]
        size = ["--resolution", str(options.resolution)]
        status, answer = run_limner(
            ["prepare", str(untidy), str(prepared), *words, *size, *options.prepare], quiet=False
        )
        if status != 0:
            shutil.rmtree(prepared, ignore_errors=True)
            raise SystemExit(f"limner prepare failed: {answer.get('error', 'its last lines stand above')}")
    return prepared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "messy")
    parser.add_argument("--subjects", nargs="*", default=["helicopter", "stencil"])
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the mess")
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--resolution", type=int, default=128, help="of the base, for limner prepare")
    parser.add_argument("--prepare", action="append", default=[], help="an option of limner prepare")
    parser.add_argument("--minutes", type=float, help="for each training; to its own stop by default")
    parser.add_argument("--train", action="append", default=[], help="a setting of limner train, as in steps=100")
    parser.add_argument("--count", type=int, default=3, help="drawings of a prompt")
    parser.add_argument("--drawing-steps", type=int, default=20)
    options = parser.parse_args()
    path = options.out / RESULTS
    options.out.mkdir(parents=True, exist_ok=True)
    done = {(row["subject"], row["method"], row["seed"]) for row in results(path) if "report" in row}
    subjects = [Subject.read(SUBJECTS / name) for name in options.subjects]
    judges = {subject.folder: functools.cache(functools.partial(open_judge, subject, options)) for subject in subjects}
    for seed in range(options.seeds):
        for subject in subjects:
            for variant in options.variants:
                if (subject.folder.name, variant, seed) in done:
                    continue
                images = images_of(subject, variant, options)
                judge = judges[subject.folder]
                note(path, train_and_judge(subject, images, METHOD, variant, seed, options, judge))
    write_text(options.out / SUMMARY, summary(results(path)))
    print((options.out / SUMMARY).read_text(encoding="utf-8"))
    print(json.dumps({"results": len(results(path))}), file=sys.stderr)


if __name__ == "__main__":
    main()
