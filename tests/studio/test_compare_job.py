"""A comparison of methods as a job: paused in the midst of a training, gone on with, and its report shown safely."""

import json

import pytest
from studio.served import BASE, Served, kill_workers, names_of, wait
from studio.training import add_set

from limner.compare.training import steps_of
from limner.files import is_locked

SMALL = {
    "steps": 4, "batch_size": 1, "resolution": 64, "crops": 0, "precision": "fp32", "previews": 0, "milestones": 0,
    "measure_every": 0,
}  # fmt: skip


@pytest.mark.slow
def test_a_comparison_pauses_goes_on_and_reports(studio: Served) -> None:
    number = studio.give(
        "compare", dataset=add_set(studio, 6), keyword="--zqvx", base=BASE, methods="lora,embedding", count=2,
        drawing_steps=2, prompts=["a --zqvx"], more=SMALL | {"lora": {"rank": 2}} | {"steps": 40},
    )  # fmt: skip
    assert studio.client.get(f"/api/jobs/{number}/report.html").status_code == 404
    wait(lambda: studio.job(number)["progress"]["what"] == "training lora", 120, lambda: studio.job(number))
    wait(lambda: studio.job(number)["progress"]["done"] > 0, 120, lambda: studio.job(number))
    studio.post(f"/api/jobs/{number}", {"ask": "pause"})
    assert studio.until(number, "paused", "failed")["status"] == "paused"
    studio.post(f"/api/jobs/{number}", {"ask": "resume"})
    job = studio.until(number, "done", "failed", seconds=300)
    assert job["status"] == "done", job["error"]
    assert [method["failure"] for method in job["result"]["methods"]] == [None, None]
    page = studio.client.get(f"/api/jobs/{number}/report.html")
    assert page.headers.get_list("content-security-policy") == [page.headers["content-security-policy"]]
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "zqvx" in page.text
    assert studio.get(f"/api/jobs/{number}/report.json")["keyword"] == "--zqvx"


@pytest.mark.slow
def test_a_comparison_whose_worker_is_killed_goes_on_in_another(studio: Served) -> None:
    number = studio.give(
        "compare", dataset=add_set(studio, 6), keyword="zqvx", base=BASE, methods="lora", count=1, drawing_steps=1,
        prompts=["a zqvx"], more=SMALL | {"lora": {"rank": 2}} | {"steps": 400},
    )  # fmt: skip
    run = studio.folder / "jobs" / str(number) / "comparison" / "lora" / "run"
    wait(lambda: steps_of(run)[0] > 1, 300, lambda: studio.job(number))
    kill_workers(studio)
    wait(lambda: not is_locked(run), 60)  # its training has saved its state and ended, or the next one has not begun
    wait(lambda: names_of(studio, number).count("Began") == 2, 120, lambda: studio.job(number))
    before = max(steps_of(run)[0], 1)
    wait(lambda: steps_of(run)[0] > before, 300, lambda: studio.job(number))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    studio.post(f"/api/jobs/{number}", {"ask": "cancel"})
    assert studio.until(number, "cancelled", "done")["status"] == "cancelled"
