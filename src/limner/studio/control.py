"""What a person asks of a job that is being done: a word in a file of the job's folder, which its worker looks at."""

from pathlib import Path

from limner.errors import UserError
from limner.files import write_text

FILE = "asked"

PAUSE = "pause"  # save the state and stop; it goes on when told to
CANCEL = "cancel"  # stop; nothing comes of it
FINISH = "finish"  # end here, with what there is: a training's best state becomes its file
SKIP = "skip"  # go on with the next picture
YIELD = "yield"  # the server closes; save the state, and go on when it comes back
WORDS = (PAUSE, CANCEL, FINISH, SKIP, YIELD)


def ask(folder: Path, word: str) -> None:
    """Raises UserError if it cannot be written."""
    try:
        write_text(folder / FILE, word)
    except OSError as error:
        raise UserError(f"the job cannot be told to {word} ({error.strerror}); make room on the disk") from error


def asked(folder: Path) -> str:
    """The word that was said last, "" if none was."""
    try:
        return (folder / FILE).read_text(encoding="utf-8")
    except OSError:
        return ""


def unask(folder: Path) -> None:
    """Forget it: the job is taken up anew, or the word was followed."""
    (folder / FILE).unlink(missing_ok=True)
