"""Workers that wait, and what is said of those that died."""

import asyncio
from pathlib import Path

from limner.studio.jobs import Job, Jobs
from limner.studio.places import Places
from limner.studio.workers import Worker, Workers, last_words


def job_of(places: Places, kind: str, lane: str) -> Job:
    jobs = Jobs(places.database)
    try:
        return jobs.add(kind, lane, kind, {})
    finally:
        jobs.close()


def test_a_worker_that_waits_too_long_goes_and_its_model_with_it(tmp_path: Path) -> None:
    places = Places(tmp_path / "root", tmp_path / "models")
    places.root.mkdir()
    job = job_of(places, "generate", "draw")

    async def wait_and_go() -> tuple[Worker, Worker]:
        workers = Workers(places, seconds_idle=0.2)
        first = await workers.take(job)
        workers.leave(first, "draw")
        assert await workers.take(job) is first  # still there, and taken again
        workers.leave(first, "draw")
        seconds = await workers.end_idle()
        assert seconds is not None
        assert 0 < seconds <= 0.2
        await asyncio.sleep(0.25)
        assert await workers.end_idle() is None
        second = await workers.take(job)
        workers.leave(second, "draw")
        await workers.close()
        return first, second

    first, second = asyncio.run(wait_and_go())
    assert not first.is_alive
    assert first is not second


def test_the_last_words_are_of_the_last_job(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert "said nothing" in last_words(log)
    log.write_text("of another job\n")
    assert "said nothing" in last_words(log, log.stat().st_size)
    before = log.stat().st_size
    log.write_text("of another job\n" + "x" * 5000 + "\nMemoryError\n\n")
    assert last_words(log, before) == "the last that it said: MemoryError"
