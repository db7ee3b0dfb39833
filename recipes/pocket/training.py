"""What the recipe's three trainings share: mixed-precision AdamW with an EMA, a schedule, resumable state, a log."""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from recipes.pocket import BUILD

torch.set_float32_matmul_precision("high")

SAVE_EVERY = 480.0  # seconds; what a killed training loses at most, and a save's share of a busy machine stays small

ADOPTED = BUILD / "adopted.json"  # what the shipped weights say of their making, where a build goes on from them


class MasterAdamW:
    """AdamW on float32 masters of bfloat16 parameters, with an exponential moving average of the masters.

    The model computes in bfloat16 throughout (on CPUs with bf16 units four to ten times the float32 rate); an update
    of a bfloat16 weight would round away, so it happens on the masters.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], weight_decay: float, ema_decay: float) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.masters = [p.detach().float().clone() for p in self.parameters]
        self.average = [m.clone() for m in self.masters]
        self.ema_decay = ema_decay
        self.optimizers = self._optimizers(weight_decay)

    def _optimizers(self, weight_decay: float) -> dict[str, torch.optim.Optimizer]:
        return {"adamw": self._adamw(self.masters, weight_decay)}

    @staticmethod
    def _adamw(masters: list[torch.Tensor], weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(masters, lr=0.0, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, lr: float, step: int) -> None:
        grads = [torch.zeros_like(m) if p.grad is None else p.grad.to(m.dtype) for p, m in self._pairs()]
        norm = torch.nn.utils.get_total_norm(grads)
        torch._foreach_mul_(grads, torch.clamp(1.0 / (norm + 1e-6), max=1.0))
        self._hand_over(grads)
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, self.masters, 1 - decay)
        self._write(self.masters)
        for parameter in self.parameters:
            parameter.grad = None

    def _hand_over(self, grads: list[torch.Tensor]) -> None:
        for master, grad in zip(self.masters, grads, strict=True):
            master.grad = grad

    def _pairs(self) -> Iterable[tuple[torch.nn.Parameter, torch.Tensor]]:
        return zip(self.parameters, self.masters, strict=True)

    @torch.no_grad()
    def _write(self, values: list[torch.Tensor]) -> None:
        torch._foreach_copy_([p.data for p in self.parameters], values)

    def use_average(self) -> None:
        """Put the averaged weights into the model, for evaluation and export."""
        self._write(self.average)

    def use_masters(self) -> None:
        self._write(self.masters)

    def state_dict(self) -> dict:
        states = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"masters": self.masters, "average": self.average} | states

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        torch._foreach_copy_(self.masters, state["masters"])
        torch._foreach_copy_(self.average, state["average"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
        self.use_masters()

    @torch.no_grad()
    def start_from(self, path: Path) -> None:
        """Go on from the averaged weights of another run's state, as a next phase of training does."""
        torch._foreach_copy_(self.average, torch.load(path, weights_only=True)["optimizer"]["average"])
        torch._foreach_copy_(self.masters, self.average)
        self.use_masters()


class MasterMuon(MasterAdamW):
    """The same with Muon (Jordan et al. 2024) for matrices and kernels, at steps of AdamW's size.

    Going on from one state of the pocket UNet on the same 200 batches of 64, at a rate of 8e-4: the last 50 steps'
    loss 0.0321 with AdamW, 0.0301 with Muon, at 0.77 times the images a second.
    """

    def _optimizers(self, weight_decay: float) -> dict[str, torch.optim.Optimizer]:
        self.flat = [_matrix(m) for m in self.masters if m.dim() > 1]
        muon = torch.optim.Muon(self.flat, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        return {"adamw": self._adamw([m for m in self.masters if m.dim() < 2], weight_decay), "muon": muon}

    def _hand_over(self, grads: list[torch.Tensor]) -> None:
        super()._hand_over(grads)
        for matrix, grad in zip(self.flat, (g for g in grads if g.dim() > 1), strict=True):
            matrix.grad = _matrix(grad)


def _matrix(weight: torch.Tensor) -> torch.Tensor:
    """A view (out, rest) of a matrix, or of a kernel that lies in memory as channels_last."""
    return (weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight).flatten(1)


def compile_blocks(*networks: torch.nn.Module) -> None:
    """Compile each block of a network by itself.

    Compiled as one graph, the decoder's input gradient comes out as zero on CPUs (torch 2.13, bfloat16); block by block
    it agrees with eager mode, and compiles in seconds.
    """
    for network in networks:
        for block in (*getattr(network, "down_blocks", ()), network.mid_block, *getattr(network, "up_blocks", ())):
            block.compile(dynamic=False)


def trapezoid(step: int, steps: int, lr: float, warmup: int = 200, decay_share: float = 0.3) -> float:
    """Linear warm-up, constant, then linear to zero over the last share: a run can be lengthened before its decay."""
    remaining = (steps - step) / (steps * decay_share)
    return lr * min(1.0, (step + 1) / warmup, remaining)


def fit(
    name: str,
    folder: Path,
    loss_of: Callable[[np.random.Generator], tuple[torch.Tensor, int]],
    optimizer: MasterAdamW,
    steps: int,
    lr: float,
    save_every: float = SAVE_EVERY,
    decay_share: float = 0.3,
) -> None:
    """Train to `steps`, going on from the state in `folder` if there is one. save_every: seconds between saves.

    `loss_of` draws a batch from the generator it is handed and returns its loss and the number of images in it; the
    generator is seeded by the step, so a resumed run sees what an unbroken one would.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state_path, log_path = folder / f"{name}.state.pt", folder / f"{name}.log.jsonl"
    with FileLock(folder / f"{name}.lock", timeout=0):  # two trainings would write over each other's states
        start = 0
        if state_path.exists():
            state = torch.load(state_path, weights_only=True)
            optimizer.load_state_dict(state["optimizer"])
            start = state["step"]
        shown = saved = time.perf_counter()
        losses: list[float] = []
        images = 0
        for step in range(start, steps):
            torch.manual_seed(step)
            loss, batch = loss_of(np.random.default_rng([len(name), step]))
            loss.backward()
            optimizer.step(trapezoid(step, steps, lr, decay_share=decay_share), step)
            losses.append(float(loss.detach()))
            images += batch
            if not np.isfinite(losses[-1]):
                raise RuntimeError(f"{name}: the loss is not finite at step {step}; the state of the last save is kept")
            done = step + 1
            now = time.perf_counter()
            due = now - saved > save_every or done == steps
            if done % 50 == 0 or due:
                line = {"step": done, "loss": float(np.mean(losses)), "images_per_second": images / (now - shown)}
                with log_path.open("a") as log:
                    log.write(json.dumps(line) + "\n")
                print(name, json.dumps(line), flush=True)
                shown, losses, images = now, [], 0
            if due:
                save_state(state_path, {"step": done, "optimizer": optimizer.state_dict()})
                saved = shown = time.perf_counter()


def save_state(path: Path, state: dict) -> None:
    """Write a state so that a kill at any moment leaves the old one or the new one, whole."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def is_done(path: Path, steps: int) -> bool:
    """Whether the training whose state is there has come to that many steps."""
    return path.exists() and torch.load(path, weights_only=True, mmap=True)["step"] >= steps


def trainings() -> list[dict]:
    """What every training came to, from its log: name, steps, images a second (median), last loss."""
    found = {row["name"]: row for row in json.loads(ADOPTED.read_text())} if ADOPTED.exists() else {}
    for path in sorted(BUILD.glob("*/*.log.jsonl"), key=lambda path: path.stat().st_mtime):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        name, rate = path.name.removesuffix(".log.jsonl"), statistics.median(x["images_per_second"] for x in lines)
        found[name] = {"name": name, "steps": lines[-1]["step"], "rate": round(rate), "loss": lines[-1]["loss"]}
    return list(found.values())
