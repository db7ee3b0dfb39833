"""`python -m bench.studio fuzz --cases 10000`, `... load` and `... paint`: see odd.py, load.py and paint.py.

One line of JSON at the end; what happens meanwhile goes to standard error. Exit status 1 if anything was wrong.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.studio", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fuzz = commands.add_parser("fuzz", help="odd requests from the API's schema")
    fuzz.add_argument("--cases", type=int, default=10_000, help="how many at least")
    fuzz.add_argument("--seed", type=int, default=0, help="of the cases")
    load = commands.add_parser("load", help="clients that poll and draw while a training runs")
    load.add_argument("--clients", type=int, default=50)
    load.add_argument("--seconds", type=float, default=120, help="that they do so")
    load.add_argument("--lone-seconds", type=float, default=30, help="of the training before they begin")
    paint = commands.add_parser("paint", help="how soon a browser shows each view, and what it fetches")
    paint.add_argument("--visits", type=int, default=7, help="to each view at each width, with either cache")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.command == "fuzz":
            return _fuzz(Path(folder), options.cases, options.seed)
        if options.command == "paint":
            return _paint(Path(folder), options.visits)
        return _load(Path(folder), options.clients, options.seconds, options.lone_seconds)


def _fuzz(folder: Path, cases: int, seed: int) -> int:
    from studio.served import Served

    from bench.studio import odd

    studio = Served(folder / "kept", folder / "models", **odd.ENVIRONMENT)
    began = time.monotonic()
    try:
        odd.furnish(studio)
        statuses, wrong = odd.try_all(studio.address, cases, seed, _say)
    finally:
        studio.stop()
    for line in wrong:
        _say(line)
    if wrong:
        _say(studio.log.read_text()[-20_000:])
    found = {
        "cases": statuses.total(),
        "statuses": dict(sorted(statuses.items())),
        "wrong": len(wrong),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(found))
    return 1 if wrong else 0


def _load(folder: Path, clients: int, seconds: float, lone_seconds: float) -> int:
    from studio.served import Served

    from bench.studio import load

    studio = Served(folder / "kept", folder / "models", **load.ENVIRONMENT)
    try:
        found = load.run(studio, clients, seconds, lone_seconds, _say)
    finally:
        studio.stop()
    print(json.dumps(found))
    return 1 if found["wrong"] or found["training"] != "running" else 0


def _paint(folder: Path, visits: int) -> int:
    from studio.served import Served

    from bench.studio import paint

    studio = Served(folder / "kept", folder / "models")
    try:
        found = paint.run(studio.address, visits, _say)
    finally:
        studio.stop()
    print(json.dumps(found))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
