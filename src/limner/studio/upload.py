"""What is sent to the studio, taken in on the disk and never more of it than is allowed."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from fastapi import HTTPException, Request


@asynccontextmanager
async def received(request: Request, most: int) -> AsyncIterator[IO[bytes]]:
    """The body of a request, of at most so many bytes, as a file that is gone afterwards. Raises HTTPException 413."""
    refusal = HTTPException(413, f"that is larger than {most // 2**20} MB, the most that is taken; give a smaller file")
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said) > most:
        raise refusal
    with tempfile.TemporaryFile() as stream:
        async for part in request.stream():
            stream.write(part)
            if stream.tell() > most:
                raise refusal
        stream.flush()
        stream.seek(0)
        yield stream
