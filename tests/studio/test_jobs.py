"""Jobs: given, followed, stopped, and gone on with after whatever happens."""

from pathlib import Path

from studio.served import BASE, Served

from limner.studio.control import FINISH, SKIP, YIELD, ask, asked, unask


def test_an_unknown_kind_or_setting_is_told_in_a_sentence(studio: Served) -> None:
    answer = studio.client.post("/api/jobs", json={"kind": "generate", "request": {"promt": "a fox"}})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "generate: unknown setting 'promt'; did you mean 'prompt'?"
    assert studio.client.get("/api/jobs/999").status_code == 400


def test_a_picture_is_drawn_in_a_worker(studio: Served) -> None:
    number = studio.give("generate", base=BASE, prompt="a fox", steps=2, seed=7)
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    seq = job["progress"]["preview"]
    picture = studio.client.get(f"/api/jobs/{number}/events/{seq}/file")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


def test_text_that_no_answer_could_hold_is_refused(studio: Served) -> None:
    half = '{"kind": "train", "request": {"keyword": "a", "more": {"note": "\\ud800"}}}'
    answer = studio.client.post("/api/jobs", content=half, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert studio.client.get("/api/jobs").status_code == 200


def test_the_servers_word_goes_before_a_persons_and_leaves_it(tmp_path: Path) -> None:
    ask(tmp_path, FINISH)
    ask(tmp_path, YIELD)
    assert asked(tmp_path) == YIELD
    unask(tmp_path, YIELD, SKIP)
    assert asked(tmp_path) == FINISH
    ask(tmp_path, YIELD)
    unask(tmp_path)
    assert asked(tmp_path) == ""
