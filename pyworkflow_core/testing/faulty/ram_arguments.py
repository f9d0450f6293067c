"""Bugs in what a store lets in.

They override a public method, as a programmer does who does not know of the base class's checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ...checks import check_appends, find_over_limit
from ...events import Event
from ...record import RunRecord
from ...storage import Answer, Append, Committed, Refused
from ..hosts.ram import RamStore


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


class MakesTextOfAttributes(RamStore):
    """Makes text that can be encoded of whatever attributes it is given, so that the commit does not fail."""

    async def commit(self, appends: Sequence[Append], *, within: Any = None) -> list[Answer]:
        """Write whatever can be turned into text."""
        made = [replace(a, record=self._clean(a.record)) for a in appends]
        return await super().commit(made, within=within)

    def _clean(self, record: RunRecord) -> RunRecord:
        return replace(record, attributes={_text(k): _text(v) for k, v in record.attributes.items()})


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


def _text(value: object) -> str:
    return str(value).encode(errors="replace").decode()
