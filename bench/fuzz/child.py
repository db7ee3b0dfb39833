"""One process that runs cases of one kind, under limits, and writes down every find: `python -m bench.fuzz.child`."""

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

LIMIT_BYTES = 400 * 2**20  # of addresses, beyond what the libraries take: a picture may have 89 million pixels
LIMIT_SECONDS = 10  # for one case
WOUNDS = (1, 1, 1, 2, 3, 6)
CANARY = "ran"  # the file that a mutated program would write
# What nothing may do that reads a file or a text. A pickle's own machinery tells of itself by `pickle.find_class`.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "exec",
             "compile", "ctypes.dlopen", "socket.connect", "socket.getaddrinfo", "os.remove", "os.rename", "os.mkdir",
             "shutil.rmtree", "webbrowser.open", "code.__new__")  # fmt: skip


class Watch:
    """Counts cases and collects finds: exceptions, forbidden acts, too much memory, and slow cases."""

    def __init__(self, kind: Any, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.cases = self.refused = 0
        self.slowest = 0.0
        self.finds: dict[str, str] = {}
        self.acts: list[str] = []
        self.armed = False
        for encoding in ("cp437", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):  # zipfile's and json's
            "".encode(encoding)
        for seed in kind.seeds():  # the libraries import what they need, before imports are watched
            kind.run(seed, folder)
        self.at_start = peak_bytes()
        sys.addaudithook(self.hear)
        signal.signal(signal.SIGALRM, _too_long)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.armed and (event in FORBIDDEN or (event == "import" and arguments[0] not in sys.modules)):
            self.acts.append(f"{event} {str(arguments[:1])[:80]}")

    def case(self, data: bytes) -> None:
        """Run one; anything but a good end is noted under what and where it was, once each."""
        (self.folder / "current").write_bytes(data)
        self.cases += 1
        began = time.monotonic()
        self.armed = True
        signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
        try:
            self.kind.run(data, self.folder)
        except BaseException as error:  # that is what is looked for
            self.armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            where = [frame for frame in traceback.extract_tb(error.__traceback__) if "limner" in frame.filename]
            place = f"{Path(where[-1].filename).name}:{where[-1].lineno}" if where else "?"
            self.find(f"{type(error).__name__} at {place}", data, f"{error}\n{traceback.format_exc()}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.armed = False
        self.slowest = max(self.slowest, time.monotonic() - began)
        if self.acts:
            self.find(f"did {self.acts[0]}", data, "\n".join(self.acts))
            self.acts.clear()
        if Path(CANARY).exists() or (self.folder / CANARY).exists():
            self.find("ran code", data, "the canary file was written")

    def find(self, what: str, data: bytes, told: str) -> None:
        if what not in self.finds:
            name = f"find-{self.kind.name}-{len(self.finds)}"
            (self.folder / name).write_bytes(data)
            (self.folder / f"{name}.txt").write_text(f"{what}\n{told}", errors="replace")
            self.finds[what] = name

    def report(self, seconds: float) -> None:
        told = {
            "kind": self.kind.name,
            "cases": self.cases,
            "seconds": round(seconds, 1),
            "slowest_seconds": round(self.slowest, 2),
            "memory_mb": (peak_bytes() - self.at_start) >> 20,
            "finds": self.finds,
        }
        (self.folder / "report.json").write_text(json.dumps(told))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT_SECONDS} s")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES,) * 2)


def spoiled(kind: Any, corpus: list[bytes], cases: int, random: Random) -> Iterator[bytes]:
    """Examples with a few wounds each."""
    for _ in range(cases):
        data = random.choice(corpus)
        for _ in range(random.choice(WOUNDS)):
            data = kind.mutate(random, data)
        yield data


def plain(watch: Watch, cases: int, seed: int) -> None:
    """Random wounds, the same for the same seed."""
    for data in spoiled(watch.kind, watch.kind.seeds(), cases, Random(seed)):
        watch.case(data)


def guided(watch: Watch, atheris: Any, cases: int, seed: int, began: float) -> None:
    """atheris keeps what reaches lines that nothing reached before, and wounds that further. Does not return."""
    corpus = watch.folder / "corpus"
    corpus.mkdir()
    for at, data in enumerate(watch.kind.seeds()):
        (corpus / f"{at}").write_bytes(data)

    def mutated(data: bytes, most: int, number: int) -> bytes:
        random = Random(number)
        if random.random() < 0.1:
            return atheris.Mutate(data, most)
        for _ in range(random.choice(WOUNDS)):
            data = watch.kind.mutate(random, data)
        return data[:most]

    def one(data: bytes) -> None:
        watch.case(data)
        if watch.cases >= cases:
            watch.report(time.monotonic() - began)
            os._exit(0)

    arguments = [f"-seed={seed}", f"-timeout={3 * LIMIT_SECONDS}", "-rss_limit_mb=0", "-max_len=40000", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], one, custom_mutator=mutated)
    atheris.Fuzz()


@contextmanager
def _instrumented(engine: str) -> Iterator[Any]:
    if engine == "plain":
        yield None
        return
    import atheris

    with atheris.instrument_imports(include=["limner"]):
        yield atheris


def main(engine: str, name: str, cases: int, seed: int, folder: Path) -> None:
    with _instrumented(engine) as atheris:
        from bench.fuzz.kinds import KINDS
    watch = Watch(KINDS[name], folder)
    limit_memory()
    began = time.monotonic()
    if atheris is None:
        plain(watch, cases, seed)
        watch.report(time.monotonic() - began)
    else:
        guided(watch, atheris, cases, seed, began)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
