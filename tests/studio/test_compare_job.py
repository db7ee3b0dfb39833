"""A comparison of methods as a job: paused in the midst of a training, gone on with, and its report shown safely."""

import pytest
from studio.served import BASE, Served, wait
from studio.training import add_set

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
