"""Bugs in handles: arguments, lifecycle, deleting, namespaces.

Some override a public method, as a programmer does who does not know of the base class's checks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ...checks import check_appends, find_over_limit
from ...errors import StorageClosed
from ...events import Event
from ...record import RunRecord
from ...storage import Answer, Append, Claim, Committed, Refused
from ..hosts.ram import NAMESPACES, RamStore
from ..hosts.state import Run, State


class AcceptsNothing(RamStore):
    """Takes an append without events for one that is made already."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write what there is to write."""
        answers = iter(await super().commit([a for a in appends if a.events], within=within))
        return [next(answers) if a.events else Committed(a.run_id, a.expected) for a in appends]


class AcceptsAnyId(RamStore):
    """Has no checks of ids: the database will complain, it hopes."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write whatever comes."""
        await self._ready()
        over = find_over_limit(appends, self.limits)
        if over or within is not None or not all(append.events for append in appends):
            return await super().commit(appends, within=within)
        if len({append.run_id for append in appends}) < len(appends):
            return await super().commit(appends)
        return await self._commit(appends, within)


class ReadsAnyId(RamStore):
    """Checks ids where it writes, and not where it reads."""

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Read whatever is asked for."""
        if isinstance(run_id, str) and run_id not in self._state.runs and after >= 0 and (limit or 0) >= 0:
            await self._ready()
            return []
        return await super().read(run_id, after=after, limit=limit)


class RaisesForTheOversized(RamStore):
    """Raises for the whole commit where one append is too large."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write all of them, or raise."""
        for error in find_over_limit(appends, self.limits).values():
            raise error
        return await super().commit(appends, within=within)


class StoresTheOversized(RamStore):
    """Declares limits, and does not look at them."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write them, however large."""
        check_appends(appends)
        await self._ready()
        return await self._commit(appends, within)


class RefusesTheNeighbours(RamStore):
    """Refuses a whole commit where one append is too large."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write all of them, or refuse all."""
        check_appends(appends)
        over = find_over_limit(appends, self.limits)
        for error in over.values():
            return [Refused(append.run_id, error) for append in appends]
        return await super().commit(appends, within=within)


class StoresTheStart(RamStore):
    """Writes an oversized append, and then sees that it was too large."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write them, and look at their sizes."""
        over = find_over_limit(appends, self.limits)
        fitting = [replace(a, events=a.events[:1]) for a in appends if a.run_id in over and not a.expected]
        for append in fitting:
            if self._decide(self._state, append) is None:
                self._apply(self._state, append)
        return await super().commit(appends, within=within)


class TakesTextForBytes(RamStore):
    """Makes text of whatever is no body, so that the commit does not fail."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write whatever can be turned into text."""
        made = [replace(a, events=tuple(self._as_text(e) for e in a.events)) for a in appends]
        return await super().commit(made, within=within)

    def _as_text(self, event: Event) -> Event:
        return event if isinstance(event.body, bytes) else replace(event, body=str(event.body).encode())


class TakesZeroForAll(RamStore):
    """Takes a limit of 0 for none."""

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Read up to `limit` events."""
        return await super().read(run_id, after=after, limit=limit or None)


class CountsFromTheEnd(RamStore):
    """Hands negative numbers on to a slice, which counts them from the end."""

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """Read a slice."""
        if after >= 0 and (limit is None or limit >= 0):
            return await super().read(run_id, after=after, limit=limit)
        await self._ready()
        return await self._read(run_id, after, limit)


class AcceptsARunTwice(RamStore):
    """Commits the appends one by one, also two of one run."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write one append after the other."""
        answers: list[Answer] = []
        for append in appends:
            answers += await super().commit([append], within=within)
        return answers


class TakesTheLastOfARun(RamStore):
    """Collects a commit's appends by run, so that the second of a run replaces the first."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write one append for each run."""
        by_run = {append.run_id: append for append in appends if append.events}
        if len(by_run) == len(appends):
            return await super().commit(appends, within=within)
        answers = await super().commit(list(by_run.values()), within=within)
        found = dict(zip(by_run, answers, strict=True))
        return [found[append.run_id] for append in appends]


class ClosesOnce(RamStore):
    """Complains of a second close."""

    async def close(self) -> None:
        """Close an open handle."""
        if self.closed:
            raise StorageClosed("closed already")
        await super().close()


class ReadsWhenClosed(RamStore):
    """Answers what needs no connection, also when it is closed."""

    async def get(self, run_id: str) -> RunRecord | None:
        """The run's record."""
        return await self._get(run_id) if self.closed else await super().get(run_id)

    get_run = get


class OpensAgainWhenClosed(RamStore):
    """Connects on first use, also after the last one."""

    async def _ready(self) -> None:
        self._closed = False
        await super()._ready()


class LeaksKeyErrors(RamStore):
    """Looks up the run of a claim without thinking that it may be deleted."""

    def _held_run(self, state: State, claim: Claim) -> Run | None:
        run = state.runs[claim.run_id]
        return run if run.token == claim.token else None


class LeaksOverflows(RamStore):
    """Hands times on to a driver that takes integers of 64 bits, without looking how large they are."""

    def _is_due(self, run: Run, now: int) -> bool:
        return super()._is_due(run, int.from_bytes(now.to_bytes(8, signed=True), signed=True))


class LeavesItsThread(RamStore):
    """Starts a thread for its heartbeat when it is opened, and does not end it when it is closed."""

    async def _open(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


class LeavesItsTask(RamStore):
    """Starts a task that looks for news when it is opened, and does not end it when it is closed."""

    async def _open(self) -> None:
        self._looking = asyncio.ensure_future(self._look_for_news())

    async def _look_for_news(self) -> None:
        await asyncio.sleep(60)
        await self._look_for_news()


class ForgetsGraves(RamStore):
    """Forgets a deleted run altogether, so that its first append can come again."""

    def _is_buried(self, state: State, append: Append) -> bool:
        return False


class IgnoresIncarnations(RamStore):
    """Compares sequence numbers only, and takes an append for a run that is long deleted."""

    def _is_same_incarnation(self, run: Run, append: Append) -> bool:
        return True


class DeletesOnlyTheLog(RamStore):
    """Deletes the events, and leaves the record."""

    def _bury(self, state: State, run: Run) -> None:
        run.events.clear()
        run.record = replace(run.record, head=0)
        state.buried.add((run.record.run_id, run.record.incarnation))


class LeavesTheDueEntry(RamStore):
    """Deletes log and record, and leaves the row of the run in the table of what is due."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._left: list[Run] = []

    def _bury(self, state: State, run: Run) -> None:
        super()._bury(state, run)
        self._left.append(run)

    def _pick(
        self, state: State, now: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Run]:
        left = [r for r in self._left if self._is_due(r, now) and run_id in (None, r.record.run_id)]
        return (super()._pick(state, now, limit, queues, run_id) + left)[:limit]


class LeavesTheLease(RamStore):
    """Keeps leases in a table by run id, which deleting a run does not touch."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._left: dict[str, Run] = {}

    def _bury(self, state: State, run: Run) -> None:
        super()._bury(state, run)
        self._left[run.record.run_id] = run

    def _apply(self, state: State, append: Append) -> None:
        super()._apply(state, append)
        old, run = self._left.pop(append.run_id, None), self._run(state, append.run_id)
        if old is not None and old.token is not None and run is not None:
            self._set_lease(run, old.owner, old.token, old.until)


class DeletesWhateverIsThere(RamStore):
    """Deletes without looking whether the head is still the expected one."""

    def _deletable(self, state: State, run_id: str, expected: int) -> Run | None:
        return self._run(state, run_id)


class SharesWhatIsDue(RamStore):
    """Keeps what is due in one set for the whole server, whose keys lack the namespace."""

    def _pick(
        self, state: State, now: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Run]:
        runs: list[Run] = []
        for space in NAMESPACES.values():
            runs += super()._pick(space.state, now, limit, queues, run_id)
        return sorted(runs, key=self._claim_order)[:limit]


class SharesRecords(RamStore):
    """Keeps the records of all namespaces in one table, and forgets the namespace where it reads one."""

    async def _get(self, run_id: str) -> RunRecord | None:
        await asyncio.sleep(0)
        found = [self._run(space.state, run_id) for space in (self._space, *NAMESPACES.values())]
        return next((self._copy(run.record) for run in found if run is not None), None)
