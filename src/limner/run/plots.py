"""A run's curves, drawn anew every so often while it goes on: run.html, run.png and, on request, TensorBoard's."""

import time

from limner.files import atomic_path, write_text
from limner.run.board import Board
from limner.run.chart import chart
from limner.run.curves import Story, tell
from limner.run.folder import Log, RunFolder
from limner.run.job import Job
from limner.run.page import page
from limner.run.watch import Outcome

SECONDS_BETWEEN = 15.0  # drawings of the page, where nothing was measured


class Plots:
    """What there is to look at in a run's folder. Nothing of it is read again."""

    def __init__(self, job: Job, folder: RunFolder, log: Log) -> None:
        self.job, self.folder, self.log = job, folder, log
        self._drawn_at = time.monotonic()
        self._measured = -1
        self._board: Board | None = None
        self._told = 0  # lines of the log that the board has

    def update(self) -> None:
        """Draw again if something was measured, or some time has passed."""
        if self.job.settings.tensorboard:
            self._tell_board()
        measured = len(self.log.measurements)
        if measured != self._measured or time.monotonic() - self._drawn_at > SECONDS_BETWEEN:
            self._draw(self._story(), with_chart=measured != self._measured)
            self._measured = measured

    def ended(self, outcome: Outcome) -> Outcome:
        """Draw what it came to, and pass it on."""
        if self.job.settings.tensorboard:
            self._tell_board()
        self._draw(self._story(outcome), with_chart=True)
        return outcome

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _story(self, outcome: Outcome | None = None) -> Story:
        settings = self.job.settings
        assert settings.steps is not None
        title = f"{settings.keyword} {settings.class_word}".strip() + f" ({settings.method})"
        ended, kept = (outcome.done.reason, outcome.step) if outcome else (None, None)
        return tell(title, settings.steps, self.log, settings.keep in ("best", "all"), ended, kept)

    def _draw(self, story: Story, with_chart: bool) -> None:
        write_text(self.folder.page, page(story, self.folder.path))
        if with_chart:
            with atomic_path(self.folder.chart) as temporary:
                chart(story).save(temporary, format="PNG")
        self._drawn_at = time.monotonic()

    def _tell_board(self) -> None:
        self._board = self._board or Board(self.folder.board)
        for line in self.log.lines[self._told :]:
            self._board.line(line)
        self._told = len(self.log.lines)
