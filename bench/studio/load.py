"""Fifty clients that poll and draw while a training runs: what comes back, how fast, and what it costs the training.

The clients are one process, which runs beside the server, its workers and the training on the same cores. Memory is
that of the server and of its workers, at tenths of the time.
"""

import asyncio
import os
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

import limner

WORKERS = {"train": "training", "draw": "drawing"}  # by the last word of their command, the lane
POLLED = ("/sdapi/v1/progress", "/api/jobs", "/api/models", "/sdapi/v1/options", "/pages/app.js")
PROMPTS = ("a fox in the snow", "a red house", "an umbrella on a beach", "the portrait of a cat")
SECONDS_BETWEEN_POLLS = 1.0
SECONDS_WARM = 8.0  # of a training before its rate is taken
ASKS_AT_REST = 100  # of each route
ENVIRONMENT = {"OMP_NUM_THREADS": str(os.cpu_count())}  # the tests' server has one thread
TRAINING = {"steps": 100_000, "previews": 0, "milestones": 0, "measure_every": 0, "save_every": 10_000}
SECONDS_FOR_LAST = 30.0  # that pictures may come in when the time is over; who waits longer goes away
PICTURE = {"steps": 8, "width": 128, "height": 128, "cfg_scale": 7, "sampler_name": "DPM++ 2M"}


@dataclass
class Heard:
    """seconds: by route. wrong: what was no success."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    async def ask(self, client: httpx2.AsyncClient, method: str, path: str, **options: Any) -> httpx2.Response | None:
        began = time.monotonic()
        try:
            answer = await client.request(method, path, **options)
        except httpx2.HTTPError as error:
            self.wrong.append(f"{path}: {type(error).__name__} {error}")
            return None
        self.seconds[path].append(time.monotonic() - began)
        self.statuses[answer.status_code] += 1
        if answer.status_code != 200:
            self.wrong.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        return answer

    def told(self) -> dict[str, dict[str, float]]:
        """Milliseconds by route: median, 95 of 100 are below, worst."""
        return {path: _spread(values) for path, values in sorted(self.seconds.items())}


def run(studio: Any, clients: int, seconds: float, lone_seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """The figures. studio: one without jobs."""
    rest = asyncio.run(_at_rest(studio.address))
    tell("a training begins")
    number = _train(studio)
    _wait_for_steps(studio, number, SECONDS_WARM)
    began = time.time()
    time.sleep(lone_seconds)
    lone = _rate(studio, number, began, time.time())
    tell(f"alone: {lone:.2f} steps a second; {clients} clients begin")
    memory, spent = [_memory(studio)], _spent(studio)
    began = time.time()
    heard, drawn = asyncio.run(_load(studio, clients, seconds, memory))
    ended = time.time()
    cores = {name: round((value - spent.get(name, 0)) / (ended - began), 3) for name, value in _spent(studio).items()}
    loaded = _rate(studio, number, began, ended)
    status = studio.job(number)["status"]
    return {
        "clients": clients,
        "seconds": seconds,
        "requests": heard.statuses.total(),
        "statuses": dict(heard.statuses),
        "wrong": len(heard.wrong),
        "first_wrong": heard.wrong[:3],
        "pictures": drawn,
        "training": status,
        "steps_a_second": {"alone": round(lone, 3), "loaded": round(loaded, 3), "share": round(loaded / lone, 3)},
        "cores_spent": cores,
        "memory_mb": memory,
        "ms_at_rest": rest.told(),
        "ms_loaded": heard.told(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


async def _at_rest(address: str) -> Heard:
    heard = Heard()
    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        for path in POLLED:
            for _ in range(ASKS_AT_REST):
                await heard.ask(client, "GET", path)
    return heard


async def _load(studio: Any, clients: int, seconds: float, memory: list[dict[str, float]]) -> tuple[Heard, int]:
    """What the clients heard, and how many pictures came."""
    heard, until = Heard(), time.monotonic() + seconds
    drawn = 0

    async def poll(client: httpx2.AsyncClient, chance: random.Random) -> None:
        await asyncio.sleep(chance.random() * SECONDS_BETWEEN_POLLS)
        while time.monotonic() < until:
            await heard.ask(client, "GET", chance.choice(POLLED))
            await asyncio.sleep(SECONDS_BETWEEN_POLLS)

    async def draw(client: httpx2.AsyncClient, chance: random.Random) -> None:
        nonlocal drawn
        while time.monotonic() < until:
            body = PICTURE | {"prompt": chance.choice(PROMPTS), "seed": chance.randrange(2**32)}
            answer = await heard.ask(client, "POST", "/sdapi/v1/txt2img", json=body)
            if answer is not None and answer.status_code == 200:
                drawn += len(answer.json()["images"])

    async def watch() -> None:
        for _ in range(10):
            await asyncio.sleep(seconds / 10)
            memory.append(await asyncio.to_thread(_memory, studio))

    async def client(number: int) -> None:
        async with httpx2.AsyncClient(base_url=studio.address, timeout=600) as opened:
            chance = random.Random(number)
            await asyncio.gather(poll(opened, chance), draw(opened, chance))

    waiting = [asyncio.create_task(client(number)) for number in range(clients)]
    await watch()
    done, late = await asyncio.wait(waiting, timeout=SECONDS_FOR_LAST)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    return heard, drawn


def _train(studio: Any) -> int:
    """The number of a training on the built-in base with the samples, that will not end by itself."""
    number = studio.post("/api/datasets", {"name": "samples", "keyword": "zqvx", "class": "emoji"})["id"]
    for path in sorted((Path(limner.__file__).parent / "samples").glob("*.png")):
        form = [("files", (path.name, path.read_bytes(), "image/png"))]
        studio.client.post(f"/api/datasets/{number}/files", files=form).raise_for_status()
    return studio.give("train", dataset=number, keyword="zqvx", base="pocket", more=TRAINING)


def _steps(studio: Any, number: int) -> list[dict[str, Any]]:
    from limner.studio.feed import EVENTS, read_feed

    return [line for line in read_feed(studio.folder / "jobs" / str(number) / EVENTS) if line["event"] == "Step"]


def _wait_for_steps(studio: Any, number: int, seconds: float) -> None:
    """Until a training has made steps for so long. Raises RuntimeError if it ends instead."""
    while not (steps := _steps(studio, number)) or time.time() - steps[0]["time"] < seconds:
        if (job := studio.job(number))["status"] not in ("queued", "running"):
            raise RuntimeError(f"the training is {job['status']}: {job['error']}")
        time.sleep(1)


def _rate(studio: Any, number: int, began: float, ended: float) -> float:
    """Steps a second between two moments."""
    steps = [line for line in _steps(studio, number) if began <= line["time"] <= ended]
    if len(steps) < 2:
        raise RuntimeError("the training made no steps in this time")
    return (steps[-1]["step"] - steps[0]["step"]) / (steps[-1]["time"] - steps[0]["time"])


def _memory(studio: Any) -> dict[str, float]:
    """Megabytes of the server and of its workers."""
    return _of_each(studio, lambda process: process.memory_info().rss / 1e6)


def _spent(studio: Any) -> dict[str, float]:
    """Seconds of the processor that the server, its workers and these clients have had."""

    def seconds(process: psutil.Process) -> float:
        times = process.cpu_times()
        return times.user + times.system

    return _of_each(studio, seconds) | {"clients": round(seconds(psutil.Process()), 1)}


def _of_each(studio: Any, measure: Callable[[psutil.Process], float]) -> dict[str, float]:
    server = psutil.Process(studio.process.pid)
    found: dict[str, float] = {"server": measure(server)}
    for child in server.children(recursive=True):
        try:
            name = WORKERS.get(child.cmdline()[-1], "others")
            found[name] = found.get(name, 0) + measure(child)
        except psutil.Error:  # it has just ended
            continue
    return {name: round(value, 1) for name, value in found.items()}


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"median": statistics.median(ordered), "p95": ordered[int(0.95 * (len(ordered) - 1))], "worst": ordered[-1]}
    return {name: round(1000 * value, 1) for name, value in at.items()} | {"count": len(ordered)}
