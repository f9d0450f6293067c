"""The MongoDB backend: the storage contract on one document a run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from msgspec import structs
from pymongo.errors import PyMongoError

from pyworkflow_core.errors import ConfigurationError, OutcomeUnknown
from pyworkflow_core.events import Event
from pyworkflow_core.plugins import redact
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    FeedPage,
    Limits,
    Page,
    RunQuery,
    StorageBackend,
)

from . import claims, faults, listing, schema
from .commit import Committer
from .documents import chunks_of, record_of
from .driver import close_client, driver_of, make_client
from .feed import Feed
from .namespace import Collections
from .options import Options, Place, parse_url
from .push import Listener
from .reading import read_log

_DATABASE = "pyworkflow"
_ALONE = Capabilities(durable=True, multi_process=True, server=True)
_TRIES = 5


class MongoStorageBackend(StorageBackend):
    """Keeps runs in collections of a MongoDB database.

    Args:
        where: a URL, or a client: `pymongo.AsyncMongoClient` or Motor's `AsyncIOMotorClient`. A client
            stays the caller's: it is not closed.
        database: the database; by default the one that the URL names, or ``pyworkflow``.
        namespace: what the names of the collections begin with.
        driver: ``pymongo`` (the default) or ``motor``, for a URL.
        lanes: how many commands may be under way at once.

    Attributes:
        capabilities: feed and push where the server has an oplog, known once the handle is open.
    """

    capabilities = _ALONE
    # A document holds a record, a tail of one append at most, and ids: far from 16 MiB.
    limits = Limits()

    def __init__(
        self,
        where: Any,
        *,
        database: str | None = None,
        namespace: str | None = None,
        driver: str | None = None,
        lanes: int | None = None,
    ) -> None:
        more: dict[str, Any] = {"namespace": namespace, "driver": driver, "lanes": lanes}
        if isinstance(where, str):
            self._place = parse_url(where, more)
            self._given: Any = None
        else:
            more["driver"] = driver_of(where)
            options = Options(**{name: value for name, value in more.items() if value is not None})
            self._place = Place("", "", frozenset(), options)
            self._given = where
        self._database = database or self._place.database or _DATABASE
        self._client: Any = None
        self._client_loop: asyncio.AbstractEventLoop | None = None
        self._collections: Collections
        self._committer: Committer
        self._feeder: Feed
        self._listener: Listener | None = None

    @property
    def options(self) -> Options:
        """What is set."""
        return self._place.options

    # ---- opening and closing -----------------------------------------------------------

    async def _open(self) -> None:
        await self._let_go()
        try:
            client = self._given if self._given is not None else make_client(self._place)
        except (PyMongoError, ValueError) as error:
            raise ConfigurationError(f"{redact(self._place.url)!r}: {error}") from error
        try:
            await self._use(client)
        except BaseException as error:
            if self._given is None:
                await close_client(client)
            if isinstance(error, PyMongoError):
                raise faults.typed(error, "opening the namespace") from error
            raise
        self._client, self._client_loop = client, asyncio.get_running_loop()

    async def _use(self, client: Any) -> None:
        hello = await client.admin.command("hello")
        replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        options = self.options
        collections = Collections(
            client, self._database, options.namespace, options.lanes, replicated=replicated
        )
        name = await schema.prepare(collections)
        self._collections = collections
        self._committer = Committer(collections)
        self._feeder, self._listener = Feed(collections, name), Listener(collections)
        self.capabilities = structs.replace(_ALONE, feed=replicated, push=replicated)

    async def _close(self) -> None:
        await self._let_go()

    async def _let_go(self) -> None:
        """Close what is open; what belongs to another event loop can only be forgotten."""
        client, self._client = self._client, None
        if client is None:
            return
        here = self._client_loop is asyncio.get_running_loop()
        if here and self._listener is not None:
            await self._listener.close()
            await self._feeder.close()
            await self._collections.close()
        if self._given is None:
            with contextlib.suppress(*(() if here else (Exception,))):
                await close_client(client)

    async def drop(self) -> None:
        """Remove the namespace with all runs in it. Handles that are open fail from then on."""
        await self._ready()
        with faults.reading("dropping the namespace"):
            await schema.drop(self._collections)

    # ---- the contract ------------------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        return await self._committer.commit(appends)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        with faults.reading(f"reading run {run_id!r}"):
            return await read_log(self._collections, run_id, after, limit)

    async def _get(self, run_id: str) -> RunRecord | None:
        runs = self._collections.runs
        with faults.reading(f"reading the record of run {run_id!r}"):
            found = await self._collections.do(
                runs.find_one, {"_id": run_id, "head": {"$gt": 0}}, {"record": 1}
            )
        return None if found is None else record_of(found)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        with faults.reading("listing runs"):
            return await listing.find(self._collections, query, cursor, limit)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        with faults.reading("claiming runs"):
            return await claims.claim(self._collections, owner, now, lease, limit, queues, run_id)

    async def _extend(self, claim: Claim, until: int) -> bool:
        with faults.reading(f"extending the lease of run {claim.run_id!r}"):
            return await claims.set_lease(self._collections, claim, until)

    async def _release(self, claim: Claim) -> bool:
        with faults.reading(f"releasing run {claim.run_id!r}"):
            return await claims.set_lease(self._collections, claim, None)

    async def _delete(self, run_id: str, expected: int) -> None:
        runs, do = self._collections.runs, self._collections.do
        for _ in range(_TRIES):
            with faults.reading(f"deleting run {run_id!r}"):
                found = await do(runs.find_one, {"_id": run_id}, {"inc": 1, "head": 1, "dead": 1})
            if found is None:
                return
            dead = found.get("dead", [])
            if "head" in found:
                if found["head"] != expected:
                    raise ValueError(
                        f"run {run_id!r}: its head is {found['head']}, not {expected}; nothing was removed"
                    )
                dead = [*dead, found["inc"]]
                where = {"_id": run_id, "inc": found["inc"], "head": expected}
                buried = {"_id": "$_id", "dead": {"$literal": dead}}
                with _deleting(run_id):
                    gone = await do(runs.update_one, where, [{"$replaceWith": buried}])
                if not gone.matched_count:
                    continue
            self._committer.forget(run_id)
            # What a deletion that did not come this far has left goes, too.
            keys = [{"_id": chunks_of(run_id, incarnation)} for incarnation in dead]
            with _deleting(run_id):
                await do(self._collections.chunks.delete_many, {"$or": keys})
            return
        raise OutcomeUnknown(f"run {run_id!r} moved at every try to delete it; try again")

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        return await self._feeder.page(after, limit)

    async def _wait(self, timeout: int) -> None:
        assert self._listener is not None
        await self._listener.wait(timeout)

    def __repr__(self) -> str:
        where = redact(self._place.url) or "client"
        return f"MongoStorageBackend({where!r}, {self._database!r}, {self.options.namespace!r})"


@contextlib.contextmanager
def _deleting(run_id: str) -> Any:
    try:
        yield
    except PyMongoError as error:
        if faults.is_unsent(error):
            raise faults.typed(error, f"deleting run {run_id!r}") from error
        raise OutcomeUnknown(
            f"run {run_id!r} may or may not be deleted: {faults.say(error)}; delete it again"
        ) from error


def open_url(url: str) -> MongoStorageBackend:
    """Make a handle from ``mongodb://host/database?namespace=name``, with the driver's options.

    Raises:
        ConfigurationError: an option has a value that it cannot have.
    """
    return MongoStorageBackend(url)
