"""A watcher of runs to which others append: what it sees must be true at every moment."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from pyworkflow_core.events import Event
from pyworkflow_core.record import evolve


def whole_appends(log: list[Event]) -> dict[str, list[str]]:
    """The event ids of each append of a log, by the append's name.

    An event id is the append's name, its number of events and a sequence number.
    """
    found: dict[str, list[str]] = {}
    for name, events in itertools.groupby(log, lambda event: event.event_id.rpartition("-")[0]):
        ids = [event.event_id for event in events]
        assert name not in found, f"append {name} is there twice"
        assert len(ids) == int(name.rpartition("-")[2]), f"append {name} is torn: {ids}"
        found[name] = ids
    return found


class Watcher:
    """Looks at runs again and again.

    Args:
        store: a handle of its own.
        runs: how many runs there are.

    Attributes:
        looks: how often it has looked at a run that was there.
    """

    def __init__(self, store: Any, runs: int) -> None:
        self._store = store
        self._logs: dict[str, list[Event]] = {f"r{n}": [] for n in range(runs)}
        self.looks = 0

    async def watch(self, ended: asyncio.Event) -> dict[str, list[Event]]:
        """Look until the end, and once more; the runs' logs."""
        last = False
        while not last:
            last = ended.is_set()
            for run_id in self._logs:
                await self._look(run_id)
            await asyncio.sleep(0)
        return self._logs

    async def _look(self, run_id: str) -> None:
        known = self._logs[run_id]
        before = await self._store.get(run_id)
        log = await self._store.read(run_id)
        now = await self._store.get(run_id)
        assert log[: len(known)] == known, f"{run_id}: events that were there are others now"
        self._logs[run_id] = log
        if not log:
            assert before is None
            return
        self.looks += 1
        assert [event.sequence for event in log] == list(range(1, len(log) + 1))
        whole_appends(log)
        assert len(log) <= now.head, f"{run_id}: its head is {now.head}, and {len(log)} events were there"
        if before is not None:
            assert len(log) >= before.head, f"{run_id}: its head was {before.head}, and {len(log)} were there"
            told = evolve(None, log[: before.head], incarnation=before.incarnation)
            assert told == before, f"{run_id}: the log says {told}, the record {before}"
