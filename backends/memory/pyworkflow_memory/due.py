"""Which run is due next: heaps with stale entries that are dropped when they come up."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyworkflow_core.events import Event
    from pyworkflow_core.record import RunRecord


class Run:
    """One run: its events, its record, its lease.

    Attributes:
        record: the record after the last event.
        events: the log.
        token: token of the lease; None if there is none.
        owner: who holds the lease.
        until: when the lease ends.
        ticket: number of the one entry of the run in `DueRuns` that counts; 0 for none.
    """

    __slots__ = ("events", "owner", "record", "ticket", "token", "until")

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.events: list[Event] = []
        self.token: str | None = None
        self.owner = ""
        self.until = 0
        self.ticket = 0

    def due_at(self) -> int | None:
        """When the run is due: the later of its wake time and the end of its lease."""
        wake = self.record.wake_at
        return wake if wake is None or self.token is None else max(wake, self.until)


class DueRuns:
    """Runs by due time, and those whose time has come by priority, for each queue."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Run]] = []  # due time, ticket, run
        self._ready: dict[str, list[tuple[int, int, str, int, Run]]] = {}
        self._tickets = 0
        self._live = 0
        self._entries = 0

    def put(self, run: Run) -> None:
        """Take the run's due time as it now is; earlier entries of the run become stale."""
        due = run.due_at()
        self._live += (due is not None) - (run.ticket != 0)
        if due is None:
            run.ticket = 0
            return
        self._tickets += 1
        run.ticket = self._tickets
        self._entries += 1
        heappush(self._waiting, (due, run.ticket, run))
        if self._entries > 2 * self._live + 64:
            self._drop_stale()

    def remove(self, run: Run) -> None:
        """Forget the run."""
        self._live -= run.ticket != 0
        run.ticket = 0

    def take(self, now: int, queues: tuple[str, ...] | None) -> Iterator[Run]:
        """Due runs in order. Each is taken out: `put` it again."""
        while self._waiting and self._waiting[0][0] <= now:
            due, ticket, run = heappop(self._waiting)
            if run.ticket == ticket:
                record = run.record
                ready = self._ready.setdefault(record.queue, [])
                heappush(ready, (record.priority, due, record.run_id, ticket, run))
            else:
                self._entries -= 1
        while True:
            names = self._ready if queues is None else [q for q in dict.fromkeys(queues) if q in self._ready]
            heads = [self._ready[q] for q in names if self._has_ready(q, now)]
            if not heads:
                return
            _, _, _, _, run = heappop(min(heads))
            self._entries -= 1
            self._live -= 1
            run.ticket = 0
            yield run

    def _has_ready(self, queue: str, now: int) -> bool:
        """Whether the queue has a due run, after its stale entries at the front were dropped."""
        heap = self._ready[queue]
        while heap:
            _, due, _, ticket, run = heap[0]
            if run.ticket == ticket and due <= now:
                return True
            heappop(heap)
            if run.ticket == ticket:  # another caller's clock is ahead of this one's
                heappush(self._waiting, (due, ticket, run))
            else:
                self._entries -= 1
        return False

    def _drop_stale(self) -> None:
        self._waiting = [entry for entry in self._waiting if entry[2].ticket == entry[1]]
        heapify(self._waiting)
        for queue, heap in list(self._ready.items()):
            kept = [entry for entry in heap if entry[4].ticket == entry[3]]
            heapify(kept)
            self._ready[queue] = kept
            if not kept:
                del self._ready[queue]
        self._entries = self._live
