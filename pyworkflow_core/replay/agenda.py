"""What time will bring to a run: sleeps, timers, hook timeouts and retries, soonest first."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from .calls import Call, StepCall
from .loop import Timer

if TYPE_CHECKING:
    from .machine import Machine

_PRUNE_AT = 64


class Agenda:
    """A heap of due times. Entries that were cancelled stay until they come up or are many."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._heap: list[tuple[int, int, Timer | Call]] = []
        self._order = itertools.count()

    def add(self, due: int, what: Timer | Call) -> None:
        """Put something on it; of two that are due together, the one added first comes first."""
        heap, machine = self._heap, self._machine
        heapq.heappush(heap, (due, next(self._order), what))
        if len(heap) > _PRUNE_AT:
            live = len(machine.timers) + len(machine.sleeps) + len(machine.hooks) + len(machine.steps)
            if len(heap) > 4 * live:
                heap[:] = [entry for entry in heap if self._is_live(entry[0], entry[2])]
                heapq.heapify(heap)

    def next(self) -> int | None:
        """When the soonest is due; None if there is none."""
        heap = self._heap
        while heap and not self._is_live(heap[0][0], heap[0][2]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take(self, now: int) -> tuple[int, Timer | Call] | None:
        """Take the soonest off it, if it is due at `now`."""
        due = self.next()
        if due is None or due > now:
            return None
        _, _, what = heapq.heappop(self._heap)
        return due, what

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()

    def _is_live(self, due: int, what: Timer | Call) -> bool:
        if isinstance(what, Timer):
            return what.due == due and self._machine.timers.get(what.ordinal) is what
        if isinstance(what, StepCall):
            return not what.settled and what.retry_at == due
        return not what.settled
