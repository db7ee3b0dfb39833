"""Strangers' pictures, taken in on the disk, and read by a process of its own with little memory and time."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from fastapi import Request

from limner.errors import UserError

SECONDS = 30.0  # until a picture must have been read, on a busy machine
AT_ONCE = 2
MOST_BYTES = 64 * 2**20  # of a picture
# a route's body, for its schema
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"format": "binary"}}}}}

_turns = asyncio.Semaphore(AT_ONCE)


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[IO[bytes]]:
    """The body of a request, as large as its route allows (max_body_size), as a file that is gone afterwards."""
    with tempfile.TemporaryFile() as stream:
        async for part in request.stream():
            stream.write(part)
        stream.flush()
        stream.seek(0)
        yield stream


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
