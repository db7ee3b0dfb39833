"""Whatever dies, a training goes on and comes to what an undisturbed one comes to, bit for bit."""

import json
import os
import signal

import pytest
from studio.served import Served, events_of, kill_workers, names_of, wait, workers_of
from studio.training import add_set, file_of, tensors, train

from limner.studio.control import YIELD, asked

STEPS = 12


@pytest.fixture(scope="module")
def dataset(studio: Served) -> int:
    return add_set(studio)


@pytest.fixture(scope="module")
def undisturbed(studio: Served, dataset: int) -> dict[str, bytes]:
    """What STEPS steps come to."""
    job = studio.until(train(studio, dataset, STEPS, "undisturbed"), "done", "failed")
    assert job["status"] == "done", job["error"]
    return tensors(file_of(studio, job))


def steps_of(studio: Served, number: int) -> list[int]:
    """As the run's log has them."""
    log = studio.folder / "jobs" / str(number) / "run" / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line["step"] for line in lines if "loss" in line]


def until_step(studio: Served, number: int, step: int) -> None:
    wait(lambda: max(steps_of(studio, number), default=0) >= step, 240, lambda: studio.job(number))


def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    studio: Served, dataset: int, undisturbed: dict[str, bytes]
) -> None:
    number = train(studio, dataset, STEPS, "killed-worker")
    until_step(studio, number, 4)
    kill_workers(studio)
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert names_of(studio, number).count("Began") == 2
    assert steps_of(studio, number) == list(range(1, STEPS + 1))
    assert tensors(file_of(studio, job)) == undisturbed


def test_a_killed_server_finds_the_training_that_went_on_without_it(
    studio: Served, dataset: int, undisturbed: dict[str, bytes]
) -> None:
    number = train(studio, dataset, STEPS, "killed-server")
    until_step(studio, number, 2)
    studio.kill()
    studio.start()
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert names_of(studio, number).count("Began") == 1
    assert job["progress"]["done"] == STEPS
    assert tensors(file_of(studio, job)) == undisturbed


@pytest.mark.slow
def test_what_ended_while_there_was_no_server_has_ended(studio: Served, dataset: int) -> None:
    number = train(studio, dataset, 2, "alone")
    until_step(studio, number, 1)
    studio.kill()
    wait(lambda: "Ended" in names_of(studio, number))
    studio.start()
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done"
    assert names_of(studio, number).count("Began") == 1


@pytest.mark.slow
def test_after_the_machine_went_down_the_queue_goes_on(
    studio: Served, dataset: int, undisturbed: dict[str, bytes]
) -> None:
    number = train(studio, dataset, STEPS, "machine")
    later = train(studio, dataset, 2, "later")
    until_step(studio, number, 4)
    studio.kill()
    kill_workers(studio)
    studio.start()
    assert studio.until(number, "done", "failed")["status"] == "done"
    assert tensors(file_of(studio, studio.job(number))) == undisturbed
    assert studio.until(later, "done", "failed")["status"] == "done"
    assert events_of(studio, later)[0]["time"] >= events_of(studio, number)[-1]["time"]


@pytest.mark.slow
@pytest.mark.parametrize("number_of_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped_saves_what_runs(
    studio: Served, dataset: int, undisturbed: dict[str, bytes], number_of_signal: int
) -> None:
    number = train(studio, dataset, STEPS, f"stopped-by-{int(number_of_signal)}", save_every=1000)
    until_step(studio, number, 2)
    assert studio.process is not None
    studio.process.send_signal(number_of_signal)
    studio.process.wait(timeout=40)
    wait(lambda: not workers_of(studio))
    saved = steps_of(studio, number)[-1]
    assert saved < STEPS
    assert names_of(studio, number)[-1] == "Ended"
    studio.start()
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert steps_of(studio, number) == list(range(1, STEPS + 1))
    assert tensors(file_of(studio, job)) == undisturbed


@pytest.mark.slow
def test_a_training_pauses_and_goes_on(studio: Served, dataset: int, undisturbed: dict[str, bytes]) -> None:
    number = train(studio, dataset, STEPS, "paused")
    until_step(studio, number, 2)
    studio.post(f"/api/jobs/{number}", {"ask": "pause"})
    studio.until(number, "paused")
    assert len(steps_of(studio, number)) < STEPS
    studio.post(f"/api/jobs/{number}", {"ask": "resume"})
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert tensors(file_of(studio, job)) == undisturbed


@pytest.mark.slow
def test_a_training_that_is_told_to_finish_keeps_its_best_state(studio: Served) -> None:
    dataset = add_set(studio, 7)  # enough to hold one back, by which it is judged
    watched = {"measure_every": 2, "keep": "best", "milestones": 0}
    number = train(studio, dataset, 500, "finished", **watched)
    until_step(studio, number, 5)
    studio.post(f"/api/jobs/{number}", {"ask": "finish"})
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert 0 < job["progress"]["kept_step"] <= len(steps_of(studio, number)) < 500
    assert file_of(studio, job).is_file()


@pytest.mark.slow
def test_a_training_that_is_told_to_finish_as_the_server_closes_does_so_with_the_next(studio: Served) -> None:
    number = train(studio, add_set(studio, 7), 500, "finished-later", measure_every=2, keep="best", milestones=0)
    until_step(studio, number, 3)
    workers = workers_of(studio)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # so that it sees the word only when the server's own is there too
    studio.post(f"/api/jobs/{number}", {"ask": "finish"})
    assert studio.process is not None
    studio.process.send_signal(signal.SIGINT)
    wait(lambda: asked(studio.folder / "jobs" / str(number)) == YIELD)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    studio.process.wait(timeout=60)
    assert events_of(studio, number)[-1]["status"] == "yielded"
    steps = len(steps_of(studio, number))
    studio.start()
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert 0 < job["progress"]["kept_step"] <= len(steps_of(studio, number)) <= steps + 2
    assert file_of(studio, job).is_file()


@pytest.mark.slow
def test_a_training_without_a_state_begins_again(studio: Served, dataset: int, undisturbed: dict[str, bytes]) -> None:
    number = train(studio, dataset, STEPS, "early", save_every=1000)
    wait(lambda: (studio.folder / "jobs" / str(number) / "run" / "run.toml").exists())
    kill_workers(studio)
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert tensors(file_of(studio, job)) == undisturbed


@pytest.mark.slow
def test_a_file_that_is_there_already_stays(studio: Served, dataset: int) -> None:
    first, second = (train(studio, dataset, 2, "same", seed=seed) for seed in (1, 2))
    jobs = [studio.until(number, "done", "failed") for number in (first, second)]
    assert [job["result"]["files"][0]["name"] for job in jobs] == ["Lora/same.safetensors", "Lora/same-2.safetensors"]
    assert tensors(file_of(studio, jobs[0])) != tensors(file_of(studio, jobs[1]))
    warned = [line["message"] for line in events_of(studio, second) if line["event"] == "Warned"]
    assert any("same-2" in message for message in warned)


def test_a_worker_that_dies_again_and_again_is_given_up(studio: Served, dataset: int) -> None:
    number = train(studio, dataset, STEPS, "hopeless")
    killed: set[int] = set()
    while studio.job(number)["status"] in ("queued", "running"):
        for pid in set(workers_of(studio)) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    job = studio.job(number)
    assert job["status"] == "failed"
    assert job["error"] == (
        "its worker died 5 times: something killed it; most likely the machine ran out of memory; "
        'lower "batch size" or "resolution", add "gradient checkpointing", or use "precision" bf16'
    )
    assert len(killed) >= 5
    studio.post(f"/api/jobs/{number}", {"ask": "resume"})
    assert studio.job(number)["error"] == ""
    studio.post(f"/api/jobs/{number}", {"ask": "cancel"})
    studio.until(number, "cancelled")


@pytest.mark.slow
def test_the_queue_keeps_its_order_but_for_what_goes_first(studio: Served, dataset: int) -> None:
    numbers = [train(studio, dataset, 2, f"queued-{index}") for index in range(3)]
    studio.post(f"/api/jobs/{numbers[2]}", {"ask": "first"})
    for number in numbers:
        studio.until(number, "done", "failed")
    ended = sorted(numbers, key=lambda number: studio.job(number)["ended"])
    assert ended == [numbers[0], numbers[2], numbers[1]]
    assert studio.client.post(f"/api/jobs/{numbers[0]}", json={"ask": "first"}).status_code == 400
