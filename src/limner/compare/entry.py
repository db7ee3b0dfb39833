"""What a comparison found out about one method."""

from dataclasses import asdict, dataclass
from typing import Any

from limner.compare.training import Trained
from limner.evaluate.metrics import Spread
from limner.evaluate.report import Report

LABELS = {
    "dreambooth": "DreamBooth",
    "full": "Full",
    "lora": "LoRA",
    "locon": "LoCon",
    "loha": "LoHa",
    "lokr": "LoKr",
    "dora": "DoRA",
    "oft": "OFT",
    "ia3": "IA3",
    "embedding": "Embedding",
    "pivotal": "Pivotal",
}


@dataclass(frozen=True)
class Entry:
    """A method, what its training cost, and its figures; where it failed, the reason and what there is."""

    method: str
    trained: Trained | None = None
    report: Report | None = None
    failure: str | None = None

    @property
    def label(self) -> str:
        return LABELS.get(self.method, self.method)

    @property
    def score(self) -> float | None:
        """The normalised figure that counts for this subject."""
        return self.report.main[1].normalised if self.report else None

    @property
    def spread(self) -> Spread | None:
        return self.report.main[2] if self.report else None

    @property
    def deviation(self) -> float | None:
        """Of the figure that counts, over seeds; None if unknown."""
        return self.spread.deviation if self.spread else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "label": self.label,
            "trained": asdict(self.trained) if self.trained else None,
            "report": self.report.to_dict() if self.report else None,
            "failure": self.failure,
        }
