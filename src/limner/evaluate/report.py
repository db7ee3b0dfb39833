"""How good a file is: likeness and style between floor and ceiling, prompt fidelity, drift, near-copies, size."""

from dataclasses import asdict, dataclass
from typing import Any

from limner.evaluate.fidelity import Fidelity
from limner.evaluate.metrics import Figure, Spread
from limner.evaluate.protocol import SubjectKind


@dataclass(frozen=True)
class TextAgreement:
    """CLIP-T: mean cosine of pictures and their prompts without the keyword, by a CLIP that was given."""

    score: float
    base_score: float


@dataclass(frozen=True)
class Report:
    """The figures of one file. Similarities are higher where better, drifts are 0 where nothing moved.

    kind: of the file, as in "lora". subject: what it is judged as. held_out: whether the real pictures took no part in
    the training; where they did, likeness flatters.
    likeness, style: share of the way from the base's drawings to the real pictures, as the base's autoencoder restores
    them, by features of what is shown and of how it is drawn. cosine: mean cosine to the real pictures, as they are.
    *_over_seeds: of the normalised figure; None where that does not exist.
    *_drift: 1 - cosine to the base's pictures of the same seeds. prediction_drift: change of the network's
    predictions for unrelated prompts, relative to their size. near_copies: share of the drawn pictures.
    fidelity, clip_text: None where nothing was asked. seconds: that judging took.
    """

    file: str
    kind: str
    size_bytes: int
    subject: SubjectKind
    by_object: bool
    evaluator: str
    prompts: int
    pictures: int
    references: int
    held_out: bool
    likeness: Figure
    likeness_over_seeds: Spread | None
    style: Figure
    style_over_seeds: Spread | None
    cosine: Figure
    fidelity: Fidelity | None
    clip_text: TextAgreement | None
    unrelated_drift: float
    class_drift: float | None
    prediction_drift: float
    near_copies: float
    seconds: float

    @property
    def main(self) -> tuple[str, Figure, Spread | None]:
        """The figure that counts for this subject: its name, itself, and the spread of its normalised value."""
        if self.subject == "style":
            return "style", self.style, self.style_over_seeds
        return "likeness", self.likeness, self.likeness_over_seeds

    def to_dict(self) -> dict[str, Any]:
        """For JSON: plain values, the normalised figures with them, and which of them counts."""
        name, figure, spread = self.main
        main = {"name": name, "normalised": figure.normalised, "deviation": spread.deviation if spread else None}
        known = [*self._figures(), ("cosine", self.cosine)]
        figures = {key: asdict(each) | {"normalised": each.normalised} for key, each in known}
        return asdict(self) | figures | {"main": main}

    def _figures(self) -> list[tuple[str, Figure]]:
        return [("likeness", self.likeness), ("style", self.style)]

    def lines(self) -> list[str]:
        """For people, the figure that counts first."""
        kind = "held-out" if self.held_out else "training"
        way = ", object by object" if self.by_object else ""
        lines = [
            f"{self.pictures} pictures of {self.prompts} prompts against {self.references} {kind} images of "
            f"{'a style' if self.subject == 'style' else 'an object'}{way}:"
        ]
        spreads = {"likeness": self.likeness_over_seeds, "style": self.style_over_seeds}
        for name, figure in sorted(self._figures(), key=lambda each: each[0] != self.main[0]):
            lines.append(f"{name} {_share(figure.normalised, spreads[name])} (0 is the base, 1 the real images)")
        ends = f"base {self.cosine.floor:.3f}, real images {self.cosine.ceiling:.3f}"
        lines.append(f"mean cosine to the real images {self.cosine.score:.3f} ({ends})")
        if self.fidelity is not None:
            lines.append(_fidelity_line(self.fidelity))
        if self.clip_text is not None:
            lines.append(f"CLIP-T: {self.clip_text.score:.3f}, base {self.clip_text.base_score:.3f}")
        moved = f"unrelated prompts {self.unrelated_drift:.3f}, predictions {self.prediction_drift:.3f}"
        lines.append(f"drift: {moved}" + ("" if self.class_drift is None else f", class {self.class_drift:.3f}"))
        lines.append(f"near-copies of training images: {self.near_copies:.0%}")
        lines.append(f"file: {self.kind}, {self.size_bytes / 1e6:.2f} MB")
        return lines


def _share(value: float | None, spread: Spread | None) -> str:
    if value is None:
        return "not measurable here"
    return f"{value:.2f}" + (f" ± {spread.deviation:.2f}" if spread and spread.deviation is not None else "")


def _fidelity_line(fidelity: Fidelity) -> str:
    parts = "; ".join(f"{name} {after:.0%}, base {base:.0%}" for name, (after, base) in fidelity.by_answer.items())
    return f"prompt fidelity kept: {_share(fidelity.kept, fidelity.over_seeds)} ({parts})"
