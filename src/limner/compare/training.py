"""One method's training in a process of its own, so that its memory, its time and its end are its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.compare.split import read_note
from limner.config import METHOD_NAMES, CompareSettings, read_toml
from limner.errors import UserError, memory_advice
from limner.files import is_locked, write_text
from limner.generators import finish, retold
from limner.methods.method import find_methods
from limner.run.folder import read_line

RECORD, ARGUMENTS, ATTEMPTS, RUN = "trained.json", "arguments.json", "attempts.json", "run"
INTERRUPTED = 130
KILLED = -9  # by SIGKILL, as by a system that is out of memory
SECONDS_BETWEEN_LOOKS = 1.0
LAST_LINES = 4096  # bytes of a log

BUG = "it ended with a bug; its last lines stand above"


@dataclass(frozen=True)
class Trained:
    """A finished training.

    file: its name in the method's folder. steps: that were done; kept_step: after which the file was taken, None for
    the last. ended: why, as the training says. seconds: of its processes from start to end, those that were
    interrupted included; step_seconds: of its last one's steps. peak_memory_bytes: of its last process.
    """

    file: str
    size_bytes: int
    steps: int
    kept_step: int | None
    ended: str | None
    seconds: float
    step_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Failed:
    """Why there is no file, in the sentence that the training said."""

    reason: str


def training_arguments(method: str, images: Path, settings: CompareSettings) -> list[str]:
    """The command line of `limner train`, but for where it writes."""
    parts = METHOD_NAMES.get(method, method).split("+")
    # by "=", so that a keyword that begins with dashes is none of the options
    arguments = [str(images), f"--keyword={settings.keyword}", f"--method={method}", f"--base={settings.base}"]
    arguments += ["--prediction-type", settings.prediction_type]
    arguments += [] if settings.vae is None else ["--vae", str(settings.vae)]
    arguments += ["--seed", str(settings.seed), "--device", settings.device, "--precision", settings.precision]
    arguments += [f"--class={settings.class_word}"] if settings.class_word else []
    arguments += ["--minutes", str(settings.minutes)] if settings.minutes is not None else []
    for each in settings.train:
        table, dot, _ = each.partition("=")[0].partition(".")
        if not dot or table in parts:
            arguments += [f"--set={each}"]
    kinds = {found.kind for found in find_methods("+".join(parts)).values()}
    return arguments + (["--bundle"] if {"embedding", "lora"} <= kinds else [])  # so that one file is judged


def train_method(folder: Path, file: Path, arguments: Sequence[str], quiet: bool) -> Trained | Failed:
    """As `learn`, to its end."""
    return finish(learn(folder, file, arguments, quiet))


def learn(
    folder: Path, file: Path, arguments: Sequence[str], quiet: bool
) -> Generator[tuple[int, int], None, Trained | Failed]:
    """`limner train ARGUMENTS`, in a folder of its own: taken as it is if it is finished, gone on with if it was begun.

    Yields the steps that are done and the most that there will be, every second. Closing the generator lets the
    training save its state. Raises UserError if it was finished with other arguments, KeyboardInterrupt once the
    training has saved its state.
    """
    done, noted, run = folder / RECORD, folder / ARGUMENTS, folder / RUN
    was = read_note(noted, list) if noted.exists() else None
    if done.exists():
        if was != list(arguments):
            raise UserError(f"{folder} was trained with other settings; give another folder with --out, or remove it")
        try:
            return Trained(**read_note(done, dict))
        except TypeError as error:  # of other names
            raise UserError(f"{done} is of another version of Limner; give a new folder with --out") from error
    if was != list(arguments):  # what was begun otherwise, and failed or was stopped, is begun anew
        for left_over in (run, folder / ATTEMPTS):
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink(missing_ok=True)
        write_text(noted, json.dumps(list(arguments)) + "\n")
    while is_locked(run):  # one goes on whose comparison was killed
        yield steps_of(run)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if (run / "record.json").exists():
        command = ["resume", str(run), "--overwrite"]
    else:
        command = ["train", *arguments, "--out", str(file), "--run", str(run), "--overwrite"]
    began = time.monotonic()
    status, answer = yield from retold(running(command, quiet), lambda _: steps_of(run))
    spent = _add_attempt(folder, time.monotonic() - began)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status == KILLED:
        return Failed(f"something killed it, most likely for want of memory; {_memory_advice(arguments)}")
    if status != 0:
        return Failed(str(answer.get("error", BUG)) if status == 2 else BUG)
    trained = Trained(
        file=Path(answer["file"]).name,
        size_bytes=answer["size_bytes"],
        steps=answer["steps"],
        kept_step=answer["kept_step"],
        ended=answer["ended"],
        seconds=round(spent, 3),
        step_seconds=answer["step_seconds"],
        peak_memory_bytes=answer["peak_memory_bytes"],
    )
    write_text(done, json.dumps(asdict(trained)) + "\n")
    return trained


def _memory_advice(arguments: Sequence[str]) -> str:
    """What helps a training with this command line."""
    method = next((each.partition("=")[2] for each in arguments if each.startswith("--method=")), "")
    return memory_advice("train", METHOD_NAMES.get(method, method))


def steps_of(run: Path) -> tuple[int, int]:
    """The steps of a run that are done, as its log tells, and the most that there will be; 0 while unknown."""
    try:
        most = int(read_toml(run / "run.toml").get("steps", 0))
        with (run / "log.jsonl").open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - LAST_LINES))
            lines = [read_line(line) for line in log.read().splitlines()[1:]]
    except (UserError, OSError, ValueError, TypeError):
        return 0, 0
    return max((line["step"] for line in lines if line), default=0), most


def run_limner(arguments: Sequence[str], quiet: bool) -> tuple[int, Mapping[str, Any]]:
    """As `running`, to its end."""
    return finish(running(arguments, quiet))


def running(arguments: Sequence[str], quiet: bool) -> Generator[None, None, tuple[int, Mapping[str, Any]]]:
    """The command line in a process of its own: its exit status, and the object that --json prints.

    Yields every second. Its messages go to our stderr. If we are interrupted, the generator is closed, or we die, it is
    interrupted too, once; unless we died it is waited for.
    """
    command = [sys.executable, "-m", "limner.cli.watched", *arguments, "--json", *(["--quiet"] if quiet else [])]
    # a group of its own: a Ctrl-C at the terminal would else reach it before it can save
    group = {"process_group": 0} if os.name == "posix" else {}
    its_end, our_end = os.pipe()
    with os.fdopen(our_end, "wb") as held:  # what closes it interrupts, and our death does too
        with os.fdopen(its_end, "rb") as given:
            process = subprocess.Popen(  # type: ignore[call-overload]
                command, stdin=given, stdout=subprocess.PIPE, text=True, encoding="utf-8", **group
            )
        printed = None
        try:
            while printed is None:
                try:
                    printed, _ = process.communicate(timeout=SECONDS_BETWEEN_LOOKS)
                except subprocess.TimeoutExpired:
                    yield
        except BaseException:  # closing among them
            held.close()
            process.communicate()
            raise
    lines = printed.strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        answer = {}
    return process.returncode, answer if isinstance(answer, dict) else {}


def _add_attempt(folder: Path, seconds: float) -> float:
    """Note a process's time; returns that of all."""
    path = folder / ATTEMPTS
    times = read_note(path, list) if path.exists() else []
    write_text(path, json.dumps([*times, round(seconds, 3)]) + "\n")
    return sum(times) + seconds
