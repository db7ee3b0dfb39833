"""One training, from a folder of pictures to a file that other programs load."""

from limner.run.dry import dry_run
from limner.run.training import new_folder, resume, train

__all__ = ["dry_run", "new_folder", "resume", "train"]
