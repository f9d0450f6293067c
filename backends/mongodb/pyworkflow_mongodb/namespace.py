"""A namespace's collections, on one connection pool of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from .documents import Document
from .driver import database_of

T = TypeVar("T")


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
        self._lanes = asyncio.Semaphore(lanes)

    async def do(self, call: Awaitable[T]) -> T:
        """Make a call when a lane is free."""
        async with self._lanes:
            return await call

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
        cursor = collection.find(what, fields, sort=list(sort) or None, limit=limit)
        async with self._lanes:
            found: list[Document] = await cursor.to_list(None)
        return found
