"""The one exception that a person is meant to read, and what to say of errors of the machine."""

import errno
import re
from collections.abc import Mapping

FULL = (errno.ENOSPC, errno.EDQUOT)
PAGING_FILE_TOO_SMALL = 1455  # Windows' error for memory that it cannot promise
# How torch's allocators (CPU, CUDA, MPS, XPU), CUDA's libraries, safetensors and OpenCV say that memory ran out.
_NO_MEMORY = re.compile(
    r"can.?t allocate memory|cannot allocate memory|not enough memory|out of memory|insufficient memory|bad_alloc|"
    r"unable to allocate|failed to allocate|_STATUS_ALLOC_FAILED|OUT_OF_(?:HOST|DEVICE)_MEMORY|OUT_OF_RESOURCES|"
    r"paging file is too small",
    re.IGNORECASE,
)
_OTHERS = "close other programs, or use a machine with more memory"
_DRAWING = "lower --width and --height, use --precision bf16 or fp16, or close other programs"
# What helps each command, in its own options; a job of the studio has the name of its command.
MEMORY_ADVICE: Mapping[str, str] = {
    "train": "lower --batch-size or --resolution, add --gradient-checkpointing, or use --precision bf16",
    "dreambooth": "add --optimizer adafactor, which needs far less than AdamW with the whole model, "
    "--batch-size 1 and --gradient-checkpointing, or train a LoRA instead (limner train --method lora)",
    "generate": f"lower --batch-size, {_DRAWING}",
    "grid": _DRAWING,
    "evaluate": "use --precision bf16 or fp16, or close other programs",
    "compare": "use --precision bf16 or fp16, compare fewer --methods, or close other programs",
    "keyword": "use --precision bf16 or fp16, lower --count, or close other programs",
    "prepare": "use fewer --workers, or close other programs",
    "check": "use fewer --workers, or close other programs",
    "demo": "close other programs",
}


class UserError(Exception):
    """What the user can fix: one sentence that says what happened, to which file, and what to do (exit status 2)."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of an accelerator; a worker that was killed counts as that."""
    if isinstance(error, UserError):
        return False
    if isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "BrokenProcessPool"):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or getattr(error, "winerror", None) == PAGING_FILE_TOO_SMALL
    return _NO_MEMORY.search(str(error)) is not None


def memory_advice(command: str = "", method: str = "") -> str:
    """What helps a command that ran out of memory. method: of a training."""
    if command in ("train", "dryrun", "dreambooth"):
        command = "dreambooth" if "full" in method.split("+") or method == "dreambooth" else "train"
    return MEMORY_ADVICE.get(command, _OTHERS)


def advice(error: BaseException, command: str = "", method: str = "") -> str | None:
    """What a person can do about an error of the machine, or None if it is the program's."""
    if is_out_of_memory(error):
        return f"there is not enough memory; {memory_advice(command, method)}"
    if isinstance(error, OSError) and error.errno in FULL:
        return "the disk is full; make room on it, and go on"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}; correct that and try again"
    return None
