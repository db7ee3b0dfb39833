"""The command `limner`: one thin function for each verb, in verbs.py; this is what surrounds them."""

import io
import json
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import CycloptsError

from limner.cli.app import Interrupted, Unfinished, app
from limner.cli.output import complain
from limner.errors import UserError, advice

__all__ = ["app", "main"]

DONE, BUG, FIXABLE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status.

    0 done; 2 the user can fix it, said in one sentence on stderr; 130 interrupted, with the state saved; 1 a bug.
    With --json the last line of stdout is one JSON object, whatever happens.
    """
    from limner.cli import verbs  # noqa: F401 (registers the commands)

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to stop
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    status, answer = _run(arguments)
    if "--json" in arguments and answer is not None:
        print(json.dumps(answer), flush=True)  # in ASCII, which every terminal and pipe can take
    return status


def _run(arguments: list[str]) -> tuple[int, dict | None]:
    try:
        return DONE, app(arguments)
    except Unfinished as error:
        complain(str(error))
        return FIXABLE, {"error": str(error)} | error.facts
    except UserError as error:
        message = str(error)
    except CycloptsError as error:
        message = " ".join(str(error).split())
    except Interrupted as stop:
        complain(str(stop))
        return INTERRUPTED, {"interrupted": str(stop)} | stop.facts
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED, {"interrupted": "before there was anything to save"}
    except BrokenPipeError:  # whoever read our output, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE, None
    except Exception as error:
        told = advice(error, arguments[0] if arguments else "")
        if told is None:
            traceback.print_exc()
            complain("this is a bug in Limner: please report it, with the lines above")
            return BUG, {"error": f"{type(error).__name__}: {error}"}
        message = told
    complain(message)
    return FIXABLE, {"error": message}
