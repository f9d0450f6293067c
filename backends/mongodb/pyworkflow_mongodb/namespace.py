"""A namespace's collections, on one connection pool of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from pyworkflow_core.errors import StorageClosed

from .documents import Document
from .driver import database_of

T = TypeVar("T")
_MOST = 2**31 - 1


class Collections:
    """The collections of a namespace, and the lanes to them.

    The drivers' pools are unfair when many tasks want few connections; the lanes are first come,
    first served.

    Args:
        client: a client of either driver.
        database: the database's name.
        namespace: what the names of the collections begin with.
        lanes: how many commands may be under way at once.
        replicated: whether the server is a member of a replica set, or a router.

    Attributes:
        database: the database.
        runs: a document for each run.
        chunks: older events.
        meta: what the namespace is: its format and its name in feed positions.
    """

    def __init__(self, client: Any, database: str, namespace: str, lanes: int, *, replicated: bool) -> None:
        self.client = client
        self.database = database_of(client, database, replicated=replicated)
        self.namespace = namespace
        self.replicated = replicated
        self.runs = self.database[f"{namespace}.runs"]
        self.chunks = self.database[f"{namespace}.chunks"]
        self.meta = self.database[f"{namespace}.meta"]
        self._count = lanes
        self._lanes = asyncio.Semaphore(lanes)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def do(self, call: Callable[..., Awaitable[T]], *arguments: Any, **more: Any) -> T:
        """Make a call when a lane is free.

        Whoever is cancelled leaves the call to end by itself: the drivers would throw its connection away,
        and PyMongo does not close one that is just being made.

        Raises:
            StorageClosed: the handle was closed before; nothing was sent.
        """
        await self._lanes.acquire()
        task = asyncio.get_running_loop().create_task(self._call(call, arguments, more))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _call(
        self, call: Callable[..., Awaitable[T]], arguments: tuple[Any, ...], more: dict[str, Any]
    ) -> T:
        try:
            if self._closed:
                raise StorageClosed("the handle was closed meanwhile; open a new one")
            return await call(*arguments, **more)
        finally:
            self._lanes.release()

    async def close(self) -> None:
        """Let nobody begin anything any more, and wait for what is under way."""
        self._closed = True
        for _ in range(self._count):
            await self._lanes.acquire()
        for _ in range(self._count):
            self._lanes.release()

    async def find(
        self,
        collection: Any,
        what: Mapping[str, Any],
        *,
        fields: Mapping[str, Any] | None = None,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[Document]:
        """The documents that match."""
        cursor = collection.find(what, fields, sort=list(sort) or None, limit=min(limit, _MOST))
        found: list[Document] = await self.do(cursor.to_list, None)
        return found
