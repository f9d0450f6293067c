"""Those who wait for a hint that a run may be due: what every backend that pushes needs alike."""

from __future__ import annotations

import asyncio


class Hints:
    """Hands hints to those who wait. One that comes while nobody waits is kept for the next.

    It belongs to one event loop. Losing a hint loses no run: it is found by claiming.
    """

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self._missed = False

    def tell(self, *what: object) -> None:
        """Wake everybody who waits; `what` is ignored, so that this serves as a callback."""
        self._missed = not self._waiters
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return at the next hint, at once if one came since the last wait."""
        if self._missed:
            self._missed = False
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
