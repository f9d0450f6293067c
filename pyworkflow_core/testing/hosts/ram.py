"""A store in this process's memory: what handles of one name share is one `State`.

Nothing is awaited between looking at the state and changing it, so that no other task ever
sees, or comes between, half of a step. Each method gives way once, at a place where a
correct store may; a real one waits for its database there.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from ...errors import StorageUnavailable
from ...events import Event
from ...record import RunRecord
from ...storage import Answer, Append, Capabilities, Claim, Committed, FeedPage, Page, RunQuery
from .plain import PlainStore
from .state import Run, State


class Namespace:
    """What the handles of one name share.

    Attributes:
        state: the runs.
        waiters: one future for each task that waits for a run to become due.
    """

    def __init__(self) -> None:
        self.state = State(secrets.token_hex(4))
        self.waiters: set[asyncio.Future[None]] = set()


NAMESPACES: dict[str, Namespace] = {}
"""Every namespace of this process, by name."""


class RamStore(PlainStore):
    """Keeps runs in dictionaries, for as long as the process lives.

    Args:
        name: handles of equal name share their runs.
    """

    capabilities = Capabilities(feed=True, push=True, transactions=True)

    def __init__(self, name: str) -> None:
        self.name = name
        self._space = self._find_namespace(name)

    def _find_namespace(self, name: str) -> Namespace:
        return NAMESPACES.setdefault(name, Namespace())

    @staticmethod
    def forget(name: str) -> None:
        """Drop everything that is kept under `name`."""
        NAMESPACES.pop(name, None)

    @property
    def _state(self) -> State:
        return self._space.state

    async def _open(self) -> None:
        pass

    async def _close(self) -> None:
        pass

    # ---- the log -------------------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        await asyncio.sleep(0)  # nothing has been looked at yet
        if within is not None:
            return self._commit_within(appends, within)
        answers = [self._put(self._state, append) for append in appends]
        self._tell_waiters(appends, answers)
        await asyncio.sleep(0)  # and now nothing is half done
        return answers

    def _put(self, state: State, append: Append) -> Answer:
        """Answer one append, and make it if it fits."""
        answer = self._decide(state, append)
        if answer is None:
            self._apply(state, append)
            answer = self._committed(append)
        return answer

    def _commit_within(self, appends: Sequence[Append], transaction: RamTransaction) -> list[Answer]:
        """Answer against what is stored and what the transaction holds already; write only into it."""
        state = self._state.copy()
        for held in transaction.appends:
            self._put(state, held)
        answers = [self._put(state, append) for append in appends]
        transaction.hold(self, [a for a, got in zip(appends, answers, strict=True) if _is_made(got)])
        return answers

    def _end_transaction(self, appends: Sequence[Append]) -> None:
        """Make all appends of a transaction, or none if another writer came before."""
        state = self._state.copy()
        for append in appends:
            if not _is_made(self._put(state, append)):
                raise StorageUnavailable(
                    f"run {append.run_id!r} was appended to meanwhile; nothing of the transaction was written"
                )
        answers = [self._put(self._state, append) for append in appends]
        self._tell_waiters(appends, answers)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        await asyncio.sleep(0)
        run = self._run(self._state, run_id)
        return [] if run is None else self._slice(run, after, limit)

    async def _get(self, run_id: str) -> RunRecord | None:
        await asyncio.sleep(0)
        run = self._run(self._state, run_id)
        return None if run is None else self._copy(run.record)

    async def _delete(self, run_id: str, expected: int) -> None:
        await asyncio.sleep(0)
        run = self._deletable(self._state, run_id, expected)
        if run is not None:
            self._bury(self._state, run)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        await asyncio.sleep(0)
        return self._page(self._state, query, cursor, limit)

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        await asyncio.sleep(0)
        return self._feed_page(self._state, after, limit)

    # ---- claims --------------------------------------------------------------------

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        await asyncio.sleep(0)
        runs = self._pick(self._state, now, limit, queues, run_id)
        return [self._take(run, owner, now + lease) for run in runs]

    def _take(self, run: Run, owner: str, until: int) -> Claim:
        claim = self._new_claim(run, owner, until)
        self._set_lease(run, owner, claim.token, until)
        return claim

    async def _extend(self, claim: Claim, until: int) -> bool:
        await asyncio.sleep(0)
        run = self._held_run(self._state, claim)
        if run is None:
            return False
        self._set_lease(run, claim.owner, claim.token, until)
        return True

    async def _release(self, claim: Claim) -> bool:
        await asyncio.sleep(0)
        run = self._held_run(self._state, claim)
        if run is None:
            return False
        self._set_lease(run, claim.owner, claim.token, None)
        self._wake_all()
        return True

    # ---- waiting -------------------------------------------------------------------

    async def _wait(self, timeout: int) -> None:
        waiters, waiter = self._waiters(), asyncio.get_running_loop().create_future()
        waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=timeout / 1e6)
        finally:
            waiters.discard(waiter)

    def _waiters(self) -> set[asyncio.Future[None]]:
        """Who waits, on whichever handle."""
        return self._space.waiters

    def _tell_waiters(self, appends: Sequence[Append], answers: Sequence[Answer]) -> None:
        """Wake who waits, if one of the appends made a run due, now or later."""
        if any(_is_made(b) and a.record.wake_at is not None for a, b in zip(appends, answers, strict=True)):
            self._wake_all()

    def _wake_all(self) -> None:
        for waiter in self._waiters():
            if not waiter.done():
                waiter.set_result(None)


class RamTransaction:
    """A transaction of the user's own: ``async with RamTransaction() as t: await store.commit(…, within=t)``.

    Its appends are made together when the block ends, or not at all if it raises.

    Attributes:
        appends: what it holds so far.
    """

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self._store: RamStore | None = None

    def hold(self, store: RamStore, appends: Sequence[Append]) -> None:
        """Take further appends of `store`.

        Raises:
            ValueError: it holds appends of another store.
        """
        if self._store is not None and self._store.name != store.name:
            raise ValueError(f"a transaction on {self._store.name!r} cannot write to {store.name!r}")
        self._store = store
        self.appends += appends

    def commit(self) -> None:
        """Make all appends.

        Raises:
            StorageUnavailable: another writer came before; none was made.
        """
        if self._store is not None:
            self._store._end_transaction(self.appends)
        self.rollback()

    def rollback(self) -> None:
        """Forget all appends."""
        self.appends = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.sleep(0)
        if kind is None:
            self.commit()
        else:
            self.rollback()


def _is_made(answer: Answer) -> bool:
    return isinstance(answer, Committed)
