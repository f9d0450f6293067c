"""Waking idle workers by publish and subscribe. A hint: whoever misses one finds the run by looking."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from redis.exceptions import RedisError

from .connections import Unreachable
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
        self._waiters: set[asyncio.Future[None]] = set()
        self._missed = False
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, timeout: int) -> None:
        """Return when something may be due, or after `timeout` microseconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(min(timeout / 1e6, _LONGEST)):
                if await self._listen():
                    return  # something may have become due before
                if self._missed:
                    self._missed = False
                    return
                await waiter
        except TimeoutError:
            return
        finally:
            self._waiters.discard(waiter)

    async def _listen(self) -> bool:
        """Subscribe if nobody has; whether it was done just now."""
        async with self._starting:
            if self._task is not None and not self._task.done():
                return False
            connection = None
            try:
                connection = await self._topology.primaries[0].connect()
                await connection.send_command("SUBSCRIBE", self._channel)
                await connection.read_response()
            except (Unreachable, RedisError, OSError, IndexError):
                await _close(connection)
                await asyncio.sleep(_PAUSE)  # looking goes on without it
                return True
            except BaseException:
                await _close(connection)
                raise
            self._missed = False
            self._task = asyncio.get_running_loop().create_task(self._hear(connection))
            return True

    async def _hear(self, connection: Any) -> None:
        try:
            while True:
                _, _, due = await connection.read_response()
                self._note(float(due))
        except (RedisError, OSError, ValueError):
            self._wake()  # what is said now is not heard
        finally:
            await _close(connection)

    def _note(self, due: float) -> None:
        """Wake everybody when it is due, by this process's clock; of times to come the next one counts."""
        loop = asyncio.get_running_loop()
        delay = due / 1e6 - time.time()
        if delay <= 0:
            self._wake()
        elif delay < _LONGEST and (self._timer is None or loop.time() + delay < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake()

    def _wake(self) -> None:
        self._missed = not self._waiters
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def close(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


async def _close(connection: Any) -> None:
    if connection is not None:
        with contextlib.suppress(Exception):
            await connection.disconnect(nowait=True)
