"""Waking idle workers by LISTEN and NOTIFY. A hint: whoever misses one finds the run by looking.

A transaction that notifies takes a lock of the whole server while it commits. So no commit of
ours does: one small transaction afterwards tells of all that has become due meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from pyworkflow_core.hints import Hints

from .connections import Link, Pool

_PAUSE = 0.005


class Listener:
    """Wakes those who wait, when the server notifies.

    Args:
        connect: makes a connection of asyncpg that nobody else uses.
        channel: the channel to listen on.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], channel: str) -> None:
        self._connect = connect
        self._channel = channel
        self._connection: Any = None
        self._connecting = asyncio.Lock()
        self._hints = Hints()

    async def wait(self, timeout: int) -> None:
        """Return at a notification, at once if one came since the last wait, or after `timeout` µs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout / 1e6):
                await self._listen()
                await self._hints.wait()

    async def _listen(self) -> None:
        async with self._connecting:
            if self._connection is not None and not self._connection.is_closed():
                return
            try:
                self._connection = await self._connect()
                await self._connection.add_listener(self._channel, self._hints.tell)
                self._connection.add_termination_listener(self._hints.tell)
            except Exception:
                # Looking goes on without it; here it is tried again at the next wait.
                await asyncio.sleep(1)

    async def close(self) -> None:
        """Listen no more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)


class Notifier:
    """Tells others, soon after, that something is due; once for all that happens in between.

    Args:
        notify: sends one notification.
    """

    def __init__(self, notify: Callable[[], Awaitable[object]]) -> None:
        self._notify = notify
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Send a notification soon."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._wanted:
            self._wanted = False
            with contextlib.suppress(Exception):
                await self._notify()
            await asyncio.sleep(_PAUSE)

    async def close(self) -> None:
        """Send what is still to be sent, and end."""
        if self._task is not None:
            with contextlib.suppress(Exception):
                await self._task


class PushingPool(Pool):
    """The connections of one event loop, with those who listen and notify there.

    Args:
        engine: see `Pool`.
        link: see `Pool`.
        unreachable: see `Pool`.
        channel: the channel of the namespace.
        notify: sends one notification on it.

    Attributes:
        listener: waits for notifications.
        notifier: sends them.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        link: type[Link],
        unreachable: Callable[[Exception], Exception],
        *,
        channel: str,
        notify: Callable[[], Awaitable[object]],
    ) -> None:
        super().__init__(engine, link, unreachable)
        self.listener = Listener(self._connect_alone, channel)
        self.notifier = Notifier(notify)

    async def _connect_alone(self) -> Any:
        """A connection of asyncpg that the pool does not count."""
        link = await self.acquire()
        await greenlet_spawn(link.pooled.detach)
        return link.driver

    async def close(self) -> None:
        """Close every connection, that of the listener included."""
        await self.listener.close()
        await self.notifier.close()
        await super().close()
