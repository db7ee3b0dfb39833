"""`limner evaluate` and `limner compare`: the figures of a file, and of several methods' files side by side."""

from collections.abc import Generator
from dataclasses import dataclass

from limner.cli.app import Interrupted
from limner.cli.opening import open_with_bar
from limner.cli.output import Bar, Output, duration, megabytes, quoted
from limner.compare import Comparison, Happening, Learning, Training, compare
from limner.config import CompareSettings, EvaluateSettings
from limner.evaluate.judge import Evaluation, Progress, iterate_evaluation
from limner.evaluate.report import Report
from limner.events import Warned
from limner.texts import display


def judge(settings: EvaluateSettings, output: Output) -> dict:
    """Draw with and without the file, and compare with real pictures."""
    asked = Evaluation.of(settings)
    for skipped in asked.skipped:
        output.warn(f"{display(skipped.path)} {skipped.reason}; it is left out")
    model = open_with_bar(settings, output)
    for warning in asked.learned.weights.warnings:
        output.warn(warning)
    report = None
    with output.progress("picture", 0) as bar:
        for each in iterate_evaluation(model, asked.learned, asked.evidence, asked.protocol, asked.clip):
            if isinstance(each, Progress):
                bar.total = each.total
                bar.at(each.done)
            else:
                report = each
    assert isinstance(report, Report)
    for line in report.lines():
        output.result(line)
    output.say(f"done in {duration(report.seconds)}")
    return report.to_dict() | {"prompt_list": list(asked.protocol.prompts)}


def compare_methods(settings: CompareSettings, output: Output) -> dict:
    """Train, judge, and show the table and the advice."""
    teller = _Teller(output)
    try:
        found = teller.follow(compare(settings, output.quiet))
    except KeyboardInterrupt:
        command = "the same limner compare command"
        raise Interrupted(f"interrupted, with what is done kept; go on with {command}", resume=command) from None
    rows = []
    for entry in found.entries:
        cells = [entry.label, "failed" if entry.score is None else f"{entry.score:.2f}"]
        kept = entry.report.fidelity.kept if entry.report and entry.report.fidelity else None
        cells.append("" if kept is None else f"{kept:.2f}")
        cost = entry.trained
        cells += [str(cost.steps), duration(cost.seconds), megabytes(cost.size_bytes)] if cost else [""] * 3
        rows.append(cells)
    name = next(entry.report.main[0] for entry in found.entries if entry.report)
    output.table(("method", name, "fidelity kept", "steps", "time", "file"), rows)
    for entry in found.entries:
        if entry.failure:
            output.warn(f"{entry.label}: {entry.failure}")
    for sentence in found.advice:
        output.result(sentence)
    output.result(f"the page: {quoted(found.page)}")
    return {"page": str(found.page)} | found.values


@dataclass
class _Teller:
    """Says how far a comparison is."""

    output: Output
    bar: Bar | None = None

    def follow(self, happenings: Generator[Happening, None, Comparison]) -> Comparison:
        try:
            while True:
                try:
                    self._tell(next(happenings))
                except StopIteration as end:
                    return end.value
        finally:
            happenings.close()
            self._close()

    def _tell(self, happening: Happening) -> None:
        if isinstance(happening, Training):
            self._close()
            self.output.say(f"training: {happening.method}")
            return
        if isinstance(happening, Warned):
            self.output.warn(happening.message)
            return
        if isinstance(happening, Learning):  # the training's own process shows it
            return
        what, progress = f"drawing with {happening.state}", happening.progress
        if self.bar is None or self.bar.what != what:
            self._close()
            self.bar = Bar(self.output, what, progress.total)
        self.bar.at(progress.done)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
