"""Strangers' pictures, read by a process of its own with little memory and time."""

import asyncio
import json
import sys
from typing import IO

from limner.errors import UserError

SECONDS = 30.0  # until a picture must have been read, on a busy machine
AT_ONCE = 2

_turns = asyncio.Semaphore(AT_ONCE)


async def stranger_text(stream: IO[bytes], name: str) -> str | None:
    """The `parameters` text of a picture, or None if it has none. name: for errors. Raises UserError."""
    async with _turns:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "limner.studio.work.picture_text",
            name,
            stdin=stream,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
            said = json.loads(output)
        except (TimeoutError, ValueError):
            raise UserError(
                f"{name} took too much time or memory to read, as no picture does; do not trust it"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
    if "problem" in said:
        raise UserError(said["problem"])
    return said["text"]
