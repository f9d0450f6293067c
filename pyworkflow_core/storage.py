"""The storage contract: all that a backend is.

The log is the only truth, and one conditional append is the only write. A backend subclasses
`StorageBackend`, declares `capabilities` and `limits`, and implements the methods whose names
begin with an underscore. The public methods check arguments, open the handle on first use and
refuse a closed one, so that every backend refuses the same things in the same words. All times
are integer microseconds since 1970 in UTC; all durations are integer microseconds.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from msgspec import Struct

from . import checks
from .description import describe_storage
from .errors import StorageClosed, StorageError
from .events import Event
from .ids import validate_id
from .record import RunRecord, RunStatus

Position = str
"""A place in the feed. Opaque to everyone but the backend that handed it out."""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a backend says of itself. The conformance suite checks that it is true.

    Attributes:
        durable: an acknowledged append survives kill -9 of the process.
        multi_process: several processes may use one namespace at once.
        file_medium: the data are files of its own, which a test may cut.
        server: it talks to a server over a connection that may break.
        feed: `feed` works in this namespace.
        push: `wait` returns when a run becomes due.
        transactions: `commit(within=…)` joins the user's own transaction.
        clock: whose clock decides what is due: the ``caller``'s or the ``server``'s.
        due_order: priorities order claims in the whole namespace (``global``) or in each part (``shard``).
        failover_loss: in words, what a failover of the server can still lose; empty for nothing.
    """

    durable: bool = False
    multi_process: bool = False
    file_medium: bool = False
    server: bool = False
    feed: bool = False
    push: bool = False
    transactions: bool = False
    clock: str = "caller"
    due_order: str = "global"
    failover_loss: str = ""


class Limits(Struct, frozen=True, kw_only=True):
    """The largest things a backend stores. None means no limit of its own.

    Attributes:
        event_bytes: size of one event's body.
        append_events: events in one append.
        append_bytes: bodies of one append together.
        commit_appends: appends in one commit.
        commit_bytes: bodies of one commit together.
    """

    event_bytes: int | None = 4 * 1024 * 1024
    append_events: int | None = 1000
    append_bytes: int | None = 8 * 1024 * 1024
    commit_appends: int | None = 1000
    commit_bytes: int | None = 16 * 1024 * 1024


class LeaseChange(Struct, frozen=True):
    """A change of a run's lease, made in the same atomic step as an append.

    It applies if the run has no lease, or one with this `token`; otherwise the append is
    made and the lease stays as it is (the expected sequence keeps truth, a lease saves work).

    Attributes:
        token: the lease's token.
        owner: who holds it, for people.
        until: when it ends; None releases it.
    """

    token: str
    owner: str
    until: int | None


class Append(Struct, frozen=True):
    """One run's events, to be written all or not at all, after event `expected`.

    Attributes:
        run_id: the run.
        incarnation: the run's incarnation; the one just drawn where `expected` is 0.
        expected: sequence number of the run's last event as the writer knows it; 0 for none.
        events: at least one event, numbered from ``expected + 1`` on without a gap.
        record: the run record after these events.
        lease: what happens to the run's lease in the same step.
    """

    run_id: str
    incarnation: str
    expected: int
    events: tuple[Event, ...]
    record: RunRecord
    lease: LeaseChange | None = None


class Committed(Struct, frozen=True):
    """The append is in the log, as durable as the backend declares.

    Attributes:
        run_id: the run.
        head: sequence number of the append's last event.
    """

    run_id: str
    head: int


class Conflict(Struct, frozen=True):
    """The log is not where the append expects it. Nothing of the append was written.

    Attributes:
        run_id: the run.
        head: a head seen at or after the comparison; 0 if the run does not exist.
    """

    run_id: str
    head: int


class Refused(Struct, frozen=True):
    """The append can never be stored as it is. Nothing of it was written.

    Attributes:
        run_id: the run.
        error: why, such as `LimitExceeded` or `EventIdReused`.
    """

    run_id: str
    error: StorageError


class Unknown(Struct, frozen=True):
    """The append may or may not have been written; submit the identical one again.

    Attributes:
        run_id: the run.
        cause: what went wrong.
    """

    run_id: str
    cause: BaseException


Answer = Committed | Conflict | Refused | Unknown


class Claim(Struct, frozen=True):
    """A lease on a due run.

    Attributes:
        run_id: the run.
        owner: who claimed it.
        token: tells this claim from every other claim of the run.
        until: when the lease ends.
        record: the run record at the time of the claim.
    """

    run_id: str
    owner: str
    token: str
    until: int
    record: RunRecord


class RunQuery(Struct, frozen=True, kw_only=True):
    """Which runs to list. Every part that is given must match.

    Attributes:
        status: one of these.
        workflow: exactly this workflow.
        queue: exactly this queue.
        parent: children of this run.
        created_from: created at or after this moment.
        created_before: created before this moment.
        attributes: every one of these attributes has exactly this value.
    """

    status: frozenset[RunStatus] | None = None
    workflow: str | None = None
    queue: str | None = None
    parent: str | None = None
    created_from: int | None = None
    created_before: int | None = None
    attributes: dict[str, str] = {}

    def matches(self, record: RunRecord) -> bool:
        """Whether `record` is one of those asked for."""
        return (
            (self.status is None or record.status in self.status)
            and (self.workflow is None or record.workflow == self.workflow)
            and (self.queue is None or record.queue == self.queue)
            and (self.parent is None or record.parent == self.parent)
            and (self.created_from is None or record.created_at >= self.created_from)
            and (self.created_before is None or record.created_at < self.created_before)
            and all(record.attributes.get(k) == v for k, v in self.attributes.items())
        )


class Page(Struct, frozen=True):
    """One page of a listing: newest first, then by id.

    Attributes:
        records: at most as many as asked for.
        cursor: hand it in for the next page; None after the last.
    """

    records: list[RunRecord]
    cursor: str | None


class FeedPage(Struct, frozen=True):
    """The next events of the feed.

    Attributes:
        events: in each run's order; runs may interleave.
        position: hand it in to go on behind them.
    """

    events: list[Event]
    position: Position


class StorageBackend(ABC):
    """A place where runs' logs live. Subclass it, and prove it with the conformance suite."""

    capabilities: Capabilities = Capabilities()
    limits: Limits = Limits()

    _closed = False
    _loop: asyncio.AbstractEventLoop | None = None
    _opening: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    # ---- what a backend implements -------------------------------------------------

    @abstractmethod
    async def _open(self) -> None:
        """Connect, create or migrate the schema. Called again when another event loop uses the handle."""

    @abstractmethod
    async def _close(self) -> None:
        """Let go of everything. Called once, opened or not."""

    @abstractmethod
    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        """Answer each append in order; see `commit`. Runs, ids and limits are already checked."""

    @abstractmethod
    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        """Events of the run with a sequence above `after`, in order; `limit` is positive or None."""

    @abstractmethod
    async def _get(self, run_id: str) -> RunRecord | None:
        """The run's record."""

    @abstractmethod
    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        """One page, newest first (``created_at`` falling), then by id rising. See `checks.read_cursor`."""

    @abstractmethod
    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        """Lease up to `limit` due runs until ``now + lease``."""

    @abstractmethod
    async def _extend(self, claim: Claim, until: int) -> bool:
        """Move the end of a lease that is still the claim's."""

    @abstractmethod
    async def _release(self, claim: Claim) -> bool:
        """End a lease that is still the claim's. Touches nothing else."""

    @abstractmethod
    async def _delete(self, run_id: str, expected: int) -> None:
        """Remove log, record, lease and due entry; do nothing if the head is not `expected`."""

    async def _feed(self, after: Position | None, limit: int) -> FeedPage:
        raise NotImplementedError

    async def _wait(self, timeout: int) -> None:
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def open(self) -> None:
        """Make the handle ready. Idempotent; every other method does it on first use.

        Raises:
            StorageUnavailable: the medium cannot be reached.
            UnsupportedSchema: the data was written by newer code.
            StorageClosed: the handle was closed.
        """
        await self._ready()

    async def close(self) -> None:
        """Let go of the medium. Idempotent; every later call raises `StorageClosed`."""
        if not self._closed:
            self._closed = True
            await self._close()

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write many appends, each all or nothing and independent of its neighbours.

        Args:
            appends: at most one for a run.
            within: the user's open connection or session, with capability ``transactions``.

        Returns:
            One answer for each append, in order. When this returns, every `Committed` one is
            as durable as the backend declares. Submitting an append again whose event ids
            are already at its positions is `Committed`.

        Raises:
            ValueError: an append without events, a run named twice, positions with a gap,
                or an event of another run; nothing was written.
            InvalidIdError: an id that cannot be stored; nothing was written.
            UnserializableValueError: a body or a new run's record is unfit; nothing was written.
            StorageUnavailable: nothing was written.
        """
        checks.check_appends(appends)
        if self._closed or self._loop is not asyncio.get_running_loop():
            await self._ready()
        if within is not None and not self.capabilities.transactions:
            raise ValueError(f"{type(self).__name__} cannot join a transaction: within= must be None")
        if not (over := checks.find_over_limit(appends, self.limits)):
            return await self._commit(appends, within) if appends else []
        accepted = [a for a in appends if a.run_id not in over]
        answers = iter(await self._commit(accepted, within) if accepted else [])
        return [Refused(a.run_id, over[a.run_id]) if a.run_id in over else next(answers) for a in appends]

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """The run's events with a sequence above `after`, in order, at most `limit` of them.

        Raises:
            ValueError: `after` or `limit` is negative.
            CorruptLog: the log is damaged.
        """
        validate_id(run_id)
        checks.check_paging(after, limit)
        await self._ready()
        return [] if limit == 0 else await self._read(run_id, after, limit)

    async def get(self, run_id: str) -> RunRecord | None:
        """The run's record, or None if there is no such run."""
        validate_id(run_id)
        await self._ready()
        return await self._get(run_id)

    async def find(
        self, query: RunQuery | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> Page:
        """One page of the runs that match, newest first, then by id.

        Raises:
            InvalidCursor: `cursor` is not one that this method returned.
            ValueError: `limit` is negative.
        """
        checks.check_paging(0, limit)
        await self._ready()
        if limit == 0 or not checks.can_match(query):
            return Page([], None if limit else cursor)
        return await self._find(query or RunQuery(), cursor, limit)

    async def claim(
        self,
        *,
        owner: str,
        now: int,
        lease: int,
        limit: int = 1,
        queues: Sequence[str] | None = None,
        run_id: str | None = None,
    ) -> list[Claim]:
        """Lease due runs, so that no other worker takes them before the lease ends.

        A run is due when both its wake time and the end of its lease have come. Of one queue, the lowest
        priority number comes first, then the earliest due time (the later of the two), then the id.

        Args:
            owner: who claims, for people.
            now: the caller's time.
            lease: how long, in microseconds.
            limit: how many at most.
            queues: only these; None for every queue.
            run_id: only this run.

        Raises:
            ValueError: the lease is not positive, `limit` is negative, or a name is impossible.
        """
        checks.check_claiming(owner, lease, limit, queues, run_id)
        await self._ready()
        if limit == 0 or (queues is not None and not queues):
            return []
        return await self._claim(owner, now, lease, limit, None if queues is None else tuple(queues), run_id)

    async def extend(self, claim: Claim, until: int) -> bool:
        """Let the claim's lease end at `until`. False, and no change, if it is no longer the claim's."""
        checks.check_claim(claim)
        await self._ready()
        return await self._extend(claim, until)

    async def release(self, claim: Claim) -> bool:
        """End the claim's lease. False, and no change, if it is no longer the claim's."""
        checks.check_claim(claim)
        await self._ready()
        return await self._release(claim)

    async def delete(self, run_id: str, *, expected: int) -> None:
        """Remove the run, if its head is still `expected`; do nothing if there is none.

        Raises:
            ValueError: the head is another one; nothing was removed.
        """
        validate_id(run_id)
        checks.check_paging(expected, None)
        await self._ready()
        await self._delete(run_id, expected)

    async def feed(self, *, after: Position | None = None, limit: int = 1000) -> FeedPage:
        """Events of all runs behind `after`, each once, in each run's order, none skipped; maybe not at once.

        Raises:
            FeedPositionLost: the position is no longer held.
            NotImplementedError: the backend does not declare ``feed``.
        """
        checks.check_paging(0, limit)
        await self._ready()
        if not self.capabilities.feed:
            raise NotImplementedError(f"{type(self).__name__} has no feed in this namespace")
        return await self._feed(after, limit)

    async def wait(self, timeout: int) -> None:
        """Return when a run may have become due, or after `timeout` microseconds. A hint only."""
        await self._ready()
        if not self.capabilities.push:
            raise NotImplementedError(f"{type(self).__name__} does not push; poll claim instead")
        await self._wait(timeout)

    async def describe(self) -> list[str]:
        """What the storage is and promises, in lines for people. A backend may say more of itself."""
        await self._ready()
        return describe_storage(self.capabilities, self.limits)

    async def get_events(self, run_id: str) -> list[Event]:
        """All events of a run, in order."""
        return await self.read(run_id)

    get_run = get

    async def list_runs(self, query: RunQuery | None = None, *, limit: int = 100) -> list[RunRecord]:
        """The newest `limit` runs that match."""
        return (await self.find(query, limit=limit)).records

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def _ready(self) -> None:
        if self._closed:
            raise StorageClosed(f"{type(self).__name__} is closed; open a new one")
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        # One opening a loop at a time: a lock of the loop's own, since locks belong to one.
        if self._opening is None or self._opening[0] is not loop:
            self._opening = (loop, asyncio.Lock())
        async with self._opening[1]:
            if self._loop is not loop:
                await self._open()
                self._loop = loop
