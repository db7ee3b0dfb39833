"""Work on all cores: results in order, errors raised, and no process left over."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.checking.pool import Workers, in_order

PROGRAM = """
import os, time
from limner.checking.pool import in_order

def work(number):
    time.sleep(0.2)
    return os.getpid()

if __name__ == "__main__":
    for pid in in_order(work, range(2), 2):
        print(pid, flush=True)
    for pid in in_order(work, iter(lambda: time.sleep(0.1) or 1, None), 2):
        pass
"""


def square(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number * number


def reciprocal(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_things(workers: int) -> None:
    assert list(in_order(square, range(20), workers)) == [number**2 for number in range(20)]


def process(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def test_workers_stay_for_all_calls_and_go_at_the_end() -> None:
    with Workers(2) as workers:
        first, second = (set(in_order(process, range(8), workers)) for _ in range(2))
        assert first == second
        assert os.getpid() not in first
        stopped = in_order(square, range(100), workers)
        assert next(stopped) == 0
        stopped.close()
        assert list(in_order(square, [3], workers)) == [9]
    assert all(_state(pid) in ("gone", "Z") for pid in first)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_work_raises_is_raised(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(reciprocal, [1, 2, 0, 3], workers))


def test_things_are_taken_as_they_are_needed() -> None:
    taken = 0

    def things() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = in_order(square, things(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert taken < 20
    results.close()


def _state(pid: int) -> str:
    """As in /proc: Z for one that is over and not yet waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not show its processes as files")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(PROGRAM)
    program = subprocess.Popen([sys.executable, str(tmp_path / "killed.py")], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pids = [int(program.stdout.readline()) for _ in range(2)]
    time.sleep(1)
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    program.kill()
    program.wait()
    deadline = time.monotonic() + 20
    everyone = {*pids, *map(int, children)}
    while time.monotonic() < deadline and any(_state(pid) not in ("gone", "Z") for pid in everyone):
        time.sleep(0.1)
    assert {pid: _state(pid) for pid in everyone if _state(pid) not in ("gone", "Z")} == {}
