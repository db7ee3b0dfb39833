"""What a person sees while a command works: a bar on a terminal, plain lines elsewhere, all of it on stderr."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from limner.texts import printable

SECONDS_BETWEEN_LINES = 10.0


class Output:
    """Results go to stdout, everything else to stderr; with `json`, stdout is left to the object that main prints."""

    def __init__(self, json: bool, quiet: bool) -> None:
        self.json = json
        self.quiet = quiet
        self._stderr = Console(stderr=True, highlight=False, soft_wrap=True)
        self._stdout = Console(highlight=False, soft_wrap=True)

    def say(self, message: str) -> None:
        """What happens, in passing."""
        if not self.quiet:
            self._stderr.print(_clean(message))

    def warn(self, message: str) -> None:
        self._stderr.print(f"[yellow]warning:[/] {_clean(message)}")

    def result(self, message: str) -> None:
        """What the command was called for."""
        if not self.json:
            self._stdout.print(_clean(message))

    def diff(self, name: str, before: str | None, after: str) -> None:
        """A text that changes: red and green where there are colours, - and + everywhere."""
        if self.json:
            return
        self._stdout.print(_clean(name), style="bold")
        if before is not None:
            self._stdout.print(_clean(f"- {before}"), style="red")
        self._stdout.print(_clean(f"+ {after}"), style="green")

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[Any]], title: str | None = None) -> None:
        if self.json:
            return
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*[_clean(str(cell)) for cell in row])
        self._stdout.print(table)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator["Bar"]:
        """A bar with rate and time left; the block advances it."""
        bar = Bar(self, what, total)
        try:
            yield bar
        finally:
            bar.close()

    def live(self) -> Progress | None:
        """rich's bar, where there is a terminal to draw it on."""
        if self.quiet or not self._stderr.is_terminal:
            return None
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[note]}", "time left")
        parts = [TextColumn(part) if isinstance(part, str) else part for part in columns]
        return Progress(*parts, TimeRemainingColumn(), console=self._stderr)


class Bar:
    """Progress towards a total, as a bar or as a line now and then."""

    def __init__(self, output: Output, what: str, total: int) -> None:
        self.output, self.what, self.total = output, what, total
        self._first: tuple[int, float] | None = None  # what was done at the first report, and when that was
        self._told = float("-inf")
        self._is_whole = False  # whether the end was told
        self._live = output.live()
        if self._live is not None:
            self._live.start()
            self._task = self._live.add_task(what, total=total, note="")

    def at(self, done: int, note: str = "") -> None:
        """So much of the total is done."""
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        since, began = self._first
        rate = (done - since) / max(now - began, 1e-9)
        left = ""
        if rate:
            note = f"{note}, {rate:.3g}/s".removeprefix(", ")
            left = f", {duration((self.total - done) / rate)} left" if done < self.total else ""
        if self._live is not None:
            self._live.update(self._task, completed=done, note=note)
        elif now - self._told >= SECONDS_BETWEEN_LINES or (done == self.total and not self._is_whole):
            self._told, self._is_whole = now, done == self.total
            if self.total == 1 and not done:
                self.output.say(f"{self.what} ...")  # one thing is not counted
                return
            self.output.say(f"{self.what} {done} of {self.total}{', ' if note else ''}{note}{left}")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def duration(seconds: float) -> str:
    """A time as a person says it: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def _clean(text: str) -> str:
    """Text from anywhere, fit for a terminal: on one line, without rich's markup and control characters."""
    return escape(printable(text))


def complain(message: str) -> None:
    """One line on stderr."""
    print("limner: " + printable(" ".join(message.splitlines())), file=sys.stderr)


def quoted(path: Path | str) -> str:
    """A path as one word of a command line."""
    return subprocess.list2cmdline([str(path)]) if sys.platform == "win32" else shlex.quote(str(path))
