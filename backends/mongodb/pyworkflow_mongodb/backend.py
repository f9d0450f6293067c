"""The MongoDB backend: the storage contract on one document a run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from msgspec import structs
from pymongo.errors import PyMongoError

from pyworkflow_core.errors import OutcomeUnknown, StorageClosed
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
from .documents import chunks_of, record_of
from .driver import driver_of
from .options import Options, Place, parse_url
from .reading import read_log
from .session import Session, open_session

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
        migrate: ``auto`` (the default) makes the indexes where they are missing, ``never`` does not.

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
        migrate: str | None = None,
    ) -> None:
        more: dict[str, Any] = {
            "namespace": namespace,
            "driver": driver,
            "lanes": lanes,
            "migrate": migrate,
        }
        if isinstance(where, str):
            self._place = parse_url(where, more)
            self._given: Any = None
        else:
            more["driver"] = driver_of(where)
            options = Options(**{name: value for name, value in more.items() if value is not None})
            self._place = Place("", "", frozenset(), options)
            self._given = where
        self._database = database or self._place.database or _DATABASE
        self._sessions: dict[asyncio.AbstractEventLoop, Session] = {}

    @property
    def options(self) -> Options:
        """What is set."""
        return self._place.options

    # ---- opening and closing -----------------------------------------------------------

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if loop in self._sessions:
            return
        for ended in [each for each in self._sessions if each.is_closed()]:
            with contextlib.suppress(Exception):
                await self._sessions.pop(ended).abandon()
        session = await open_session(self._place, self._database, self._given)
        if self.closed:  # while it was opened
            await session.close()
            raise StorageClosed("the handle was closed meanwhile; open a new one")
        self._sessions[loop] = session
        replicated = session.collections.replicated
        self.capabilities = structs.replace(_ALONE, feed=replicated, push=replicated)

    async def _close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        here = sessions.pop(asyncio.get_running_loop(), None)
        for session in sessions.values():
            with contextlib.suppress(Exception):
                await session.abandon()
        if here is not None:
            await here.close()

    @property
    def _here(self) -> Session:
        """What is open on this event loop."""
        session = self._sessions.get(asyncio.get_running_loop())
        if session is None:
            raise StorageClosed("the handle was closed meanwhile; open a new one")
        return session

    async def drop(self) -> None:
        """Remove the namespace with all runs in it. Handles that are open fail from then on."""
        await self._ready()
        with faults.reading("dropping the namespace"):
            await schema.drop(self._here.collections)

    async def describe(self) -> list[str]:
        """What the storage is and promises, in lines for people."""
        promises = await super().describe()
        with faults.reading("describing the server"):
            return [*await self._here.describe(), *promises]

    # ---- the contract ------------------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        return await self._here.committer.commit(appends)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        with faults.reading(f"reading run {run_id!r}"):
            return await read_log(self._here.collections, run_id, after, limit)

    async def _get(self, run_id: str) -> RunRecord | None:
        runs = self._here.collections.runs
        with faults.reading(f"reading the record of run {run_id!r}"):
            found = await self._here.collections.do(
                runs.find_one, {"_id": run_id, "head": {"$gt": 0}}, {"record": 1}
            )
        return None if found is None else record_of(found)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        with faults.reading("listing runs"):
            return await listing.find(self._here.collections, query, cursor, limit)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        with faults.reading("claiming runs"):
            return await claims.claim(self._here.collections, owner, now, lease, limit, queues, run_id)

    async def _extend(self, claim: Claim, until: int) -> bool:
        with faults.reading(f"extending the lease of run {claim.run_id!r}"):
            return await claims.set_lease(self._here.collections, claim, until)

    async def _release(self, claim: Claim) -> bool:
        with faults.reading(f"releasing run {claim.run_id!r}"):
            return await claims.set_lease(self._here.collections, claim, None)

    async def _delete(self, run_id: str, expected: int) -> None:
        runs, do = self._here.collections.runs, self._here.collections.do
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
            self._here.committer.forget(run_id)
            # What a deletion that did not come this far has left goes, too.
            keys = [{"_id": chunks_of(run_id, incarnation)} for incarnation in dead]
            with _deleting(run_id):
                await do(self._here.collections.chunks.delete_many, {"$or": keys})
            return
        raise OutcomeUnknown(f"run {run_id!r} moved at every try to delete it; try again")

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        return await self._here.feed.page(after, limit)

    async def _wait(self, timeout: int) -> None:
        await self._here.listener.wait(timeout)

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
