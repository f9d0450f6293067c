"""Waking idle workers by a change stream. A hint: whoever misses one finds the run by looking."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pymongo.errors import PyMongoError

from pyworkflow_core.hints import Hints

from .documents import Document
from .driver import open_stream
from .namespace import Collections

_UPDATED = "updateDescription.updatedFields"
# Appends that make a run due, and leases that are given back; not the claims and extensions, which make
# a run due at the end of a lease.
_BECAME_DUE: list[Document] = [
    {
        "$match": {
            "$or": [
                {"fullDocument.due": {"$type": "number"}, "fullDocument.lease": None},
                {
                    f"{_UPDATED}.due": {"$type": "number"},
                    f"{_UPDATED}.span": {"$type": "string"},
                    f"{_UPDATED}.lease": None,
                },
                {f"{_UPDATED}.due": {"$type": "number"}, f"{_UPDATED}.lease": {"$type": "null"}},
            ]
        }
    },
    {"$project": {"_id": 1}},
]
_AWAIT_MS = 1000
_PAUSE = 1.0


class Listener:
    """Wakes those who wait, when a run becomes due. It listens from the first wait on.

    Args:
        collections: whose runs.
    """

    def __init__(self, collections: Collections) -> None:
        self._collections = collections
        self._hints = Hints()
        self._task: asyncio.Task[None] | None = None
        self._listens = asyncio.Event()

    async def wait(self, timeout: int) -> None:
        """Return when a run became due, at once if one did since the last wait, or after `timeout` µs."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout / 1e6):
                await self._listens.wait()
                await self._hints.wait()

    async def close(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(PyMongoError):
                await self._follow()
            # Looking goes on without it; whoever waits may have missed something meanwhile.
            self._listens.set()
            self._hints.tell()
            await asyncio.sleep(_PAUSE)

    async def _follow(self) -> None:
        runs = self._collections.runs
        stream: Any = await open_stream(runs, _BECAME_DUE, max_await_time_ms=_AWAIT_MS)
        try:
            # Not in a lane: most of the time the server only keeps it waiting.
            told = await stream.try_next()
            self._listens.set()
            self._hints.tell()  # what happened before anybody listened
            while stream.alive:
                if told is not None:
                    self._hints.tell()
                told = await stream.try_next()
        finally:
            with contextlib.suppress(PyMongoError):
                await stream.close()
