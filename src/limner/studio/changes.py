"""News: those who wait are told that something is new, and find out themselves what."""

import asyncio
import contextlib


class Changes:
    """Tells those who wait that something is new; the count says whether they have seen it."""

    def __init__(self) -> None:
        self.count = 0
        self._new = asyncio.Event()

    def tell(self) -> None:
        self.count += 1
        self._new.set()
        self._new = asyncio.Event()

    async def after(self, count: int, seconds: float) -> int:
        """Wait until there is more than `count`, at most so long; returns the count."""
        if self.count == count:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._new.wait(), seconds)
        return self.count
