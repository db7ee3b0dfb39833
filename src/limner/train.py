"""The loop. It takes parts, yields events, and goes on after any stop as if there had been none."""

import math
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from limner import optimize
from limner.base.model import BaseModel
from limner.data.batch import Batch, Example
from limner.device import generator
from limner.diffusion import Objective
from limner.errors import UserError
from limner.events import Done, Event, Saved, Step, Warned
from limner.files import atomic_path, is_whole_archive, sync_folder
from limner.methods.method import Method, loss_of
from limner.temporary import clear

VERSION = 2  # of the states; 1 had no log in them
STATE, BEFORE, DAMAGED = "state.pt", "before.pt", "damaged.pt"


class BatchSource(Protocol):
    """Batches as a pure function of a number, counted from 0, of examples of the subject and perhaps of others."""

    @property
    def examples(self) -> Sequence[Example]: ...

    def at(self, step: int) -> Batch: ...


class StepLog(Protocol):
    """Takes down the steps. What it has is part of every state, so that the two never say different things."""

    def append(self, step: Step) -> None: ...

    def state(self) -> Tensor:
        """All there is so far, on disk by now, and again as one tensor to write it from."""

    def restore(self, step: int, state: Tensor | None) -> str | None:
        """Take back what lies after a step; a sentence if what came before it had to be written again."""


@dataclass(frozen=True)
class Plan:
    """How to train. A step is an optimizer step of `gradient_accumulation` batches.

    learning_rate: None for the optimizer's own. max_grad_norm: gradients are scaled down to it.
    objective: what the loss is made of. save_every: steps between saved states, in `state_dir`;
    without a folder nothing is saved. run: tells this run's states from those of others.
    """

    steps: int
    state_dir: Path | None = None
    run: str = ""
    save_every: int = 50
    seed: int = 0
    optimizer: str = "adamw"
    learning_rate: float | None = None
    schedule: str = "cosine"
    warmup_steps: int = 0
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    max_grad_norm: float = 1.0
    objective: Objective = field(default_factory=Objective)


def train(
    model: BaseModel, batches: BatchSource, methods: Sequence[Method], plan: Plan, log: StepLog | None = None
) -> Generator[Event, None, None]:
    """Attach the methods, train to `plan.steps`, detach; goes on from the state in `plan.state_dir` if there is one.

    Two states are kept: of a damaged one the run goes on from that before it, with a warning.

    Everything random is a function of the seed and the step, and the global generators are not touched: a resumed run
    gives what an unbroken one would, bit for bit, whatever its reader did between two events. Closing the generator,
    or an interrupt, saves the state. Raises UserError when the loss is no longer finite; the state saved last is kept.
    """
    run = _Run(model, methods, plan, log)
    try:
        for sentence in run.restore():
            yield Warned(sentence)
        while run.step < plan.steps:
            yield run.advance(batches)
            if plan.state_dir and (run.step % plan.save_every == 0 or run.step == plan.steps):
                before = run.saved_step
                yield Saved(run.step, run.save(plan.state_dir), before)
        yield Done(run.step, f"all {plan.steps} steps are done")
    except (GeneratorExit, KeyboardInterrupt):
        if plan.state_dir and run.step > run.saved_step:
            run.save(plan.state_dir)
        raise
    finally:
        run.close()


class _Run:
    """The state of a run: parameters, optimizer, loss scale, and how many steps are done."""

    def __init__(self, model: BaseModel, methods: Sequence[Method], plan: Plan, log: StepLog | None) -> None:
        optimize.known(plan.schedule, optimize.SCHEDULES, "schedule")
        self.model, self.methods, self.plan, self.log = model, methods, plan, log
        self.loss = loss_of(methods)
        self.step = self.saved_step = 0
        try:
            groups = [group for method in methods for group in method.attach(model, plan.seed)]
            self.optimizer = optimize.make_optimizer(plan.optimizer, groups, plan.learning_rate)
            if plan.gradient_checkpointing:
                model.denoiser.enable_gradient_checkpointing()
        except BaseException:
            self.close()
            raise
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group.parameters]
        # Float16 has no room below 6e-8, where the gradients of activations live, so the loss is scaled up for the
        # backward pass; by how much depends on the base, so the scale is found as it goes. Elsewhere this does nothing.
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=model.dtype == torch.float16)

    def advance(self, batches: BatchSource) -> Step:
        """One optimizer step, with the mean loss of its batches. The model is untouched if that is not finite."""
        plan = self.plan
        total, began = 0.0, time.perf_counter()
        for part in range(plan.gradient_accumulation):
            micro_step = self.step * plan.gradient_accumulation + part
            random = generator((plan.seed * 1_000_003 + micro_step) % 2**63)
            loss = self.loss(self.model, batches.at(micro_step), random, plan.objective)
            loss = loss / plan.gradient_accumulation
            self.scaler.scale(loss).backward()
            total += loss.item()
        optimize.set_rate(self.optimizer, plan.schedule, self.step, plan.steps, plan.warmup_steps)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, plan.max_grad_norm).item()
        # A scaled gradient that overflows is part of finding the scale: the scaler leaves that update out.
        is_searching = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if not math.isfinite(total) or not (math.isfinite(norm) or is_searching):
            raise UserError(self._not_finite())
        with _interrupts_held():  # one in the middle would leave a state that is neither this step's nor the last's
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            for method in self.methods:
                method.refresh()
            self.step += 1
            step = Step(self.step, total, self.optimizer.param_groups[0]["lr"], time.perf_counter() - began)
            if self.log is not None:  # here, for what is done and what is taken down must not come apart
                self.log.append(step)
        return step

    def save(self, folder: Path) -> Path:
        """Write the state in one piece: whenever the process dies, a whole state is there."""
        state = {
            "version": VERSION,
            "run": self.plan.run,
            "log": None if self.log is None else self.log.state(),
            "step": self.step,
            "base": self.model.fingerprint,
            "optimizer_name": self.plan.optimizer,
            "methods": [dict(method.state()) for method in self.methods],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        path = folder / STATE
        try:
            with atomic_path(path) as temporary:
                with temporary.open("wb") as stream:
                    torch.save(state, stream)
                _keep_before(folder)
            sync_folder(folder)
        except (OSError, RuntimeError) as error:
            problem = error if isinstance(error, OSError) else error.__context__  # torch hides the one behind its own
            if not isinstance(problem, OSError):
                raise
            raise UserError(f"cannot write {path}: {problem.strerror}; make room and resume the run") from error
        self.saved_step = self.step
        return path

    def restore(self) -> list[str]:
        """Go on from the saved state, if there is one; returns sentences about what was amiss. Raises UserError if it
        does not fit, or none is whole."""
        folder = self.plan.state_dir
        if folder is None:
            return []
        state, told = read_state(folder)
        if state is not None:
            self._require_fitting(state, folder / STATE)
            try:
                self._load(state)
            except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
                raise UserError(
                    f"the saved state {folder / STATE} does not fit these settings ({error}); it may be of another "
                    "version of Limner: start a new run"
                ) from error
        if self.log is not None:
            sentence = self.log.restore(self.step, None if state is None else state.get("log"))
            told += [sentence] if sentence else []
        return told

    def _load(self, state: dict[str, Any]) -> None:
        for method, tensors in zip(self.methods, state["methods"], strict=True):
            method.load_state(tensors)
        peaks = [group["peak"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, peak in zip(self.optimizer.param_groups, peaks, strict=True):
            group["peak"] = peak  # a rate that was lowered since is meant
        self.scaler.load_state_dict(state["scaler"])
        self.step = self.saved_step = state["step"]

    def _require_fitting(self, state: dict[str, Any], path: Path) -> None:
        """Raise UserError if a state is of something else than this run."""
        if state.get("version", 0) > VERSION:
            raise UserError(f"the saved state {path} was written by a newer Limner; update this one to go on with it")
        if self.plan.run and state.get("run") and state["run"] != self.plan.run:
            raise UserError(f"the saved state {path} is of another run; put this run's own back, or start a new run")
        found = (state["base"], state["optimizer_name"], len(state["methods"]))
        if found != (self.model.fingerprint, self.plan.optimizer, len(self.methods)):
            raise UserError(
                f"the saved state {path} is of another base, optimizer or method; choose another run folder"
            )

    def close(self) -> None:
        """Leave the base as it was."""
        for method in self.methods:
            method.detach()
        if self.plan.gradient_checkpointing:
            self.model.denoiser.disable_gradient_checkpointing()

    def _not_finite(self) -> str:
        kept = f"the state of step {self.saved_step} is kept" if self.saved_step else "no state was saved yet"
        rate = self.optimizer.param_groups[0]["peak"]
        precision = ", or use --precision bf16 or fp32" if self.model.dtype == torch.float16 else ""
        return (
            f"training stopped at step {self.step + 1}: the loss is not finite; "
            f"lower the learning rate (now {rate:g}){precision}; {kept}"
        )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let an interrupt wait until the end. Python gives it to the main thread, so that others need nothing."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(came[0])


def read_state(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The state of a run on the CPU, None if it has none yet: the newest, or the one before if that is damaged; with a
    sentence in that case. Raises UserError if there are only damaged ones."""
    clear(folder, always=True)
    for left_over in folder.glob(f".{Path(STATE).stem}.*"):  # of a process that died while it wrote
        left_over.unlink()
    newest, before = folder / STATE, folder / BEFORE
    there = [path for path in (newest, before) if path.exists()]
    for path in there:
        state = _whole_state(path)
        if state is None:
            continue
        if path == newest:
            return state, []
        what = "is damaged" if newest.exists() else "is gone"
        if newest.exists():
            newest.replace(folder / DAMAGED)
        path.replace(newest)  # so that this is told once
        return state, [f"the saved state {newest} {what}; the run goes on from the one before, of step {state['step']}"]
    if there:
        raise UserError(
            f"the saved state {there[0]} is damaged and cannot be read, and no older one is whole; remove the folder "
            f"{folder} to begin again with the first step"
        )
    return None, []


def _whole_state(path: Path) -> dict[str, Any] | None:
    """What a file holds, None if it is damaged: of each of its parts the file has a checksum."""
    if not is_whole_archive(path):
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, OSError):
        raise
    except Exception:  # whatever unpickling makes of other files
        return None
    is_state = isinstance(state, dict) and {"step", "base", "optimizer_name", "methods"} <= state.keys()
    return state if is_state and isinstance(state["step"], int) and isinstance(state["methods"], list) else None


def _keep_before(folder: Path) -> None:
    """The state that is to be replaced under another name. There is a whole one under either at every moment."""
    newest, before, link = folder / STATE, folder / BEFORE, folder / f".{Path(STATE).stem}.before"
    if not newest.exists():
        return
    try:
        link.unlink(missing_ok=True)
        os.link(newest, link)
    except OSError:  # of file systems without links
        newest.replace(before)
    else:
        link.replace(before)
