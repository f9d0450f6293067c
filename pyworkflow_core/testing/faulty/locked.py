"""A correct store that commits under a lock, in steps: a place for bugs between the steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from weakref import WeakKeyDictionary

from ...events import Event
from ...record import RunRecord
from ...storage import Answer, Append
from ..hosts.ram import Namespace, RamStore
from ..hosts.state import Run

_locks: WeakKeyDictionary[Namespace, asyncio.Lock] = WeakKeyDictionary()


class LockedStore(RamStore):
    """Waits for a database within its commits, and keeps others out with a lock meanwhile."""

    def _lock(self) -> AbstractAsyncContextManager[None]:
        return _locks.setdefault(self._space, asyncio.Lock())

    def _reading(self) -> AbstractAsyncContextManager[None]:
        """What a reader holds."""
        return self._lock()

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        if within is not None:
            return await super()._commit(appends, within)
        async with self._lock():
            await asyncio.sleep(0)
            answers = [await self._commit_one(append) for append in appends]
        self._tell_waiters(appends, answers)
        return answers

    async def _commit_one(self, append: Append) -> Answer:
        return self._put(self._state, append)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        async with self._reading():
            return await super()._read(run_id, after, limit)

    async def _get(self, run_id: str) -> RunRecord | None:
        async with self._reading():
            return await super()._get(run_id)

    def _find_or_make(self, append: Append) -> Run:
        """The append's run, made if it is its first one."""
        return self._state.runs.setdefault(append.run_id, Run(append.record))
