"""Bugs between tasks: what is looked at, waited for and done in the wrong order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from ...errors import StorageUnavailable
from ...events import Event
from ...record import RunRecord
from ...storage import Answer, Append, Conflict
from ..hosts.ram import RamStore
from ..hosts.state import Run, State
from .locked import LockedStore


class LooksBeforeItLocks(RamStore):
    """Reads the head before it takes the lock."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        decided = [self._decide(self._state, append) for append in appends]
        await asyncio.sleep(0)
        for append, answer in zip(appends, decided, strict=True):
            if answer is None:
                self._apply(self._state, append)
        return [self._committed(a) if b is None else b for a, b in zip(appends, decided, strict=True)]


class TrustsItsOwnHeads(RamStore):
    """Remembers the heads that it has seen, and compares with those."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._heads: dict[str, int] = {}

    def _decide(self, state: State, append: Append) -> Answer | None:
        if self._heads.get(append.run_id) == append.expected:
            return None
        answer = super()._decide(state, append)
        if isinstance(answer, Conflict):
            self._heads[append.run_id] = answer.head
        return answer

    def _apply(self, state: State, append: Append) -> None:
        super()._apply(state, append)
        self._heads[append.run_id] = append.record.head


class CountsNothingAsDone(RamStore):
    """Lets the database skip a row that is there (DO NOTHING), and counts that as success."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        decided = [self._decide(self._state, append) for append in appends]
        await asyncio.sleep(0)
        for append, answer in zip(appends, decided, strict=True):
            if answer is None and self._decide(self._state, append) is None:
                self._apply(self._state, append)
        return [self._committed(a) if b is None else b for a, b in zip(appends, decided, strict=True)]


class CleansUpTheWinner(RamStore):
    """Deletes its own rows when it has lost a race, by their numbers: those are the winner's."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        decided = [self._decide(self._state, append) for append in appends]
        answers = await super()._commit(appends, within)
        for append, before, answer in zip(appends, decided, answers, strict=True):
            run = self._run(self._state, append.run_id)
            if before is None and answer != self._committed(append) and run is not None:
                del run.events[append.expected :]
        return answers


class WritesTheWholeLog(RamStore):
    """Reads the whole log, adds to it and writes it back; what came between is lost."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        if within is not None:
            return await super()._commit(appends, within)
        state = self._state.copy()
        answers = [self._put(state, append) for append in appends]
        await asyncio.sleep(0)
        for append in appends:
            if (run := self._run(state, append.run_id)) is not None:
                self._state.runs[append.run_id] = run
        self._state.feed += state.feed[len(self._state.feed) :]
        self._tell_waiters(appends, answers)
        return answers


class CreatesUnchecked(RamStore):
    """Looks whether there is such a run, and writes a new one over whatever is there a moment later."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        new = {a.run_id for a in appends if self._run(self._state, a.run_id) is None and a.expected == 0}
        if within is not None or not new:
            return await super()._commit(appends, within)
        await asyncio.sleep(0)
        for run_id in new:
            self._state.runs.pop(run_id, None)
        answers = [self._put(self._state, append) for append in appends]
        self._tell_waiters(appends, answers)
        return answers


class RecordsLater(LockedStore):
    """Writes the events, and the record in a second step; readers take no lock."""

    def _reading(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def _commit_one(self, append: Append) -> Answer:
        answer = self._decide(self._state, append)
        if answer is not None:
            return answer
        run = self._find_or_make(append)
        self._add_events(self._state, run, append)
        for _ in range(3):
            await asyncio.sleep(0)
        self._set_record(run, append.record)
        if append.lease is not None:
            self._change_lease(run, append.lease)
        return self._committed(append)


class ShowsEventsOneByOne(LockedStore):
    """Writes the events of an append one by one, the last one first; readers take no lock."""

    def _reading(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def _commit_one(self, append: Append) -> Answer:
        answer = self._decide(self._state, append)
        if answer is not None:
            return answer
        run = self._find_or_make(append)
        before, run.events = run.events, list(run.events)
        for event in reversed(append.events):
            run.events.insert(len(before), event)
            await asyncio.sleep(0)
        run.events = before
        self._apply(self._state, append)
        return self._committed(append)


class StaysHalfDone(LockedStore):
    """Lets go of the lock when it is cancelled, but does not undo what it has written."""

    async def _commit_one(self, append: Append) -> Answer:
        answer = self._decide(self._state, append)
        if answer is not None:
            return answer
        run = self._find_or_make(append)
        for event in append.events:
            run.events.append(event)
            await asyncio.sleep(0)
        del run.events[append.expected :]
        self._apply(self._state, append)
        return self._committed(append)


class KeepsTheLock(RamStore):
    """Releases its lock at the end of a commit, but not when it is cancelled before that."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._busy = asyncio.Lock()

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        try:
            await asyncio.wait_for(self._busy.acquire(), 0.5)
        except TimeoutError as error:
            raise StorageUnavailable("another commit is under way") from error
        answers = await super()._commit(appends, within)
        self._busy.release()
        return answers


class CachesLogs(RamStore):
    """Keeps what it has read, and forgets it only when it appends itself."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._logs: dict[str, Run] = {}

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        for append in appends:
            self._logs.pop(append.run_id, None)
        return await super()._commit(appends, within)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        await asyncio.sleep(0)
        run = self._run(self._state, run_id)
        if run is not None and run_id not in self._logs:
            self._logs[run_id] = run.copy()
        return self._slice(self._logs[run_id], after, limit) if run_id in self._logs else []


class CachesRecords(RamStore):
    """Keeps the records that it has read or written, for as long as the handle lives."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._records: dict[str, RunRecord] = {}

    def _set_record(self, run: Run, record: RunRecord) -> None:
        super()._set_record(run, record)
        self._records[record.run_id] = run.record

    async def _get(self, run_id: str) -> RunRecord | None:
        record = await super()._get(run_id)
        if record is None:
            return None
        return self._copy(self._records.setdefault(run_id, record))


class ReadsFromReplicas(RamStore):
    """Spreads the reads of other handles over two servers, one of which lags behind."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._reads = 0
        self._replica: State | None = None
        self._writes = False

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        self._writes = True
        return await super()._commit(appends, within)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        self._reads += 1
        if self._writes or self._reads % 2 or self._replica is None:
            events = await super()._read(run_id, after, limit)
        else:
            run = self._run(self._replica, run_id)
            events = [] if run is None else self._slice(run, after, limit)
        if self._reads % 4 == 1:
            self._replica = self._state.copy()
        return events
