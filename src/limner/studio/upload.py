"""What is sent to the studio, taken in on the disk."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from fastapi import Request


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[IO[bytes]]:
    """The body of a request, as large as its route allows (max_body_size), as a file that is gone afterwards."""
    with tempfile.TemporaryFile() as stream:
        async for part in request.stream():
            stream.write(part)
        stream.flush()
        stream.seek(0)
        yield stream
