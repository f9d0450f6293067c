"""Waking idle workers by publish and subscribe. A hint: whoever misses one finds the run by looking."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from redis.exceptions import RedisError

from pyworkflow_core.hints import Hints

from .connections import Unreachable, abandon, drop
from .topology import Topology

_PAUSE = 1.0
_LONGEST = 3600.0


class Listener:
    """Wakes those who wait, when it is said that something is due.

    Args:
        topology: whose servers to listen to; every node of a cluster hears of everything.
        channel: where it is said. A message is the due time of a run, in microseconds.
    """

    def __init__(self, topology: Topology, channel: str) -> None:
        self._topology = topology
        self._channel = channel
        self._hints = Hints()
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, timeout: int) -> None:
        """Return when something may be due, or after `timeout` microseconds."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout / 1e6, _LONGEST)):
                await self._hints.wait()

    async def _listen(self) -> None:
        """Subscribe, again whenever the connection breaks; looking goes on without it."""
        while True:
            try:
                await self._hear()
            except (Unreachable, RedisError, OSError, ValueError, IndexError):
                await self._drop()
            await asyncio.sleep(_PAUSE)
            with contextlib.suppress(Unreachable):
                await self._topology.refresh()

    async def _hear(self) -> None:
        self._connection = connection = await self._topology.primaries[0].connect()
        await connection.send_command("SUBSCRIBE", self._channel)
        await connection.read_response()
        self._hints.tell()  # what was said before was not heard
        while True:
            _, _, due = await connection.read_response()
            self._note(float(due))

    def _note(self, due: float) -> None:
        """Wake everybody when it is due, by this process's clock; of times to come the next one counts."""
        loop = asyncio.get_running_loop()
        delay = due / 1e6 - time.time()
        if delay <= 0:
            self._hints.tell()
        elif delay < _LONGEST and (self._timer is None or loop.time() + delay < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._hints.tell()

    async def _drop(self) -> None:
        if self._connection is not None:
            await drop(self._connection)

    async def close(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._drop()

    def abandon(self) -> None:
        """The same where the event loop runs no more."""
        if self._connection is not None:
            abandon(self._connection)
