"""The loop: resumed, interrupted, accumulated, in every precision, and stopped in time."""

import dataclasses
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training import examples, losses, run, same, snapshot

from limner import diffusion
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.data.batch import Batch, Batches
from limner.device import generator
from limner.errors import UserError
from limner.events import Done, Saved, Step, Warned
from limner.methods.lora import LoRA, LoRAConfig
from limner.train import Plan, read_state, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny_folder(flat_folder: Path) -> Path:
    """No file is written that a program would read: any network will do."""
    return flat_folder


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({}, torch.float32),
        pytest.param({"optimizer": "prodigy", "schedule": "constant"}, torch.float32, marks=pytest.mark.slow),
        ({"schedule": "linear", "warmup_steps": 3, "gradient_accumulation": 2}, torch.bfloat16),
        ({}, torch.float16),
    ],
    ids=["adamw", "prodigy", "accumulated bfloat16", "float16"],
)
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(
    tiny_folder: Path, tmp_path: Path, settings: dict, dtype: torch.dtype
) -> None:
    plan = Plan(steps=4, state_dir=tmp_path / "a", save_every=2, **settings)
    unbroken_events, unbroken = run(open_base(tiny_folder, CPU, dtype), plan)

    broken = dataclasses.replace(plan, state_dir=tmp_path / "b")
    model = open_base(tiny_folder, CPU, dtype)
    stream = train(model, Batches(examples(model), 2, seed=0), [LoRA(LoRAConfig(rank=4))], broken)
    seen = [next(stream) for _ in range(4)]
    stream.close()  # after the third step: the second was saved, the third is saved now
    assert [type(event) for event in seen] == [Step, Step, Saved, Step]
    torch.manual_seed(99)  # the global generator is nobody's concern
    resumed_events, resumed = run(open_base(tiny_folder, CPU, dtype), broken)

    assert losses(seen + resumed_events) == losses(unbroken_events)
    assert same(resumed, unbroken)
    assert any(tensor.abs().max() > 0 for name, tensor in unbroken.items() if name.endswith("lora_up"))


def test_an_interrupt_amid_an_update_saves_the_whole_step(tiny_base: BaseModel, tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # of a shell's background jobs it is to be ignored

    class Interrupted(LoRA):
        def refresh(self) -> None:
            super().refresh()
            signal.raise_signal(signal.SIGINT)

    stream = train(
        tiny_base,
        Batches(examples(tiny_base), 2, seed=0),
        [Interrupted(LoRAConfig(rank=4))],
        Plan(steps=4, state_dir=tmp_path, save_every=4),
    )
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    again, _ = run(tiny_base, Plan(steps=4, state_dir=tmp_path, save_every=4))
    assert [event.step for event in again if isinstance(event, Step)] == [2, 3, 4]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # as before


def test_events_and_the_files_they_tell_of(tiny_base: BaseModel, tmp_path: Path) -> None:
    events, _ = run(tiny_base, Plan(steps=5, state_dir=tmp_path / "state", save_every=2, schedule="constant"))
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3, 4, 5]
    assert [(event.before, event.step) for event in events if isinstance(event, Saved)] == [(0, 2), (2, 4), (4, 5)]
    assert isinstance(events[-1], Done)
    assert all(event.lr == 1e-3 and event.seconds > 0 for event in events if isinstance(event, Step))
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["before.pt", "state.pt"]
    again, _ = run(tiny_base, Plan(steps=5, state_dir=tmp_path / "state"))
    assert [type(event) for event in again] == [Done]


def test_schedules_reach_the_optimizer(tiny_base: BaseModel) -> None:
    def rates(schedule: str) -> list[float]:
        plan = Plan(steps=6, schedule=schedule, warmup_steps=2, learning_rate=0.3)
        return [event.lr for event in run(tiny_base, plan)[0] if isinstance(event, Step)]

    assert rates("constant") == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3, 0.3])
    assert rates("linear") == pytest.approx([0.1, 0.2, 0.3, 0.225, 0.15, 0.075])
    assert rates("cosine") == pytest.approx([0.1, 0.2, 0.3, 0.3 * 0.853553, 0.15, 0.3 * 0.146447], rel=1e-5)


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 1e-2), ("prodigy", None)])
def test_training_learns(tiny_base: BaseModel, optimizer: str, rate: float | None) -> None:
    def error() -> float:
        """Mean loss over fixed noise, so that what two states differ by is the model alone."""
        whole = Batches(examples(tiny_base), 6, seed=0).at(0)
        with torch.no_grad():
            return sum(float(diffusion.loss(tiny_base, whole, generator(seed), None)) for seed in range(8)) / 8

    lora = LoRA(LoRAConfig(rank=4))
    before = error()
    run(tiny_base, Plan(steps=50, optimizer=optimizer, learning_rate=rate, schedule="constant"), [lora], batch_size=3)
    LoRA.apply(tiny_base, lora.weights())
    assert error() < before - 0.005


def test_an_accumulated_step_is_the_mean_of_its_batches(tiny_base: BaseModel) -> None:
    still = Plan(steps=6, learning_rate=1e-30)
    single = losses(run(tiny_base, still)[0])
    accumulated = losses(run(tiny_base, dataclasses.replace(still, steps=2, gradient_accumulation=3))[0])
    assert accumulated == pytest.approx([sum(single[:3]) / 3, sum(single[3:]) / 3], rel=1e-5)


def test_checkpointing_changes_nothing_but_memory(tiny_base: BaseModel) -> None:
    plain_events, plain = run(tiny_base, Plan(steps=3))
    events, tensors = run(tiny_base, Plan(steps=3, gradient_checkpointing=True))
    assert losses(events) == losses(plain_events)
    assert same(tensors, plain)
    assert not tiny_base.networks["unet"].is_gradient_checkpointing


def test_the_base_and_the_global_generator_are_left_alone(tiny_base: BaseModel) -> None:
    before, random = snapshot(tiny_base), torch.get_rng_state()
    run(tiny_base, Plan(steps=2), [LoRA(LoRAConfig(rank=4, layers="all", text_encoder=True))], live_text=True)
    assert same(snapshot(tiny_base), before)
    assert torch.equal(torch.get_rng_state(), random)


def test_the_text_encoder_learns_when_asked(tiny_base: BaseModel) -> None:
    _, tensors = run(tiny_base, Plan(steps=2), [LoRA(LoRAConfig(rank=4, text_encoder=True))], live_text=True)
    ups = {name: t for name, t in tensors.items() if "text_encoder" in name and name.endswith("lora_up")}
    assert len(ups) == 12
    assert all(tensor.abs().max() > 0 for tensor in ups.values())


def test_a_reader_that_uses_the_model_between_steps_changes_nothing(tiny_base: BaseModel) -> None:
    _, expected = run(tiny_base, Plan(steps=3))
    lora = LoRA(LoRAConfig(rank=4))
    for _ in train(tiny_base, Batches(examples(tiny_base), 2, seed=0), [lora], Plan(steps=3)):
        with torch.no_grad():
            undo = LoRA.apply(tiny_base, lora.weights(), 0.5, 0.5)
            latents = torch.randn(1, 4, 8, 8)
            tiny_base.predict(latents, torch.tensor([500]), tiny_base.encode_prompts(["a cat"]))
            undo()
    assert same({f"0.{name}": tensor for name, tensor in lora.weights().tensors.items()}, expected)


class Poisoned(Batches):
    """Latents that are not numbers from the fourth batch on."""

    def at(self, step: int) -> Batch:
        batch = super().at(step)
        return dataclasses.replace(batch, latents=batch.latents * float("nan")) if step >= 3 else batch


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(
    tiny_base: BaseModel, tmp_path: Path
) -> None:
    before = snapshot(tiny_base)
    lora = LoRA(LoRAConfig(rank=4))
    plan = Plan(steps=6, state_dir=tmp_path, save_every=2)
    with pytest.raises(UserError, match=r"step 4: the loss is not finite; lower .* the state of step 2 is kept"):
        list(train(tiny_base, Poisoned(examples(tiny_base), 2, seed=0), [lora], plan))
    assert same(snapshot(tiny_base), before)
    assert all(tensor.isfinite().all() for tensor in lora.weights().tensors.values())
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 2
    _, healed = run(tiny_base, plan)
    assert same(healed, run(tiny_base, Plan(steps=6))[1])


def test_a_rate_far_too_high_ends_in_a_sentence(tiny_base: BaseModel) -> None:
    with pytest.raises(UserError, match=r"lower the learning rate \(now 1e\+20\); no state was saved yet"):
        run(tiny_base, Plan(steps=30, learning_rate=1e20, schedule="constant"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adam"}, "no optimizer 'adam'; use adamw"),
        ({"schedule": "cosin"}, "no schedule 'cosin'; use cosine"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(tiny_base: BaseModel, settings: dict, message: str) -> None:
    before = snapshot(tiny_base)
    with pytest.raises(UserError, match=message):
        run(tiny_base, Plan(steps=1, **settings))
    assert same(snapshot(tiny_base), before)
    assert not any("forward" in module.__dict__ for module in tiny_base.networks["unet"].modules())


def test_states_that_do_not_fit_are_refused(tiny_base: BaseModel, tmp_path: Path) -> None:
    plan = Plan(steps=2, state_dir=tmp_path)
    run(tiny_base, plan)
    longer = dataclasses.replace(plan, steps=3)
    with pytest.raises(UserError, match="other layers or ranks"):
        run(tiny_base, longer, [LoRA(LoRAConfig(rank=8))])
    with pytest.raises(UserError, match="another base, optimizer or method"):
        run(tiny_base, dataclasses.replace(longer, optimizer="prodigy"))
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read"):
        run(tiny_base, longer)


@pytest.fixture(scope="module")
def two_states(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of states of a run that saved one after its second step and one after its fourth."""
    folder = tmp_path_factory.mktemp("run") / "state"
    run(open_base(tiny_folder, CPU, torch.float32), Plan(steps=4, state_dir=folder, save_every=2, run="one"))
    return folder


def flip(path: Path) -> None:
    """Change one bit of the largest tensor."""
    with zipfile.ZipFile(path) as parts:
        start = max(parts.infolist(), key=lambda part: part.file_size).header_offset
    data = bytearray(path.read_bytes())
    name, extra = struct.unpack_from("<HH", data, start + 26)
    data[start + 30 + name + extra + 8] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "one bit": flip,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "another archive": lambda path: torch.save([1, 2], path),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_state_there_is_one_before(two_states: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(two_states, tmp_path / "state"))
    DAMAGES[damage](folder / "state.pt")
    state, (sentence,) = read_state(folder)
    assert state is not None
    assert state["step"] == 2
    what = "is gone" if damage == "gone" else "is damaged"
    assert sentence.endswith(f"state.pt {what}; the run goes on from the one before, of step 2")
    assert read_state(folder)[1] == []  # it is said once
    if damage != "gone":
        DAMAGES[damage](folder / "state.pt")
        with pytest.raises(UserError, match=r"state\.pt is damaged and cannot be read, and no older one is whole"):
            read_state(folder)


def test_from_the_state_before_it_goes_on_bit_for_bit(two_states: Path, tiny_base: BaseModel, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(two_states, tmp_path / "state"))
    plan = Plan(steps=4, state_dir=folder, save_every=2, run="one")
    _, whole = run(tiny_base, plan)
    flip(folder / "state.pt")
    events, again = run(tiny_base, plan)
    assert [type(event) for event in events] == [Warned, Step, Step, Saved, Done]
    assert same(again, whole)


def test_states_of_other_runs_and_versions_are_told_apart(
    two_states: Path, tiny_base: BaseModel, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(two_states, tmp_path / "state"))
    plan = Plan(steps=6, state_dir=folder, run="another")
    with pytest.raises(UserError, match="is of another run"):
        run(tiny_base, plan)
    plan = dataclasses.replace(plan, run="one")
    state = torch.load(folder / "state.pt", weights_only=True)
    torch.save(state | {"version": 99}, folder / "state.pt")
    with pytest.raises(UserError, match="written by a newer Limner"):
        run(tiny_base, plan)
    torch.save(state | {"optimizer": {"state": {}, "param_groups": []}}, folder / "state.pt")
    with pytest.raises(UserError, match="does not fit these settings"):
        run(tiny_base, plan)


def test_there_is_a_whole_state_at_every_moment_of_saving(
    two_states: Path, tiny_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every renaming, linking and removal is a place to die at."""
    calls = ("rename", "replace", "link", "unlink")
    moments = 0
    for moment in range(20):
        folder = Path(shutil.copytree(two_states, tmp_path / f"{moment}"))
        with monkeypatch.context() as patch:
            left = [moment]
            for name in calls:
                patch.setattr(os, name, _dying(getattr(os, name), left))
            try:
                run(tiny_base, Plan(steps=5, state_dir=folder, save_every=5, run="one"))
            except _Died:
                moments += 1
            else:
                break
        state, _ = read_state(folder)
        assert state is not None
        assert state["step"] >= 2
    assert moments > 2


class _Died(BaseException):
    pass


def _dying(call: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    """A call of the system's before which the process dies once `left` others are done."""

    def done(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise _Died
        return call(*arguments, **named)

    return done


def test_a_full_disk_ends_in_a_sentence_and_keeps_the_last_state(tiny_base: BaseModel, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="the system cannot bound a file's size")
    run(tiny_base, Plan(steps=1, state_dir=tmp_path))
    before = (tmp_path / "state.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*state\.pt: .*; make room and resume"):
            run(tiny_base, Plan(steps=2, state_dir=tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert (tmp_path / "state.pt").read_bytes() == before


RUN = """
import sys, torch
from pathlib import Path
from limner.base.open import open_base
from limner.train import Plan
from training import run
model = open_base(sys.argv[1], torch.device("cpu"), torch.float32)
Path(sys.argv[2]).mkdir(exist_ok=True)
_, tensors = run(model, Plan(steps=12, state_dir=Path(sys.argv[2]), save_every=1))
torch.save(tensors, sys.argv[3])
"""


def test_killed_at_any_moment_it_goes_on(tiny_folder: Path, tiny_base: BaseModel, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", RUN, str(tiny_folder), str(tmp_path / "state"), str(tmp_path / "out.pt")]
    process = subprocess.Popen(command, cwd=Path(__file__).parent, env=environment)
    while process.poll() is None and not (tmp_path / "state" / "state.pt").exists():
        time.sleep(0.02)
    time.sleep(0.15)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out.pt").exists()
    (tmp_path / "state" / ".state.left.pt").write_bytes(b"half")
    _, resumed = run(tiny_base, Plan(steps=12, state_dir=tmp_path / "state", save_every=1))
    assert same(resumed, run(tiny_base, Plan(steps=12))[1])
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["before.pt", "state.pt"]
