"""Where the studio keeps things: one folder, the same for the server and its workers."""

from dataclasses import dataclass
from pathlib import Path

LOG = "log.txt"  # in a job's folder: what its workers print


@dataclass(frozen=True)
class Places:
    """root: the studio's own folder. models: the models folder, as the webui has it."""

    root: Path
    models: Path

    @property
    def database(self) -> Path:
        return self.root / "studio.sqlite"

    @property
    def datasets(self) -> Path:
        """A folder for each set of pictures, named by its number."""
        return self.root / "datasets"

    @property
    def pictures(self) -> Path:
        """What was drawn, in a folder for each day."""
        return self.root / "pictures"

    @property
    def inputs(self) -> Path:
        """Pictures that are drawn from, and their masks."""
        return self.root / "inputs"

    @property
    def training(self) -> Path:
        """A folder that a worker holds locked while it trains."""
        return self.root / "training"

    def job(self, number: int) -> Path:
        """The folder of a job: its events, what is asked of it, what its worker printed, and what it makes."""
        return self.root / "jobs" / str(number)

    def dataset(self, number: int) -> Path:
        return self.datasets / str(number)
