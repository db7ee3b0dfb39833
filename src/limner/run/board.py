"""The curves for TensorBoard, which is not among Limner's own libraries."""

from pathlib import Path
from typing import Any

from limner.errors import UserError


def require_tensorboard() -> Any:
    """torch's writer. Raises UserError if the library that it needs is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "tensorboard is not installed, and --tensorboard needs it; install it with pip install tensorboard, "
            "or leave --tensorboard out: run.html shows the same curves"
        ) from error
    return SummaryWriter


class Board:
    """Writes a log's lines, from the first: what an earlier process wrote into the folder is hidden."""

    def __init__(self, folder: Path) -> None:
        self._writer = require_tensorboard()(str(folder), purge_step=0)

    def line(self, line: dict[str, Any]) -> None:
        """A line of the log, of a step or of measurements."""
        figures = line.get("measured") or {"loss": line["loss"], "learning_rate": line["lr"]}
        for name, value in figures.items():
            self._writer.add_scalar(name, value, line["step"])

    def close(self) -> None:
        self._writer.close()
