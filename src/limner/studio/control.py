"""What a person asks of a job that is being done: a word in a file of the job's folder, which its worker looks at.

The server's own word lies beside it in another file, so that it closing makes no job forget what a person said.
"""

from pathlib import Path

from limner.errors import UserError
from limner.files import write_text

FILE, SERVERS_FILE = "asked", "asked-by-server"

PAUSE = "pause"  # save the state and stop; it goes on when told to
CANCEL = "cancel"  # stop; nothing comes of it
FINISH = "finish"  # end here, with what there is: a training's best state becomes its file
SKIP = "skip"  # go on with the next picture
YIELD = "yield"  # the server closes; save the state, and go on when it comes back
WORDS = (PAUSE, CANCEL, FINISH, SKIP, YIELD)


def ask(folder: Path, word: str) -> None:
    """Raises UserError if it cannot be written."""
    try:
        write_text(folder / (SERVERS_FILE if word == YIELD else FILE), word)
    except OSError as error:
        raise UserError(f"the job cannot be told to {word} ({error.strerror}); make room on the disk") from error


def asked(folder: Path) -> str:
    """The server's word, else that which a person said last, "" if none was."""
    return _read(folder / SERVERS_FILE) or _read(folder / FILE)


def unask(folder: Path, *words: str) -> None:
    """Forget these words, any if none is named: the job is taken up anew, or they were followed."""
    for path in (folder / SERVERS_FILE, folder / FILE):
        if not words or _read(path) in words:
            path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
