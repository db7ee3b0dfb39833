"""A process that reads a stranger's picture, given as its input: `python -m limner.studio.work.picture_text NAME`.

Its output is a line of JSON, {"text": ...} or {"problem": ...}. It has little memory and time, so that a picture which
wants more ends it and nothing else.
"""

import json
import sys
from pathlib import Path

from limner.errors import UserError
from limner.infotext import picture_text

MEMORY = 1_500_000_000  # bytes; a picture of as many pixels as Pillow opens needs 0.4 GB
SECONDS = 10  # of computing


def main() -> None:
    _limit()
    try:
        said = {"text": picture_text(Path(sys.argv[1]), sys.stdin.buffer)}
    except UserError as problem:
        said = {"problem": str(problem)}
    print(json.dumps(said))


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows; the server's own clock remains
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


if __name__ == "__main__":
    main()
