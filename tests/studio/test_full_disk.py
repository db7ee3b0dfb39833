"""A real disk that is full: what is said, that nothing is lost, and that the queue goes on when there is room."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from studio.served import BASE, Served, names_of, wait, workers_of
from studio.training import add_set, file_of, train

STEPS = 40
DISK = "size=80m"


@pytest.fixture(scope="module")
def studio(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio whose own folder is a small disk of its own; the models lie elsewhere."""
    root = tmp_path_factory.mktemp("small")
    kept, models = root / "kept", root / "models"
    kept.mkdir()
    (models / BASE).parent.mkdir(parents=True)
    (models / BASE).hardlink_to(shelf / BASE)
    command = ["mount", "-t", "tmpfs", "-o", DISK, "limner", str(kept)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by the machine's owner only")
    try:
        (kept / "cache").mkdir()
        shutil.copy(shelf.with_name("library.sqlite"), kept / "cache")
        served = Served(kept, models)
        yield served
        served.stop()
    finally:
        subprocess.run(["umount", "-l", str(kept)], check=True)


@contextmanager
def full(studio: Served) -> Iterator[None]:
    """The disk filled to its last byte."""
    filler = studio.folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while stream.write(b"\0" * size):
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


def test_what_cannot_be_kept_is_refused_in_a_sentence_and_the_rest_is_answered(studio: Served) -> None:
    with full(studio):
        for path, body in (("/api/datasets", {"name": "x" * 100}), ("/api/jobs", {"kind": "hash", "request": {}})):
            statuses = {studio.client.post(path, json=body).status_code for _ in range(30)}
            assert statuses <= {201, 400, 507}, statuses
        answer = studio.client.post("/api/datasets", json={"name": "more"})
        assert answer.status_code in (400, 507), answer.text
        assert "make room" in answer.json()["detail"] or "No space" in answer.json()["detail"]
        assert str(studio.folder) not in answer.text
        assert studio.get("/api/jobs") is not None
        assert "make room" in studio.client.get("/api/models").json()["detail"]  # its index is on the same disk
    assert studio.post("/api/datasets", {"name": "again"})["name"] == "again"


@pytest.mark.slow
def test_a_training_waits_for_room_and_goes_on_by_itself(studio: Served) -> None:
    dataset = add_set(studio)
    number = train(studio, dataset, STEPS, "patient")
    later = train(studio, dataset, 1, "later")
    wait(lambda: studio.job(number)["progress"]["what"] == "step", 240, lambda: studio.job(number))
    with full(studio):
        wait(lambda: not workers_of(studio), 240, lambda: studio.job(number))
        assert studio.job(number)["error"] == studio.job(later)["error"] != ""
        assert "the disk is full" in studio.job(number)["error"]
    for each in (number, later):
        job = studio.until(each, "done", "failed", seconds=400)
        assert (job["status"], job["error"]) == ("done", "")
        assert file_of(studio, job).is_file()
    assert names_of(studio, number).count("Began") == 2
