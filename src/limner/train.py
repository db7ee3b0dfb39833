"""The loop. It takes parts, yields events, and goes on after any stop as if there had been none."""

import math
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from limner import optimize
from limner.base.model import BaseModel
from limner.data.batch import Batch, Example
from limner.device import generator
from limner.diffusion import Objective
from limner.errors import UserError
from limner.events import Done, Event, Saved, Step
from limner.files import atomic_path
from limner.methods.method import Method, loss_of


class BatchSource(Protocol):
    """Batches as a pure function of a number, counted from 0, of examples of the subject and perhaps of others."""

    @property
    def examples(self) -> Sequence[Example]: ...

    def at(self, step: int) -> Batch: ...


@dataclass(frozen=True)
class Plan:
    """How to train. A step is an optimizer step of `gradient_accumulation` batches.

    learning_rate: None for the optimizer's own. max_grad_norm: gradients are scaled down to it.
    objective: what the loss is made of. save_every: steps between saved states, in `state_dir`;
    without a folder nothing is saved.
    """

    steps: int
    state_dir: Path | None = None
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
    model: BaseModel, batches: BatchSource, methods: Sequence[Method], plan: Plan
) -> Generator[Event, None, None]:
    """Attach the methods, train to `plan.steps`, detach; goes on from the state in `plan.state_dir` if there is one.

    Everything random is a function of the seed and the step, and the global generators are not touched: a resumed run
    gives what an unbroken one would, bit for bit, whatever its reader did between two events. Closing the generator,
    or an interrupt, saves the state. Raises UserError when the loss is no longer finite; the state saved last is kept.
    """
    run = _Run(model, methods, plan)
    try:
        run.restore()
        while run.step < plan.steps:
            began = time.perf_counter()
            loss = run.advance(batches)
            yield Step(run.step, loss, run.optimizer.param_groups[0]["lr"], time.perf_counter() - began)
            if plan.state_dir and (run.step % plan.save_every == 0 or run.step == plan.steps):
                yield Saved(run.step, run.save(plan.state_dir))
        yield Done(run.step, f"all {plan.steps} steps are done")
    except (GeneratorExit, KeyboardInterrupt):
        if plan.state_dir and run.step > run.saved_step:
            run.save(plan.state_dir)
        raise
    finally:
        run.close()


class _Run:
    """The state of a run: parameters, optimizer, loss scale, and how many steps are done."""

    def __init__(self, model: BaseModel, methods: Sequence[Method], plan: Plan) -> None:
        optimize.known(plan.schedule, optimize.SCHEDULES, "schedule")
        self.model, self.methods, self.plan = model, methods, plan
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

    def advance(self, batches: BatchSource) -> float:
        """One optimizer step; returns the mean loss of its batches. The model is untouched if that is not finite."""
        plan = self.plan
        total = 0.0
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
        return total

    def save(self, folder: Path) -> Path:
        """Write the state in one piece: whenever the process dies, a whole state is there."""
        state = {
            "step": self.step,
            "base": self.model.fingerprint,
            "optimizer_name": self.plan.optimizer,
            "methods": [dict(method.state()) for method in self.methods],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        path = _state_path(folder)
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                torch.save(state, stream)
        except (OSError, RuntimeError) as error:
            problem = error if isinstance(error, OSError) else error.__context__  # torch hides the one behind its own
            if not isinstance(problem, OSError):
                raise
            raise UserError(f"cannot write {path}: {problem.strerror}; make room and resume the run") from error
        self.saved_step = self.step
        return path

    def restore(self) -> None:
        """Go on from the saved state, if there is one. Raises UserError if it does not fit."""
        folder = self.plan.state_dir
        if folder is None or not _state_path(folder).exists():
            return
        path = _state_path(folder)
        for left_over in folder.glob(f".{path.stem}.*"):  # of a process that died while it wrote
            left_over.unlink()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            found = (state["base"], state["optimizer_name"], len(state["methods"]))
        except Exception as error:
            raise UserError(f"the saved state {path} cannot be read; remove it to start anew") from error
        if found != (self.model.fingerprint, self.plan.optimizer, len(self.methods)):
            raise UserError(
                f"the saved state {path} is of another base, optimizer or method; choose another run folder"
            )
        for method, tensors in zip(self.methods, state["methods"], strict=True):
            method.load_state(tensors)
        peaks = [group["peak"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, peak in zip(self.optimizer.param_groups, peaks, strict=True):
            group["peak"] = peak  # a rate that was lowered since is meant
        self.scaler.load_state_dict(state["scaler"])
        self.step = self.saved_step = state["step"]

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


def _state_path(folder: Path) -> Path:
    return folder / "state.pt"
