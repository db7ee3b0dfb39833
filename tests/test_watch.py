"""Trainings that are judged as they run: not disturbed by it, stopped and kept by what it finds, resumed exactly."""

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from training import small_run

from limner import run
from limner.cli import main
from limner.config import ResumeSettings, read_training
from limner.errors import UserError
from limner.evaluate import milestone
from limner.events import Chosen, Done, Event, Exported, Kept, Measured, Started, Step, Warned
from limner.formats import inspect
from limner.run import verdict, watch
from limner.run.folder import Log


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watch, "SAMPLER_STEPS", 1)  # the tiny base draws nothing in more of them either
    monkeypatch.delenv("LIMNER_MODELS", raising=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def values(tmp_path: Path, tiny_folder: Path, cache: Path) -> dict[str, Any]:
    """Settings of a training of six steps on four pictures of seven, measured after every other step."""
    watched = {"held_out": 3, "measure_every": 2, "milestones": 2, "save_every": 2}
    moved = {"learning_rate": 0.05, "lora": {"rank": 2}, "file_precision": "fp32"}
    return small_run(tmp_path / "photos", [(90, 70)] * 7, tiny_folder, cache, **watched, **moved)


def begin(values: dict[str, Any], **changes: Any) -> Any:
    settings, tables = read_training(values | changes, "test")
    return run.train(settings, tables)


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def card(events: list[Event]) -> dict[str, Any]:
    found = inspect(of(events, Exported)[-1].path).run_card
    assert found is not None
    return found


def tensors(events: list[Event]) -> dict[str, str]:
    """The SHA-256 of the tensors of the files."""
    return {each.path.name: str(inspect(each.path).autov3) for each in of(events, Exported)}


@pytest.mark.parametrize(
    ("method", "tables"),
    [
        pytest.param("lora", {"lora": {"rank": 2, "text_encoder": True}}, marks=pytest.mark.slow),
        pytest.param(
            "lora", {"lora": {"rank": 2}, "optimizer": "prodigy", "learning_rate": 1.0}, marks=pytest.mark.slow
        ),
        ("pivotal", {"lora": {"rank": 2}, "embedding": {"vectors": 1}}),
        ("full", {"gradient_checkpointing": True, "learning_rate": 0.001}),
    ],
    ids=["text", "prodigy", "pivotal", "full"],
)
def test_watching_changes_nothing_of_what_is_learned(
    values: dict[str, Any], method: str, tables: dict[str, Any]
) -> None:
    if method == "full":
        del values["lora"]
    watched = list(begin(values, method=method, out="a/x.safetensors", **tables))
    alone = list(
        begin(values, method=method, out="b/x.safetensors", run="b/run", measure_every=0, milestones=0, **tables)
    )
    assert {event.name for event in of(watched, Measured)} >= {"frozen_loss", "held_out_loss", "near_copies"}
    assert not of(alone, Measured)
    assert [each.loss for each in of(watched, Step)] == [each.loss for each in of(alone, Step)]
    assert [*tensors(watched).values()] == [*tensors(alone).values()]


def test_what_is_measured_and_where_it_goes(values: dict[str, Any]) -> None:
    events = list(begin(values))
    by_step: dict[int, set[str]] = {}
    *measured, share = of(events, Measured)
    assert share.name == "measuring_share"
    assert 0 < share.value < 1
    for event in measured:
        by_step.setdefault(event.step, set()).add(event.name)
    assert sorted(by_step) == [0, 2, 3, 4, 6]
    scalars = {"frozen_loss", "held_out_loss", *(f"held_out_loss_{number}" for number in range(1, 5))}
    assert by_step[2] == by_step[4] == scalars
    assert by_step[0] == scalars | {"binding", "prediction_drift"}
    assert by_step[3] >= by_step[0] | {"near_copies"}
    first = {event.name: event.value for event in of(events, Measured) if event.step == 0}
    assert first["prediction_drift"] == 0
    last = {event.name: event.value for event in of(events, Measured) if event.step == 6}
    assert last["prediction_drift"] > 0
    folder = of(events, Started)[0].folder
    log = Log(folder / "log.jsonl")
    assert [(line["step"], set(line["measured"])) for line in log.measurements] == list(by_step.items())
    assert len(log.steps) == 6
    assert len(list((folder / "milestones").glob("*.png"))) == 3 * 6
    with Image.open(folder / "milestones" / "000003-4.png") as picture:
        assert picture.info["parameters"].startswith("zqvx dog on a red background\nSteps: 1, ")


def test_held_out_pictures_are_not_learned_from(values: dict[str, Any], tmp_path: Path) -> None:
    events = list(begin(values))
    folder = of(events, Started)[0].folder
    record = json.loads((folder / "record.json").read_text())
    learned = {source["sha256"] for source in record["sources"]}
    unseen = {source["sha256"] for source in record["held_out"]}
    assert (len(learned), len(unseen)) == (4, 3)
    assert card(events)["images_sha256"] == sorted(learned)
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / record["held_out"][0]["file"])
    with pytest.raises(UserError, match="changed since the run began"):
        list(run.resume(ResumeSettings(run=folder)))


def script(monkeypatch: pytest.MonkeyPatch, likeness: dict[int, float], **more: float) -> None:
    """Let milestones come out with these likenesses by step, for the decisions to be foreseen; so nothing is drawn
    for them, and the base's own pictures are shown again."""
    plain = verdict.Measurement.__init__

    def scripted(self: verdict.Measurement, step: int, figures: dict[str, float]) -> None:
        figures = figures | ({"likeness": likeness[step], "near_copies": 0.0} | more if step in likeness else {})
        plain(self, step, figures)

    monkeypatch.setattr(verdict.Measurement, "__init__", scripted)
    monkeypatch.setattr(milestone.Judge, "__call__", lambda judge: milestone.Drawn(judge.before, {"near_copies": 0.0}))


def test_the_best_state_is_kept_not_the_last(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    short = tensors(list(begin(values, steps=4, schedule="constant", warmup_steps=0, out="s/x.safetensors", run="s")))
    values |= {"milestones": 3, "keep": "best", "schedule": "constant", "warmup_steps": 0}
    script(monkeypatch, {2: 0.2, 4: 0.9, 6: 0.3})
    events = list(begin(values, out="x.safetensors"))
    (kept,) = of(events, Kept)
    assert kept.step == 4
    assert "likeness 0.90" in kept.reason
    assert tensors(events) == short
    assert card(events)["figures"]["kept"]["step"] == 4
    assert card(events)["figures"]["kept"]["figures"]["likeness"] == 0.9
    folder = of(events, Started)[0].folder
    assert [path.name for path in (folder / "kept").iterdir()] == ["0000004.pt"]
    before = Path("x.safetensors").read_bytes()
    again = list(run.resume(ResumeSettings(run=folder)))  # to no effect
    assert not of(again, Step)
    assert Path("x.safetensors").read_bytes() == before


def test_every_milestone_can_be_a_file(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, {2: 0.2, 4: 0.9, 6: 0.3})
    events = list(begin(values, milestones=3, keep="all"))
    folder = of(events, Started)[0].folder
    *states, final = of(events, Exported)
    assert [each.path.relative_to(folder).as_posix() for each in states] == [
        f"states/Lora/zqvx-{step:06d}.safetensors" for step in (2, 4, 6)
    ]
    cards = [inspect(each.path).run_card or {} for each in states]
    assert [card["figures"]["kept"]["figures"]["likeness"] for card in cards] == [0.2, 0.9, 0.3]
    assert inspect(final.path).autov3 == inspect(states[1].path).autov3
    again = list(run.resume(ResumeSettings(run=folder)))
    assert of(again, Exported) == of(events, Exported)


LIKENESS = dict(enumerate([0.1, 0.5, 0.9, 0.7, 0.7, 0.7, 0.95], 1))


def stopping(values: dict[str, Any], **changes: Any) -> Any:
    """A run of at most seven steps, of which each is a milestone."""
    return begin(values, steps=7, stop="auto", keep="best", measure_every=1, milestones=7, **changes)


def test_it_stops_by_itself_and_says_why(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, LIKENESS, frozen_loss=0.1)
    events = list(stopping(values))
    assert [event.step for event in of(events, Step)] == [1, 2, 3, 4, 5, 6]
    (done,) = of(events, Done)
    assert done.step == 6
    assert "stopped at step 6 of at most 7: likeness rose no further" in done.reason
    assert of(events, Kept)[0].step == 3
    assert card(events)["figures"]["kept"]["last_step"] == 6
    again = list(run.resume(ResumeSettings(run=of(events, Started)[0].folder)))
    assert not of(again, Step)
    assert of(again, Kept)[0].step == 3


@pytest.mark.parametrize(
    ("where", "save_every"),
    [
        pytest.param((Started, 1), 1, marks=pytest.mark.slow),
        pytest.param((Step, 2), 3, marks=pytest.mark.slow),
        pytest.param((Measured, 20), 1, marks=pytest.mark.slow),
        ((Step, 4), 3),
        pytest.param((Step, 5), 1, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_decides_as_an_unbroken_one(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, where: tuple[type, int], save_every: int
) -> None:
    script(monkeypatch, LIKENESS, frozen_loss=0.1)
    whole = list(stopping(values, out="a/x.safetensors", run="a/run"))
    events = stopping(values, out="b/x.safetensors", run="b/run", save_every=save_every)
    kind, count = where
    for event in events:
        count -= isinstance(event, kind)
        if not count:
            break
    events.close()
    rest = list(run.resume(ResumeSettings(run=Path("b/run"))))
    assert of(rest, Kept) == of(whole, Kept)
    assert of(rest, Done) == of(whole, Done)
    assert tensors(rest) == tensors(whole)
    logs = [Log(Path(name, "run", "log.jsonl")).measurements for name in "ab"]
    assert [(a["step"], a["measured"]) for a in logs[0]] == [(b["step"], b["measured"]) for b in logs[1]]


def test_a_given_length_is_kept_to(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, LIKENESS, frozen_loss=0.1)
    events = list(begin(values, steps=7, measure_every=1, milestones=7))
    assert len(of(events, Step)) == 7
    assert not of(events, Kept)
    assert "kept" not in card(events)["figures"]
    chosen = {event.name: event.value for event in of(events, Chosen)}
    assert (chosen["stop"], chosen["keep"]) == ("never", "last")


def test_warnings_come_once(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, dict.fromkeys(range(1, 7), 0.5), near_copies=1.0)
    events = list(begin(values, measure_every=1, milestones=6))
    (copies,) = [event.message for event in of(events, Warned) if "nearly repeat" in event.message]
    assert "100% of the pictures drawn at step 1" in copies


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"held_out": 7}, "leaves nothing to learn from"),
        ({"stop": "auto", "measure_every": 0, "milestones": 0}, "needs something to judge by"),
        ({"held_out": -1}, "held_out"),
        (
            {"method": "slider", "images": None, "lora": {}, "slider": {"positive": "a", "negative": "b"}},
            "leave --held-out out",
        ),
    ],
)
def test_what_will_not_do_is_told(values: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    values = {name: value for name, value in (values | changes).items() if value not in (None, {})}
    with pytest.raises(UserError, match=said):
        list(begin(values))


def test_the_command_line_says_what_was_kept(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, LIKENESS, frozen_loss=0.1)
    values |= {"steps": 7, "stop": "auto", "measure_every": 1, "milestones": 7}
    flat = [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if name not in ("images", "lora")]
    assert main(["train", values["images"], *flat, "--rank", "2", "--json"]) == 0
    told = capsys.readouterr()
    answer = json.loads(told.out.splitlines()[-1])
    assert (answer["steps"], answer["most_steps"], answer["kept_step"]) == (6, 7, 3)
    assert answer["ended"].startswith("stopped at step 6 of at most 7")
    assert 0 < answer["measured"]["measuring_share"] < 1
    assert "the file is the state after step 3: it is the best of 6 measured: likeness 0.90" in told.err
    assert re.search(r"step 1: (likeness|near-copies)", told.err)


@pytest.mark.slow
def test_the_page_stands_alone(values: dict[str, Any]) -> None:
    values |= {"keyword": "<zq&vx>", "previews": 1}
    events = list(begin(values, milestones=3, keep="best"))
    folder = of(events, Started)[0].folder
    text = (folder / "run.html").read_text(encoding="utf-8")
    assert "&lt;zq&amp;vx&gt; dog (lora)" in text
    assert "<zq" not in text
    assert "http-equiv" not in text  # it is over
    assert not re.search(r"https?:|<script|@import|url\(", text)
    sources = re.findall(r'src="([^"]+)"', text)
    assert len(sources) == 4 * 6 + 1
    assert all((folder / source).is_file() for source in sources)
    titles = re.findall(r"<h2>([^<]+)</h2>", text)
    assert titles == ["Losses", "Held-out loss by noise", "Drawn pictures", "Side effects", "Pictures"]
    assert f"The file is the state after step {of(events, Kept)[0].step}" in text
    for line in re.findall(r'points="([^"]+)"', text):
        assert all(0 <= float(x) <= 420 and 0 <= float(y) <= 220 for x, y in (p.split(",") for p in line.split()))
    with Image.open(folder / "run.png") as picture:
        assert picture.size[0] == 1120
        assert len(set(picture.convert("RGB").getdata())) > 10


def test_a_run_that_is_not_watched_has_its_curve_too(values: dict[str, Any]) -> None:
    events = begin(values, steps=3, measure_every=0, milestones=0)
    for event in events:
        if isinstance(event, Step) and event.step == 2:
            break
    events.close()
    folder = next((Path.cwd() / "runs").iterdir())
    assert "Step 1 of at most 3" in (folder / "run.html").read_text()
    rest = list(run.resume(ResumeSettings(run=folder)))
    text = (folder / "run.html").read_text()
    assert re.findall(r"<h2>([^<]+)</h2>", text) == ["Losses"]
    assert of(rest, Done)[0].reason.capitalize() in text


@pytest.mark.slow
def test_tensorboard_is_asked_for_by_name(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        list(begin(values, tensorboard=True))
    assert not Path("runs").exists()


def test_tensorboard_gets_every_line(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert Path(folder).name == "tensorboard"
            assert purge_step == 0

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append(("closed", 0.0, 0))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    events = list(begin(values, tensorboard=True, milestones=0))
    steps = of(events, Step)
    assert [each for each in written if each[0] == "loss"] == [("loss", each.loss, each.step) for each in steps]
    measured = [(each.name, each.value, each.step) for each in of(events, Measured) if each.name != "measuring_share"]
    assert [each for each in written if each[0] not in ("loss", "learning_rate", "closed")] == measured
    assert written[-1][0] == "closed"
