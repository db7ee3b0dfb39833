"""A training judged as it runs: measured between two steps, stopped when nothing is gained, the best state kept.

Nothing here changes what is learned: random numbers come from generators of their own, no gradient is recorded, and
the model is left as it was found. What is decided follows from the measurements in the log alone, so that a resumed
run decides as an unbroken one does.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any

from limner.data.batch import Example
from limner.errors import UserError
from limner.evaluate.milestone import GUIDANCE, SAMPLER_STEPS, Judge
from limner.evaluate.online import Probes, as_answered, make_probe, some
from limner.evaluate.pictures import encode, real_square
from limner.evaluate.protocol import UNRELATED, without_keyword
from limner.events import Done, Event, Measured, Saved, Warned
from limner.generate import Request, generate_each
from limner.infotext import save_png
from limner.methods.method import Method
from limner.run import verdict
from limner.run.folder import Log, RunFolder
from limner.run.job import Job
from limner.run.kept import Kept
from limner.run.schedule import Schedule
from limner.run.verdict import Measurement
from limner.train import BatchSource, Plan
from limner.train import train as loop
from limner.weights import Weights

MOST_LEARNED = 100  # pictures among which near-copies are looked for


@dataclass(frozen=True)
class Outcome:
    """What a training came to. step: of the state that becomes the file. why: a clause, of that choice; None where
    there was none to make. figures: of that state, as far as it was measured."""

    done: Done
    step: int
    weights: list[Weights]
    why: str | None
    figures: dict[str, float]


class Watch:
    """The measurements of one run."""

    def __init__(self, job: Job, folder: RunFolder, log: Log, rehearses: bool = False) -> None:
        """rehearses: whether it is only tried out, on few images by few sampler steps, in the memory of the whole."""
        self.job, self.folder, self.log = job, folder, log
        self.schedule = Schedule.of(job.settings)
        self.kept = Kept(folder.kept)
        self.stopped: str | None = None
        self._rehearses = rehearses
        self._probes: Probes | None = None
        self._judge: Judge | None = None
        self._warned: set[str] = set()
        self._unlogged = 0.0  # seconds of measuring that no line of the log has yet

    @property
    def keeps(self) -> bool:
        """Whether another state than the last may become the file."""
        return self.job.settings.keep in ("best", "all")

    @property
    def history(self) -> list[Measurement]:
        return [Measurement(line["step"], line["measured"]) for line in self.log.measurements]

    def begin(self, batches: BatchSource, plan: Plan) -> Generator[Event, None, Plan]:
        """Ask the base what it is to be compared with, and measure the state that the run goes on from if its
        measurement is due and not in the log. The plan that comes back has no steps left if the run had stopped."""
        if not self.schedule.at_measurements:
            return plan
        began = time.perf_counter()
        yield from self._ask_the_base(batches.examples)
        methods = self.job.new_methods()
        with closing(loop(self.job.model, batches, methods, replace(plan, steps=0), self.log)) as events:
            restored = next(events)
            while not isinstance(restored, Done):
                yield restored  # of a state or a log that was damaged
                restored = next(events)
            history = self.history
            for count in range(1, len(history) + 1):
                self._warned |= {kind for kind, _ in verdict.warnings(history[:count])}
            self._unlogged = time.perf_counter() - began
            yield from self.after(restored.step, methods)
            if history and history[-1].step == restored.step:
                self._decide(history)
        return replace(plan, steps=restored.step) if self.stopped else plan

    def after(self, step: int, methods: Sequence[Method]) -> Iterator[Event]:
        """Measure the state after a step if it is time, keep it if it is the best so far, and decide to stop."""
        if step not in self.schedule.at_measurements or any(each.step == step for each in self.history):
            return
        figures, problem = self._measure(step)
        history = self.history
        self._decide(history)
        self._keep(step, methods)
        for name, value in figures.items():
            yield Measured(step, name, value)
        if problem:
            yield Warned(problem)
        for kind, sentence in verdict.warnings(history):
            if kind not in self._warned:
                self._warned.add(kind)
                yield Warned(sentence)

    def _decide(self, history: Sequence[Measurement]) -> None:
        """Whether to stop after the last measurement."""
        if self.job.settings.stop == "auto" and 0 < history[-1].step < self.schedule.steps:
            self.stopped = verdict.stop_reason(history)

    def rehearse(self) -> tuple[float, float]:
        """Seconds of measuring losses, and of a milestone's images by a single sampler step; 0 for what is not done."""
        if self._probes is None:
            return 0.0, 0.0
        began = time.perf_counter()
        self._probes.losses(self.job.model)
        self._probes.side_effects(self.job.model)
        measured = time.perf_counter()
        if self._judge is not None:
            with suppress(UserError):  # images that are no numbers, as after a few steps they may be
                self._judge()
        return measured - began, time.perf_counter() - measured if self._judge is not None else 0.0

    def saved(self, event: Saved) -> None:
        """The run goes on from this state or from that before it: of the kept states no others can be wanted still than
        the best ones of these times, and of now."""
        history = self.history
        then = [verdict.best([each for each in history if each.step <= step]) for step in (event.before, event.step)]
        wanted = {each.step for each in (*then, verdict.best(history)) if each is not None}
        if self.job.settings.keep != "all":
            self.kept.prune(wanted)

    def finish(self, done: Done, methods: Sequence[Method]) -> Outcome:
        """Choose the state that becomes the file. Raises UserError if it cannot be read again."""
        if self.stopped:
            done = Done(done.step, f"stopped at step {done.step} of at most {self.schedule.steps}: {self.stopped}")
        history = [each for each in self.history if each.step <= done.step]
        chosen = verdict.best(history) if self.keeps else None
        last = next((each.figures for each in history if each.step == done.step), {})
        if chosen is None or chosen.step == done.step:
            self.kept.prune(self._states(set()))
            why = None if chosen is None else f"no earlier state was better: {verdict.in_words(chosen.figures)}"
            return Outcome(done, done.step, [method.weights() for method in methods], why, last)
        weights = self.kept.load(chosen.step)
        self.kept.prune(self._states({chosen.step}))
        among = len(verdict.candidates(history))
        why = f"it is the best of {among} measured: {verdict.in_words(chosen.figures)}"
        if last:
            why += f"; at step {done.step} {verdict.in_words(last)}"
        return Outcome(done, chosen.step, weights, why, chosen.figures)

    def files(self) -> Iterator[Outcome]:
        """With `keep` all, after `finish`: every milestone as a result of its own."""
        for measured in verdict.candidates(self.history) if self.job.settings.keep == "all" else []:
            if measured.step in self.kept.steps():
                done = Done(measured.step, f"a milestone of a run of {self.schedule.steps} steps")
                yield Outcome(done, measured.step, self.kept.load(measured.step), done.reason, measured.figures)

    def _states(self, wanted: set[int]) -> set[int]:
        return set(self.kept.steps()) if self.job.settings.keep == "all" else wanted

    def _measure(self, step: int) -> tuple[dict[str, float], str | None]:
        """The figures of the model as it is, written to the log, and what went wrong."""
        assert self._probes is not None
        began = time.perf_counter()
        model, problem = self.job.model, None
        draws = step in self.schedule.at_milestones
        figures = self._probes.losses(model)
        if draws or not self.schedule.milestones or step == 0:
            figures |= self._probes.side_effects(model)
        if draws and self._judge is not None:
            try:
                drawn = self._judge()
                figures |= drawn.figures
                self._show(step, drawn.pictures)
            except UserError as error:
                problem = f"no milestone at step {step}: {error}"
        self.log.measured(step, figures, time.perf_counter() - began + self._unlogged)
        self._unlogged = 0.0
        return figures, problem

    def _keep(self, step: int, methods: Sequence[Method]) -> None:
        is_last = step == self.schedule.steps or self.stopped is not None
        best = verdict.best(self.history)
        is_best = best is not None and best.step == step and not is_last
        is_state = step in {each.step for each in verdict.candidates(self.history)}
        if {"best": is_best, "all": is_state}.get(self.job.settings.keep or "last", False):
            self.kept.save(step, [method.weights() for method in methods])

    def _ask_the_base(self, learned: Sequence[Example]) -> Iterator[Event]:
        """The noise that losses are measured on, and the base's own answers and pictures. Nothing is attached yet."""
        job, settings = self.job, self.job.settings
        told = {"seed": settings.seed, "zero_terminal_snr": settings.zero_terminal_snr}
        unseen = list(job.examples(some(job.held_out)))
        probes = [make_probe(job.model, each, **told) for each in some(learned)]  # type: ignore[arg-type]
        held_out = [make_probe(job.model, each, **told) for each in unseen]  # type: ignore[arg-type]
        plain = [self._told(probe, without_keyword(probe.caption, settings.keyword)) for probe in held_out or probes]
        neutral: list[Any] = []
        try:
            neutral = self._neutral(told)
            if self.schedule.milestones:
                self._judge = self._make_judge()
                if not self.folder.milestones.exists():
                    self._show(0, self._judge.before)
        except UserError as error:
            yield Warned(f"only losses are measured, for the base cannot draw: {error}")
        self._probes = Probes(probes, held_out, plain, neutral, settings.clip_skip)

    def _told(self, probe: Any, caption: str) -> Any:
        """A probe under another caption, whose states are the base's unless the text encoder is to learn."""
        states = None if self.job.trains_text else self.job.model.encode_prompts([caption], self.job.settings.clip_skip)
        return probe.told(caption, states)

    def _neutral(self, told: dict[str, Any]) -> list[Any]:
        """The base's answers to prompts that have nothing to do with the subject, on its own pictures of them."""
        model, prompts = self.job.model, some(UNRELATED)
        plain = Request("", steps=self._sampler_steps, cfg_scale=GUIDANCE, seed=self.job.settings.seed)
        pictures = generate_each(model, [replace(plain, prompt=prompt) for prompt in prompts])
        probes = []
        for prompt, picture in zip(prompts, pictures, strict=True):
            latents = encode(model, picture.image)[0].float().cpu()
            probes.append(self._told(make_probe(model, Example(latents, prompt, None), **told), prompt))
        return as_answered(model, probes, self.job.settings.clip_skip)

    def _make_judge(self) -> Judge:
        job = self.job
        captions = list(dict.fromkeys(item.caption for item in job.held_out or job.items))
        name = f"{job.settings.keyword} {job.settings.class_word}".strip()
        side = job.model.resolution
        few = 1 if self._rehearses else MOST_LEARNED
        unseen = [real_square(item.picture, side) for item in some(job.held_out, few)]
        learned = [real_square(picture, side) for picture in some(job.pictures, few)]
        request = Request("", seed=job.settings.seed, clip_skip=job.settings.clip_skip)
        return Judge(job.model, some(captions), name, unseen, learned, request, self._sampler_steps)

    @property
    def _sampler_steps(self) -> int:
        return 1 if self._rehearses else SAMPLER_STEPS

    def _show(self, step: int, pictures: Sequence[Any]) -> None:
        for number, picture in enumerate(pictures, 1):
            save_png(picture.image, picture.infotext, self.folder.milestones / f"{step:06d}-{number}.png")
