"""What a handle has on one event loop: drivers' clients belong to the loop that they first ran on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pymongo.errors import PyMongoError

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.plugins import redact

from . import faults, schema
from .commit import Committer
from .driver import close_client, driver_of, make_client
from .feed import Feed
from .namespace import Collections
from .options import Place
from .push import Listener

_CLOSING: set[asyncio.Task[None]] = set()
"""Clients that are being closed after an opening that was cancelled."""


class Session:
    """A namespace, opened.

    Args:
        client: a client of either driver.
        collections: the namespace's.
        name: its name in feed positions.
        owned: whether the client is to be closed with it.

    Attributes:
        collections: the namespace's.
        committer: answers commits.
        feed: reads the feed.
        listener: wakes those who wait.
    """

    def __init__(self, client: Any, collections: Collections, name: str, *, owned: bool) -> None:
        self._client = client if owned else None
        self.collections = collections
        self.committer = Committer(collections)
        self.feed = Feed(collections, name)
        self.listener = Listener(collections)

    async def describe(self) -> list[str]:
        """What is at the other end, for people."""
        client, collections = self.collections.database.client, self.collections
        hello = await collections.do(client.admin.command, "hello")
        build = await collections.do(client.admin.command, "buildInfo")
        kind = "a sharded cluster" if hello.get("msg") == "isdbgrid" else "a server alone"
        if "setName" in hello:
            kind = f"replica set {hello['setName']!r} of {len(hello['hosts'])}"
        return [
            f"MongoDB {build['version']}, {kind}; spoken to with {driver_of(client)}",
            f"namespace {collections.namespace!r} of database {collections.database.name!r}: "
            f"format {schema.FORMAT}",
        ]

    async def close(self) -> None:
        """Let go of everything, after what is under way."""
        try:
            await self.listener.close()
            await self.feed.close()
            await self.collections.close()
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Close the client only: for another loop than the session's, whose tasks cannot be waited for."""
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)


async def _close_after(greeting: asyncio.Future[Any], client: Any) -> None:
    """Close a client that nobody wants any more, but not while it connects: PyMongo would leak the socket."""
    await asyncio.wait([greeting])
    with contextlib.suppress(PyMongoError):
        await close_client(client)


async def open_session(place: Place, database: str, given: Any) -> Session:
    """Connect, and see to the namespace.

    Args:
        place: where, and the options.
        database: the database's name.
        given: the user's own client; None to make one.

    Raises:
        ConfigurationError: the driver does not take the URL, or rights are lacking.
        StorageUnavailable: the server cannot be reached.
        UnsupportedSchema: newer code has made the namespace; or ``migrate=never``, and it is not there.
    """
    try:
        client = make_client(place) if given is None else given
    except (PyMongoError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{redact(place.url)!r}: {error}") from error
    greeting = asyncio.ensure_future(client.admin.command("hello"))
    try:
        hello = await asyncio.shield(greeting)
        replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        options = place.options
        collections = Collections(client, database, options.namespace, options.lanes, replicated=replicated)
        name = await schema.prepare(collections, makes=options.migrate == "auto")
    except BaseException as error:
        if given is None:
            closing = asyncio.get_running_loop().create_task(_close_after(greeting, client))
            _CLOSING.add(closing)
            closing.add_done_callback(_CLOSING.discard)
            if greeting.done():
                await asyncio.shield(closing)
        if isinstance(error, PyMongoError):
            raise faults.typed(error, "opening the namespace") from error
        raise
    return Session(client, collections, name, owned=given is None)
