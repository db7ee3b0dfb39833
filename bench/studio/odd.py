"""Requests that the API's own schema leads to, fitting and not: none may be answered by a fault of the server's."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

import limner

# Nothing that a case does may reach the person's own keys or another machine.
ENVIRONMENT = {
    "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    "LIMNER_CIVITAI": "http://127.0.0.1:9",
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "HF_HUB_DOWNLOAD_TIMEOUT": "1",
}
SECONDS = 60.0  # that an answer may take
# What waits for a worker that draws or trains: who sends it goes away after a moment, as impatient people do.
WAITING = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/train/embedding", "/sdapi/v1/create/embedding")
SECONDS_FOR_WAITING = 2.0
MOST_ROUNDS = 20
GONE = 0  # in place of a status
CASES_BETWEEN_CLEARINGS = 200


def operations(address: str) -> list[Any]:
    """Those of a server's schema."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    found: Iterable[Any] = schema.get_all_operations()
    return [result.ok() for result in found]


def try_all(
    address: str, cases: int, first: int, tell: Callable[[str], None] = lambda line: None
) -> tuple[Counter[int], list[str]]:
    """Send so many cases or a few more, shared out evenly: (how often each status came, what was wrong).

    What takes nothing has few cases, so there are rounds until there are enough. first: the seed of the first round.
    """
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    known = operations(address)
    session = requests.Session()
    rounds = 0
    while statuses.total() < cases and rounds < MOST_ROUNDS:
        each = max(1, math.ceil((cases - statuses.total()) / (2 * len(known))))
        for operation in known:
            for mode in GenerationMode:
                before = statuses.total()
                _try(operation, mode, each, first + rounds, lambda case: _send(case, address, session, statuses, wrong))
                tell(f"{operation.label} {mode.value}: {statuses.total() - before} cases, {len(wrong)} wrong so far")
        rounds += 1
    return statuses, wrong


def _try(operation: Any, mode: GenerationMode, each: int, first: int, send: Callable[[Any], None]) -> None:

    @seed(first)
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        send(case)

    with contextlib.suppress(Unsatisfiable):
        run()


def _send(case: Any, address: str, session: requests.Session, statuses: Counter[int], wrong: list[str]) -> None:
    """Streams end when they have begun."""
    waits = case.operation.path in WAITING
    try:
        asked = requests.Request(**_plain(case.as_transport_kwargs(base_url=address)))
        with session.send(
            session.prepare_request(asked), stream=True, timeout=(SECONDS, SECONDS_FOR_WAITING if waits else SECONDS)
        ) as answer:
            statuses[answer.status_code] += 1
            is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
            text = "" if is_stream else answer.text
            if answer.status_code >= 500 or "Traceback" in text:
                wrong.append(f"{answer.status_code} {text[:200]}: {case.as_curl_command()[:2000]}")
    except (requests.exceptions.InvalidHeader, UnicodeEncodeError):  # the client itself does not send it
        return
    except requests.ReadTimeout as error:
        statuses[GONE] += 1
        if not waits:
            wrong.append(f"no answer in {SECONDS:.0f} s: {error}: {case.as_curl_command()[:2000]}")
    except requests.RequestException as error:
        wrong.append(f"{type(error).__name__} {str(error)[:200]}: {case.as_curl_command()[:2000]}")
    if statuses.total() % CASES_BETWEEN_CLEARINGS == 0:
        clear(address, session)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    known = ("method", "url", "headers", "files", "data", "json", "params", "auth", "cookies")
    return {name: value for name, value in values.items() if name in known}


def furnish(studio: Any) -> None:
    """Give a studio something that requests can be about: a set of two pictures, and a job that has failed."""
    number = studio.post("/api/datasets", {"name": "odd"})["id"]
    pictures = sorted((Path(limner.__file__).parent / "samples").glob("*.png"))[:2]
    forms = [("files", (path.name, path.read_bytes(), "image/png")) for path in pictures]
    studio.client.post(f"/api/datasets/{number}/files", files=forms).raise_for_status()
    studio.give("generate", base="nothing")


def clear(address: str, session: requests.Session) -> None:
    """Cancel the jobs that came of it, so that the machine is not busy with them."""
    for job in session.get(f"{address}/api/jobs", timeout=SECONDS).json():
        if job["status"] in ("queued", "running", "paused"):
            session.post(f"{address}/api/jobs/{job['id']}", json={"ask": "cancel"}, timeout=SECONDS)
