"""The LMDB backend: each method of the storage contract is one transaction.

What LMDB demands of threads, maps and processes is in `environment`, what lies where in `layout`.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from pyworkflow_core.checks import read_cursor, write_cursor
from pyworkflow_core.errors import ConfigurationError, FeedPositionLost, OutcomeUnknown
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord
from pyworkflow_core.sequencing import answer_moved
from pyworkflow_core.storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    Committed,
    Conflict,
    FeedPage,
    Page,
    RunQuery,
    StorageBackend,
    Unknown,
)

from . import layout
from .environment import Environment, acquire
from .layout import Lease, Run

if TYPE_CHECKING:
    from .environment import Txn

T = TypeVar("T")


class LmdbStorageBackend(StorageBackend):
    """Keeps runs in a folder. Several processes of one machine may use it at once.

    Args:
        path: the folder, on a local disk; it is made on first use.
        map_size: bytes of memory map to begin with; it grows by itself.
    """

    capabilities = Capabilities(durable=True, multi_process=True, feed=True)

    def __init__(self, path: str | os.PathLike[str], *, map_size: int = 64 * 1024 * 1024) -> None:
        self.path = os.path.abspath(path)
        self._map_size = map_size
        self._environment: Environment | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    async def _open(self) -> None:
        if self._environment is None or self._environment.pid != os.getpid():
            self._environment = acquire(self.path, self._map_size)
        await self._look(lambda txn: None)

    async def _close(self) -> None:
        if self._environment is not None and self._environment.pid == os.getpid():
            await self._environment.release()

    async def _look(self, work: Callable[[Txn], T]) -> T:
        assert self._environment is not None, "the base class opens the handle first"
        return await self._environment.run(work)

    async def _change(self, work: Callable[[Txn], T]) -> T:
        assert self._environment is not None, "the base class opens the handle first"
        return await self._environment.run(work, write=True)

    # ---- commit, read, get ---------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        try:
            return await self._change(lambda txn: [_append(txn, append) for append in appends])
        except OutcomeUnknown as error:
            return [Unknown(append.run_id, error) for append in appends]

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        return await self._look(lambda txn: layout.read_events(txn, run_id, after, limit))

    async def _get(self, run_id: str) -> RunRecord | None:
        run = await self._look(lambda txn: layout.load_run(txn, run_id))
        return None if run is None else run.record

    # ---- find, feed ----------------------------------------------------------------

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        return await self._look(lambda txn: _find_page(txn, query, cursor, limit))

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        return await self._look(lambda txn: _read_feed(txn, after, limit))

    # ---- claim, extend, release ----------------------------------------------------

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        def claim(txn: Txn) -> list[Claim]:
            if run_id is None:
                runs = layout.due_runs(txn, now, limit, queues)
            else:
                runs = _due_run(txn, run_id, now, queues)
            return [_lease_run(txn, run, owner, now + lease) for run in runs]

        return await self._change(claim)

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self._change(lambda txn: _move_lease(txn, claim, Lease(until, claim.token)))

    async def _release(self, claim: Claim) -> bool:
        return await self._change(lambda txn: _move_lease(txn, claim, None))

    # ---- delete --------------------------------------------------------------------

    async def _delete(self, run_id: str, expected: int) -> None:
        await self._change(lambda txn: _delete_run(txn, run_id, expected))


def _append(txn: Txn, append: Append) -> Answer:
    run_id, old = append.run_id, layout.load_run(txn, append.run_id)
    head = 0 if old is None else old.record.head
    same = old is None or old.record.incarnation == append.incarnation
    if append.expected != head or not same:
        there = layout.read_events(txn, run_id, append.expected, len(append.events)) if same else []
        return answer_moved(append, head, there)
    if old is None and layout.was_removed(txn, run_id, append.incarnation):
        return Conflict(run_id, 0)  # it was made for the run that was deleted
    lease, change = None if old is None else old.lease, append.lease
    if change is not None and (lease is None or lease.token == change.token):
        lease = None if change.until is None else Lease(change.until, change.token)
    layout.store_run(txn, old, Run(append.record, lease))
    layout.store_events(txn, append.events)
    return Committed(run_id, append.record.head)


def _find_page(txn: Txn, query: RunQuery, cursor: str | None, limit: int) -> Page:
    """Look only where creation times match, and there at every run."""
    start = b""
    if query.created_before is not None:
        start = layout.created_key(query.created_before - 1)
    if cursor is not None:
        start = max(start, layout.created_key(*read_cursor(cursor)) + b"\0")
    found: list[RunRecord] = []
    for record in layout.listed_records(txn, start):
        if query.created_from is not None and record.created_at < query.created_from:
            break
        if query.matches(record):
            if len(found) == limit:
                return Page(found, write_cursor(found[-1]))
            found.append(record)
    return Page(found, None)


def _read_feed(txn: Txn, after: str | None, limit: int) -> FeedPage:
    """A position is the store's name and the place of the last event that was handed out."""
    name = layout.known(txn, b"m.name").decode()
    place = 0
    if after is not None:
        match = re.fullmatch(rf"{name}\.([0-9]{{1,30}})", after)
        if match is None or (place := int(match[1])) > layout.last_place(txn):
            raise FeedPositionLost(f"{after!r} is no feed position of this store; begin again with None")
    found = list(layout.read_places(txn, place, limit))
    last = found[-1][0] if found else place
    return FeedPage([event for _, event in found], f"{name}.{last}")


def _due_run(txn: Txn, run_id: str, now: int, queues: tuple[str, ...] | None) -> list[Run]:
    run = layout.load_run(txn, run_id)
    if run is None or (queues is not None and run.record.queue not in queues):
        return []
    due_at = run.due_at()
    return [run] if due_at is not None and due_at <= now else []


def _lease_run(txn: Txn, run: Run, owner: str, until: int) -> Claim:
    token = secrets.token_hex(16)
    layout.store_run(txn, run, Run(run.record, Lease(until, token)))
    return Claim(run.record.run_id, owner, token, until, run.record)


def _move_lease(txn: Txn, claim: Claim, lease: Lease | None) -> bool:
    run = layout.load_run(txn, claim.run_id)
    if run is None or run.lease is None or run.lease.token != claim.token:
        return False
    layout.store_run(txn, run, Run(run.record, lease))
    return True


def _delete_run(txn: Txn, run_id: str, expected: int) -> None:
    run = layout.load_run(txn, run_id)
    if run is None:
        return
    if run.record.head != expected:
        head = run.record.head
        raise ValueError(f"run {run_id!r}: its head is {head}, not {expected}; nothing was removed")
    layout.remove_run(txn, run)


def open_url(url: str) -> LmdbStorageBackend:
    """Make a handle from ``lmdb:///absolute/path`` or ``lmdb:relative/path``.

    Raises:
        ConfigurationError: the URL names no folder, or something beside it.
    """
    parts = urlsplit(url)
    if not parts.path or parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r}: write lmdb:///absolute/path or lmdb:relative/path")
    return LmdbStorageBackend(unquote(parts.path))
