"""How good a LoRA is: likeness and style between floor and ceiling, drift, near-copies, with the spread over seeds."""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from limner.base.model import BaseModel
from limner.data.folder import Picture
from limner.errors import UserError
from limner.evaluate.features import Evaluator, Features
from limner.evaluate.metrics import (
    Figure,
    Spread,
    drift,
    likeness,
    likeness_to_others,
    near_copies,
    style_distance,
    style_distance_by_object,
    style_scale,
)
from limner.evaluate.pictures import Lora, draw, noise_predictions, real_square, through_autoencoder
from limner.generate import Request

# Nothing that a LoRA of one subject should change; words that the pocket base knows too.
UNRELATED = (
    "a red car",
    "a cup of coffee",
    "a tree on a green background",
    "a guitar",
    "a slice of pizza",
    "an airplane on a blue background",
    "a clock",
    "a pair of scissors",
)


@dataclass(frozen=True)
class Protocol:
    """What is drawn for an evaluation.

    prompts: with the keyword. class_prompts: the same without it, which should stay what they were.
    request: everything else about the pictures; `count` pictures a prompt, of consecutive seeds from `seed`.
    strength: the multiplier of the LoRA.
    """

    prompts: tuple[str, ...]
    class_prompts: tuple[str, ...] = ()
    unrelated: tuple[str, ...] = UNRELATED
    strength: float = 1.0
    request: Request = field(default_factory=lambda: Request(prompt="", seed=1, count=3))


@dataclass(frozen=True)
class Progress:
    """`done` of `total` pictures are drawn."""

    done: int
    total: int


@dataclass(frozen=True)
class Report:
    """The figures of one file. Similarities are higher where better, drifts are 0 where nothing moved.

    held_out: whether the real pictures took no part in the training; where they did, likeness flatters.
    likeness: mean cosine to the real pictures. style: minus the distance of channel statistics to them.
    *_over_seeds: of the normalised figure; None where that does not exist.
    *_drift: 1 - cosine to the base's pictures of the same seeds. prediction_drift: change of the network's
    predictions for unrelated prompts, relative to their size. near_copies: share of the drawn pictures.
    """

    file: str
    evaluator: str
    prompts: int
    pictures: int
    references: int
    held_out: bool
    likeness: Figure
    likeness_over_seeds: Spread | None
    style: Figure
    style_over_seeds: Spread | None
    unrelated_drift: float
    class_drift: float | None
    prediction_drift: float
    near_copies: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON: plain values, the normalised figures with them."""
        figures = {name: asdict(figure) | {"normalised": figure.normalised} for name, figure in self._figures()}
        return asdict(self) | figures

    def _figures(self) -> list[tuple[str, Figure]]:
        return [("likeness", self.likeness), ("style", self.style)]

    def lines(self) -> list[str]:
        """For people."""
        kind = "held-out" if self.held_out else "training"
        lines = [f"{self.pictures} pictures of {self.prompts} prompts against {self.references} {kind} images:"]
        for (name, figure), spread in zip(
            self._figures(), (self.likeness_over_seeds, self.style_over_seeds), strict=True
        ):
            share = "not measurable here" if figure.normalised is None else f"{figure.normalised:.2f}"
            noise = f" ± {spread.deviation:.2f}" if spread and spread.deviation is not None else ""
            ends = f"base {figure.floor:.3f}, real images {figure.ceiling:.3f}"
            lines.append(f"{name} {share}{noise} (score {figure.score:.3f}, {ends})")
        moved = f"unrelated prompts {self.unrelated_drift:.3f}, predictions {self.prediction_drift:.3f}"
        lines.append(f"drift: {moved}" + ("" if self.class_drift is None else f", class {self.class_drift:.3f}"))
        lines.append(f"near-copies of training images: {self.near_copies:.0%}")
        return lines


@dataclass(frozen=True)
class Drawn:
    """Pictures of a list of prompts with and without the LoRA: one list a prompt, one picture a seed in each."""

    base: list[list[Image.Image]]
    lora: list[list[Image.Image]]


def evaluate_lora(
    model: BaseModel,
    file: Path,
    references: Sequence[Picture],
    protocol: Protocol,
    trained: Collection[str] = (),
) -> Report:
    """The figures of a LoRA file. `trained`: SHA-256 of the pictures that it was trained on, as its run card has them;
    the others among `references` judge it, or all if fewer than two are left.

    Raises UserError for an unfit file, fewer than two references, or nothing to draw.
    """
    *_, report = iterate_evaluation(model, file, references, protocol, trained)
    assert isinstance(report, Report)
    return report


def iterate_evaluation(
    model: BaseModel,
    file: Path,
    references: Sequence[Picture],
    protocol: Protocol,
    trained: Collection[str] = (),
) -> Iterator[Progress | Report]:
    """`evaluate_lora`, saying how far it is, and the report at the end."""
    start = time.perf_counter()
    if len(references) < 2:
        raise UserError(f"evaluating {file} needs at least two images to compare with; add more with --images")
    if not protocol.prompts or not protocol.unrelated:
        raise UserError(f"there is nothing to draw for {file}; give at least one prompt")
    lora = Lora(file, protocol.strength)
    with lora.on(model):
        pass  # a file that does not fit is told before anything is drawn
    sets = (protocol.prompts, protocol.class_prompts, protocol.unrelated)
    total = 2 * protocol.request.count * sum(map(len, sets))
    done = 0
    drawn: list[Drawn] = []
    for prompts in sets:
        drawn.append(Drawn([], []))
        for pictures, state in ((drawn[-1].base, None), (drawn[-1].lora, lora)):
            for _, images in draw(model, prompts, state, protocol.request):
                pictures.append(images)
                done += len(images)
                yield Progress(done, total)
    yield _report(model, lora, references, protocol, trained, drawn, start)


def _report(
    model: BaseModel,
    lora: Lora,
    references: Sequence[Picture],
    protocol: Protocol,
    trained: Collection[str],
    drawn: list[Drawn],
    start: float,
) -> Report:
    evaluator = Evaluator()
    subject, of_class, unrelated = drawn
    unseen = [picture for picture in references if picture.sha256 not in trained]
    held_out = len(unseen) >= 2 and bool(trained)
    judges = [real_square(picture, model.resolution) for picture in (unseen if held_out else references)]
    seen = [picture for picture in references if picture.sha256 in trained] or references
    scores = Scores(evaluator(judges), evaluator(through_autoencoder(model, judges)), _by_seed(evaluator, subject.base))
    drawings = _by_seed(evaluator, subject.lora)
    flat = [image for images in subject.lora for image in images]
    copies = near_copies(flat, [real_square(picture, model.resolution) for picture in seen])
    return Report(
        file=lora.path.name,
        evaluator=evaluator.name,
        prompts=len(protocol.prompts),
        pictures=len(flat),
        references=len(judges),
        held_out=held_out,
        likeness=scores.likeness(Features.join(drawings)),
        likeness_over_seeds=_spread([scores.likeness(one) for one in drawings]),
        style=scores.style(Features.join(drawings)),
        style_over_seeds=_spread([scores.style(one) for one in drawings]),
        unrelated_drift=_moved(evaluator, unrelated),
        class_drift=_moved(evaluator, of_class) if of_class.base else None,
        prediction_drift=_predictions_moved(model, lora, unrelated, protocol),
        near_copies=sum(copies) / len(copies),
        seconds=time.perf_counter() - start,
    )


class Scores:
    """Floor and ceiling of each figure, so that drawings can be placed between them.

    real: the judging pictures; restored: the same through the autoencoder, the best that the base could show.
    base: the untrained base's drawings, a set a seed.
    """

    def __init__(self, real: Features, restored: Features, base: list[Features]) -> None:
        self._real = real
        self._base = Features.join(base)
        self._scale = style_scale(real, self._base)
        self._likeness_ceiling = likeness_to_others(restored, real)
        self._style_ceiling = -style_distance_by_object(restored, real, self._scale)

    def likeness(self, drawings: Features) -> Figure:
        floor = likeness(self._base, self._real)
        return Figure(likeness(drawings, self._real), floor, self._likeness_ceiling)

    def style(self, drawings: Features) -> Figure:
        floor = -style_distance(self._base, self._real, self._scale)
        return Figure(-style_distance(drawings, self._real, self._scale), floor, self._style_ceiling)


def _by_seed(evaluator: Evaluator, pictures: list[list[Image.Image]]) -> list[Features]:
    """One set of features a seed, the prompts in order."""
    return [evaluator(list(images)) for images in zip(*pictures, strict=True)]


def _spread(figures: list[Figure]) -> Spread | None:
    shares = [figure.normalised for figure in figures]
    known = [share for share in shares if share is not None]
    return Spread.of(known) if len(known) == len(shares) else None


def _moved(evaluator: Evaluator, drawn: Drawn) -> float:
    before, after = (Features.join(_by_seed(evaluator, pictures)) for pictures in (drawn.base, drawn.lora))
    return drift(before, after)


def _predictions_moved(model: BaseModel, lora: Lora, unrelated: Drawn, protocol: Protocol) -> float:
    """Root mean square change of the predictions for the base's own pictures of unrelated prompts, over their own."""
    images = [images[0] for images in unrelated.base]
    before = noise_predictions(model, images, protocol.unrelated, protocol.request.seed)
    with lora.on(model):
        after = noise_predictions(model, images, protocol.unrelated, protocol.request.seed)
    return float((after - before).square().mean().sqrt() / before.square().mean().sqrt())
