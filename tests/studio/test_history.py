"""Curves of logs: thinned out, read on as they grow, and read anew when a run goes back; feeds cut and long."""

import json
from pathlib import Path

import pytest

from limner.events import Preview, Step
from limner.files import write_text
from limner.studio.feed import EVENTS, Ended, FeedReader, FeedWriter, find_event, read_feed
from limner.studio.history import MOST_POINTS, Histories, History
from limner.studio.progress import Progress


def line(step: int, loss: float) -> str:
    return json.dumps({"step": step, "loss": loss, "lr": 1e-4, "seconds": 0.1}) + "\n"


def test_a_long_curve_is_thinned_to_means_over_all_of_it(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    count = 50_000
    log.write_text("".join(line(step, step % 2) for step in range(1, count + 1)))
    points = History(log).read()["loss"]
    assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS + 1
    assert points[-1][0] == count
    assert [step for step, _ in points] == sorted({step for step, _ in points})
    assert all(value == pytest.approx(0.5, abs=0.02) for _, value in points[:-1])


def test_no_step_is_lost_or_counted_twice_however_the_curve_is_thinned(tmp_path: Path) -> None:
    for count in (1, 399, 400, 401, 402, 803, 1205, 2411):
        log = tmp_path / f"{count}.jsonl"
        log.write_text("".join(line(step, float(step)) for step in range(1, count + 1)))
        points = History(log).read()["loss"]
        before, total = 0, 0.0
        for step, mean in points:
            total += mean * (step - before)
            before = int(step)
        assert total == pytest.approx(count * (count + 1) / 2)


def test_a_log_is_read_on_and_anew_when_the_run_went_back(tmp_path: Path) -> None:
    log, histories = tmp_path / "log.jsonl", Histories()
    assert histories.of(log) == {}
    log.write_text(line(1, 1.0) + line(2, 2.0) + line(3, 3.0) + '{"step": 4, "lo')
    assert histories.of(log) == {"loss": [[1, 1.0], [2, 2.0], [3, 3.0]]}
    write_text(log, line(1, 1.0) + line(2, 9.0))  # as Log.begin does
    measured = json.dumps({"step": 2, "measured": {"likeness": 0.5, "held_out_loss": float("nan")}}) + "\n"
    with log.open("a") as stream:
        stream.write(measured)
    assert histories.of(log) == {"loss": [[1, 1.0], [2, 9.0]], "likeness": [[2, 0.5]]}


def test_a_feed_goes_on_behind_a_line_that_was_cut(tmp_path: Path) -> None:
    first = FeedWriter(tmp_path)
    first.write(Preview(3, "a dog", tmp_path / "3.png"))
    first.close()
    with (tmp_path / EVENTS).open("ab") as stream:
        stream.write(b'{"seq": 2, "time": 1.0, "event": "Pre')
    second = FeedWriter(tmp_path)
    second.write(Ended("done", result={"figure": float("inf")}))
    second.close()
    told = list(read_feed(tmp_path / EVENTS))
    assert [(each["seq"], each["event"]) for each in told] == [(1, "Preview"), (2, "Ended")]
    assert told[1]["result"] == {"figure": None}
    found = find_event(tmp_path / EVENTS, 1)
    assert found is not None
    assert found["prompt"] == "a dog"
    assert find_event(tmp_path / EVENTS, 3) is None


def test_steps_that_come_faster_than_anybody_reads_are_told_as_their_means(tmp_path: Path) -> None:
    feed = FeedWriter(tmp_path)
    for step in range(1, 10_001):
        feed.write(Step(step, float(step % 2), 1e-4, 0.001))
    feed.write(Preview(10_000, "a dog", tmp_path / "x.png"))
    feed.close()
    told = list(read_feed(tmp_path / EVENTS))
    assert len(told) < 100
    assert [each["event"] for each in told[-2:]] == ["Step", "Preview"]
    assert told[-2]["step"] == 10_000
    progress = Progress()
    for each in told:
        progress.fold(each)
    assert progress.loss == pytest.approx(0.5, abs=0.05)


def test_a_line_longer_than_what_is_read_at_once_comes_whole(tmp_path: Path) -> None:
    feed = FeedWriter(tmp_path)
    feed.write(Preview(1, "x" * 3_000_000, tmp_path / "x.png"))
    feed.write(Ended("done"))
    feed.close()
    assert [len(each.get("prompt", "")) for each in read_feed(tmp_path / EVENTS)] == [3_000_000, 0]
    assert FeedReader(tmp_path / "nothing").new() == []


def test_the_time_left_counts_from_where_an_attempt_began() -> None:
    progress = Progress()
    lines = [
        {"event": "Began"}, {"event": "Started", "steps": 100},
        *({"event": "Step", "step": step, "loss": 1.0} for step in (1, 2, 3)),
        {"event": "Began"}, {"event": "Started", "steps": 100},
        {"event": "Step", "step": 51, "loss": 1.0},
    ]  # fmt: skip
    for at, each in enumerate(lines):
        progress.fold({"seq": at + 1, "time": 10.0 * (at + 1)} | each)
    assert progress.seconds_left is None  # one step tells nothing
    progress.fold({"seq": 20, "time": 100.0, "event": "Step", "step": 52, "loss": 1.0})
    assert progress.seconds_left == pytest.approx(48 * 20.0)
    assert progress.seconds == pytest.approx(40.0 + 40.0)
    progress.fold({"seq": 21, "time": 101.0, "event": "Step"})  # of a later version
