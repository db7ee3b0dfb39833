"""The process that reads model files for a process without torch: a line of JSON in, a line of JSON out.

Started by reader.py as `python -m limner.library.worker`. A request is ["describe", path] or ["hash", path]; an answer
is a table of plain values, or {"problem": sentence}.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limner.errors import UserError
from limner.library.shelf import Described, Hashes

MOST_TEXT = 300  # characters of a stranger's text that are kept


def describe(path: Path) -> Described:
    """What the header of a file says; of what cannot be read, why."""
    from limner.formats.identify import ADAPTERS
    from limner.formats.inspect import inspect
    from limner.methods.form import forms

    try:
        found = inspect(path, hashed=False)
    except UserError as error:
        return Described(problem=str(error))
    is_adapter = found.kind in ADAPTERS or found.kind in forms()
    told = {
        "alias": found.metadata.get("ss_output_name", "")[:MOST_TEXT],
        "title": found.metadata.get("modelspec.title", "")[:MOST_TEXT],
        "base_name": found.metadata.get("ss_sd_model_name", "")[:MOST_TEXT],
        "tags": [tag[:MOST_TEXT] for tag in found.tags],
        "words": [word[:MOST_TEXT] for word in found.words],
        "ranks": list(found.ranks),
        "prediction_type": found.prediction_type,
        "refusal": found.refusal,
        "warnings": list(found.warnings),
        "readers": {name: [verdict.loads, verdict.says] for name, verdict in found.programs.items()},
    }
    return Described(
        kind="lora" if is_adapter else found.kind,
        form=found.kind if is_adapter else "",
        family=found.family,
        keyword=None if found.keyword is None else found.keyword[:MOST_TEXT],
        container=found.container,
        details={name: value for name, value in told.items() if value},
    )


def hash_whole(path: Path) -> Hashes:
    """A file's hashes, whatever it is. Raises UserError if it cannot be read."""
    from limner.container.hashes import hash_file
    from limner.container.header import read_header

    try:
        start = read_header(path).data_start
    except UserError:
        start = 0
    try:
        found = hash_file(path, start)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    return Hashes(found.sha256, found.autov3)


def answer(request: Any) -> dict[str, Any]:
    what, path = request
    try:
        return asdict(hash_whole(Path(path)) if what == "hash" else describe(Path(path)))
    except UserError as error:
        return {"problem": str(error)}


def main() -> None:
    """Answer until there are no more requests. What libraries print must not come between the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
