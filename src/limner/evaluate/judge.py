"""Files judged against one base: what the base draws, and the real pictures, are looked at once for all of them."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from limner.base.model import BaseModel
from limner.config import EvaluateSettings
from limner.data.folder import Skipped, load_folder
from limner.errors import UserError
from limner.evaluate.clip import Clip
from limner.evaluate.features import Evaluator, Features
from limner.evaluate.fidelity import OBJECTS, Fidelity, Known, fidelity
from limner.evaluate.metrics import Figure, Spread, drift, near_copies
from limner.evaluate.pictures import Learned, State, draw, noise_predictions, real_square, through_autoencoder
from limner.evaluate.protocol import Evidence, Protocol, make_protocol, request_of
from limner.evaluate.report import Report, TextAgreement
from limner.evaluate.scores import Scores

Pictures = list[list[Image.Image]]  # a list a prompt, a picture a seed in each


@dataclass(frozen=True)
class Progress:
    """`done` of `total` pictures are drawn."""

    done: int
    total: int


@dataclass(frozen=True)
class Drawn:
    """What one state draws, by the protocol's lists of prompts. seconds: that it took."""

    subject: Pictures
    of_class: Pictures
    unrelated: Pictures
    asked: Pictures
    seconds: float


class Judge:
    """Judges files by a protocol. With a folder, every picture is kept in it, and a judge that was stopped goes on:
    the base's in `base/`, a file's in the subfolder that it is given."""

    def __init__(
        self,
        model: BaseModel,
        evidence: Evidence,
        protocol: Protocol,
        folder: Path | None = None,
        clip: Clip | None = None,
    ) -> None:
        """Raises UserError if there is too little to draw."""
        if not protocol.prompts or not protocol.unrelated:
            raise UserError("there is nothing to draw; give at least one prompt")
        if len(protocol.prompts) * protocol.request.count < 2:
            raise UserError("one drawing is too few to judge by; raise --count or give another --prompt")
        self.model, self.evidence, self.protocol = model, evidence, protocol
        self._folder, self._clip = folder, clip
        self._evaluator = Evaluator()
        self._base: Drawn | None = None
        self._drawn: dict[str, Pictures] = {}

    @property
    def total(self) -> int:
        """Pictures that one file needs; the base needs those of its rivals beside them."""
        return self.protocol.request.count * sum(len(prompts) for prompts in self._prompts(False))

    @property
    def base_total(self) -> int:
        return self.total + self.protocol.request.count * sum(map(len, self.protocol.rivals))

    @property
    def base_pictures(self) -> Pictures:
        """The base's drawings of the protocol's prompts, after `prepare`."""
        assert self._base is not None
        return self._base.subject

    def pictures_of(self, name: str) -> Pictures:
        """A file's drawings of the protocol's prompts, after `judge`."""
        return self._drawn[name]

    def prepare(self) -> Iterator[Progress]:
        """Draw with the base alone, and look at the real pictures."""
        model, protocol, see = self.model, self.protocol, self._evaluator
        base = yield from self._draw(None, "base", self.base_total)
        rivals = []
        done = self.total
        for number, prompts in enumerate(protocol.rivals):
            drawn: Pictures = []
            for images in draw(model, prompts, None, protocol.request, self._place("base", f"rival-{number}")):
                drawn.append(images)
                done += len(images)
                yield Progress(done, self.base_total)
            rivals.append(self._by_seed(drawn))
        reals = [real_square(picture, model.resolution) for picture in self.evidence.judges]
        self._scores = Scores(
            see(reals), see(through_autoencoder(model, reals)), self._by_seed(base.subject), rivals, protocol.is_paired
        )
        self._seen = [real_square(picture, model.resolution) for picture in self.evidence.seen]
        unrelated = [see(images).pooled for images in base.unrelated]
        self._known = Known(dict(zip(OBJECTS, unrelated, strict=False)))
        self._base = base

    def figure(self, state: State, name: str) -> tuple[Figure, Spread | None]:
        """The figure that counts for the subject and its spread over seeds, after `prepare`; nothing else is drawn."""
        place = self._place(name, "subject")
        drawn = list(draw(self.model, self.protocol.prompts, state, self.protocol.request, place))
        measure = self._scores.style if self.protocol.subject == "style" else self._scores.likeness
        return measure(self._by_seed(drawn))

    def judge(self, learned: Learned, name: str = "file") -> Iterator[Progress | Report]:
        """Draw with a file, after `prepare`; the report comes last. Raises UserError if it does not fit the base."""
        assert self._base is not None
        drawn = yield from self._draw(learned, name, self.total)
        self._drawn[name] = drawn.subject
        began = time.perf_counter()
        base, protocol = self._base, self.protocol
        drawings = self._by_seed(drawn.subject)
        flat = [image for images in drawn.subject for image in images]
        copies = near_copies(flat, self._seen)
        likeness, likeness_over_seeds = self._scores.likeness(drawings)
        style, style_over_seeds = self._scores.style(drawings)
        yield Report(
            file=learned.path.name,
            kind=learned.weights.kind,
            size_bytes=learned.path.stat().st_size,
            subject=protocol.subject,
            by_object=protocol.is_paired,
            evaluator=self._evaluator.name,
            prompts=len(protocol.prompts),
            pictures=len(flat),
            references=len(self.evidence.judges),
            held_out=self.evidence.held_out,
            likeness=likeness,
            likeness_over_seeds=likeness_over_seeds,
            style=style,
            style_over_seeds=style_over_seeds,
            cosine=self._scores.cosine(drawings),
            fidelity=self._fidelity(drawn.asked, base.asked) if protocol.questions else None,
            clip_text=self._agreement(drawn.asked, base.asked) if protocol.questions and self._clip else None,
            unrelated_drift=self._moved(base.unrelated, drawn.unrelated),
            class_drift=self._moved(base.of_class, drawn.of_class) if base.of_class else None,
            prediction_drift=self._predictions_moved(learned),
            near_copies=sum(copies) / len(copies),
            seconds=drawn.seconds + time.perf_counter() - began,
        )

    def _draw(self, learned: Learned | None, name: str, total: int) -> Generator[Progress, None, Drawn]:
        """What a state draws."""
        began, done = time.perf_counter(), 0
        lists: list[Pictures] = []
        for part, prompts in zip(
            ("subject", "class", "unrelated", "asked"), self._prompts(learned is None), strict=True
        ):
            lists.append([])
            for images in draw(self.model, prompts, learned, self.protocol.request, self._place(name, part)):
                lists[-1].append(images)
                done += len(images)
                yield Progress(done, total)
        return Drawn(lists[0], lists[1], lists[2], lists[3], time.perf_counter() - began)

    def _prompts(self, of_base: bool) -> list[Sequence[str]]:
        protocol = self.protocol
        asked = [question.base_prompt if of_base else question.prompt for question in protocol.questions]
        return [protocol.prompts, protocol.class_prompts, protocol.unrelated, asked]

    def _place(self, state: str, part: str) -> Path | None:
        return None if self._folder is None else self._folder / state / part

    def _by_seed(self, pictures: Pictures) -> list[Features]:
        """One set of features a seed, the prompts in order."""
        return [self._evaluator(list(images)) for images in zip(*pictures, strict=True)]

    def _fidelity(self, after: Pictures, base: Pictures) -> Fidelity:
        pooled = tuple([self._evaluator(images).pooled for images in drawn] for drawn in (after, base))
        return fidelity(self.protocol.questions, after, base, self._known, (pooled[0], pooled[1]))

    def _agreement(self, after: Pictures, base: Pictures) -> TextAgreement:
        """Both states' pictures beside what the base was asked, which has no new word in it."""
        assert self._clip is not None
        texts = [question.base_prompt for question in self.protocol.questions]
        scores = [
            sum(self._clip.agreement(images, text) for images, text in zip(drawn, texts, strict=True)) / len(texts)
            for drawn in (after, base)
        ]
        return TextAgreement(*scores)

    def _moved(self, before: Pictures, after: Pictures) -> float:
        one, other = (Features.join(self._by_seed(pictures)) for pictures in (before, after))
        return drift(one, other)

    def _predictions_moved(self, learned: Learned) -> float:
        """Root mean square change of the predictions for the base's pictures of unrelated prompts, over their own."""
        assert self._base is not None
        prompts, seed = self.protocol.unrelated, self.protocol.request.seed
        images = [images[0] for images in self._base.unrelated]
        before = noise_predictions(self.model, images, prompts, seed)
        with learned.on(self.model):
            after = noise_predictions(self.model, images, prompts, seed)
        return float((after - before).square().mean().sqrt() / before.square().mean().sqrt())


@dataclass(frozen=True)
class Evaluation:
    """What `limner evaluate` is to judge, by what. skipped: pictures that cannot be used."""

    learned: Learned
    evidence: Evidence
    protocol: Protocol
    clip: Clip | None
    skipped: list[Skipped]

    @staticmethod
    def of(settings: EvaluateSettings) -> "Evaluation":
        """What is left out is as the file and the captions say. Raises UserError."""
        learned = Learned(settings.file, settings.strength)
        folder = load_folder(settings.images)
        evidence = Evidence.of(folder.pictures, learned.images_sha256)
        protocol, evidence = make_protocol(
            evidence,
            settings.keyword or learned.keyword,
            settings.class_word or learned.class_word,
            request_of(settings, settings.seed),
            settings.prompt,
            None if settings.subject == "auto" else settings.subject,
            settings.floor,
            settings.strength,
        )
        clip = None if settings.clip is None else Clip(settings.clip)
        return Evaluation(learned, evidence, protocol, clip, folder.skipped)


def iterate_evaluation(
    model: BaseModel, learned: Learned, evidence: Evidence, protocol: Protocol, clip: Clip | None = None
) -> Iterator[Progress | Report]:
    """Judge one file, saying how far it is, and the report at the end. Raises UserError."""
    judge = Judge(model, evidence, protocol, clip=clip)
    with learned.on(model):
        pass  # a file that does not fit is told before anything is drawn
    total = judge.base_total + judge.total
    for each in judge.prepare():
        yield Progress(each.done, total)
    for happening in judge.judge(learned):
        if isinstance(happening, Progress):
            yield Progress(judge.base_total + happening.done, total)
        else:
            yield happening


def evaluate_file(
    model: BaseModel, learned: Learned, evidence: Evidence, protocol: Protocol, clip: Clip | None = None
) -> Report:
    """The figures of a file. Raises UserError."""
    *_, report = iterate_evaluation(model, learned, evidence, protocol, clip)
    assert isinstance(report, Report)
    return report
