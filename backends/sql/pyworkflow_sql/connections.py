"""Connections to a database server: SQLAlchemy's pool, and what a driver needs beside it.

A pool belongs to one event loop. A handle that is used on several has one for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from pyworkflow_core.errors import StorageClosed

from .scripts import Call, Script

T = TypeVar("T")
_KEPT = 30.0
"""Seconds that a connection is used without asking SQLAlchemy's pool."""


class Lost(Exception):
    """The connection broke while the server was at work. The cause says how."""


class Link:
    """One connection, as its driver has it. A subclass says how statements are executed.

    Args:
        pooled: the pool's connection.

    Attributes:
        pooled: the pool's connection.
        driver: the driver's own.
        since: when it was taken out of the pool.
    """

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self.pooled = pooled
        self.driver: Any = pooled.driver_connection
        self.since = time.monotonic()

    def is_closed(self) -> bool:
        """Whether the driver knows already that the connection is gone."""
        raise NotImplementedError

    async def execute(self, call: Call) -> Any:
        """Rows, or how many were changed."""
        raise NotImplementedError

    async def run(self, script: Script[T]) -> T:
        """Execute what the script asks for, until it returns."""
        answer: Any = None
        try:
            while True:
                answer = await self.execute(script.send(answer))
        except StopIteration as stop:
            return cast("T", stop.value)

    async def begin(self) -> None:
        """Begin a transaction."""
        raise NotImplementedError

    async def commit(self) -> None:
        """Commit it."""
        raise NotImplementedError

    async def rollback(self) -> None:
        """Undo it."""
        raise NotImplementedError


class Pool:
    """The connections of one event loop.

    Args:
        engine: SQLAlchemy's engine, used by nobody else.
        link: how the driver's connections execute statements.
        unreachable: makes the typed error for a failure to connect.

    Attributes:
        loop: the event loop.
    """

    def __init__(
        self, engine: AsyncEngine, link: type[Link], unreachable: Callable[[Exception], Exception]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._engine: AsyncEngine | None = engine
        self._link = link
        self._unreachable = unreachable
        self._under_way: set[asyncio.Task[None]] = set()
        # Taken out of SQLAlchemy's pool and in use by nobody: the way through that pool takes longer
        # than a server takes to answer.
        self._idle: list[Link] = []
        self._waiting = 0
        self._open: set[Any] = set()
        event.listen(engine.sync_engine, "connect", lambda connection, record: self._open.add(connection))
        event.listen(engine.sync_engine, "close", lambda connection, record: self._open.discard(connection))

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine.

        Raises:
            StorageClosed: the pool was closed.
        """
        if self._engine is None:
            raise StorageClosed("the handle was closed; open a new one")
        return self._engine

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Link]:
        """A connection; one that a statement may have left in disorder is thrown away afterwards.

        Raises:
            StorageUnavailable: the server cannot be reached; nothing was sent.
            StorageClosed: the pool was closed.
        """
        link = await self.acquire()
        try:
            yield link
        except BaseException as error:
            if not isinstance(error, Exception) or isinstance(error, Lost):
                self._discard(link)
            else:
                await self._give_back(link)
            raise
        await self._give_back(link)

    async def acquire(self) -> Link:
        """A connection that is nobody else's."""
        while True:
            engine = self.engine
            link = self._idle.pop() if self._idle else await self._check_out(engine)
            if link.is_closed():
                self._discard(link)
            elif time.monotonic() - link.since > _KEPT:
                # So that SQLAlchemy can look whether it lives, or is too old.
                await greenlet_spawn(link.pooled.close)
            else:
                return link

    async def _check_out(self, engine: AsyncEngine) -> Link:
        # Drivers do not take it well if they are cancelled in the middle of connecting.
        task = self.loop.create_task(greenlet_spawn(engine.sync_engine.raw_connection))
        self._waiting += 1
        try:
            return self._link(await asyncio.shield(task))
        except asyncio.CancelledError:
            self._later(self._give_up(task))
            raise
        except Exception as error:
            raise self._unreachable(error) from error
        finally:
            self._waiting -= 1

    async def _give_up(self, task: asyncio.Task[PoolProxiedConnection]) -> None:
        with contextlib.suppress(Exception):
            await _close(await task)

    async def _give_back(self, link: Link) -> None:
        if self._engine is None or link.is_closed():
            self._discard(link)  # a pool that was closed meanwhile takes nothing back
        elif self._waiting:
            await greenlet_spawn(link.pooled.close)  # somebody waits for one
        else:
            self._idle.append(link)

    def _discard(self, link: Link) -> None:
        """Close a connection beside everything else: the server may have to be told to stop first."""
        self._later(_close(link.pooled))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Close every connection; those in use when they are given back."""
        engine, self._engine = self._engine, None
        idle, self._idle = self._idle, []
        for link in idle:
            await greenlet_spawn(link.pooled.close)
        if engine is not None:
            await engine.dispose()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def abandon(self) -> None:
        """Let go of the connections of a loop that is closed."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        loop: Any = self.loop
        with contextlib.suppress(AttributeError):
            # It calls nothing any more: what closing wants to be done soon is done at once.
            loop.call_soon = lambda callback, *args, context=None: callback(*args)
        for connection in self._open.copy():
            with contextlib.suppress(Exception):
                connection.terminate()
        engine.sync_engine.dispose(close=False)
        with contextlib.suppress(AttributeError):
            del loop.call_soon


async def _close(pooled: PoolProxiedConnection) -> None:
    with contextlib.suppress(Exception):
        await greenlet_spawn(pooled.invalidate)
    await greenlet_spawn(pooled.close)
