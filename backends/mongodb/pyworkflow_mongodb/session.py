"""What a handle has on one event loop: drivers' clients belong to the loop that they first ran on."""

from __future__ import annotations

import contextlib
from typing import Any

from pymongo.errors import PyMongoError

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.plugins import redact

from . import faults, schema
from .commit import Committer
from .driver import close_client, make_client
from .feed import Feed
from .namespace import Collections
from .options import Place
from .push import Listener


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


async def open_session(place: Place, database: str, given: Any) -> Session:
    """Connect, and see to the namespace.

    Args:
        place: where, and the options.
        database: the database's name.
        given: the user's own client; None to make one.

    Raises:
        ConfigurationError: the driver does not take the URL, or rights are lacking.
        StorageUnavailable: the server cannot be reached.
        UnsupportedSchema: newer code has made the namespace.
    """
    try:
        client = make_client(place) if given is None else given
    except (PyMongoError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{redact(place.url)!r}: {error}") from error
    try:
        hello = await client.admin.command("hello")
        replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        options = place.options
        collections = Collections(client, database, options.namespace, options.lanes, replicated=replicated)
        name = await schema.prepare(collections)
    except BaseException as error:
        if given is None:
            with contextlib.suppress(PyMongoError):
                await close_client(client)
        if isinstance(error, PyMongoError):
            raise faults.typed(error, "opening the namespace") from error
        raise
    return Session(client, collections, name, owned=given is None)
