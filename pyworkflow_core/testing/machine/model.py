"""What a correct store holds and answers: dictionaries and lists, in the shortest form.

It shares no code with any backend. Records come with the appends, which the core's own fold
made. What a store draws itself (tokens of claims) is taken from its answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...events import Event
from ...record import RunRecord
from ...storage import Append, Claim, Committed, Conflict, LeaseChange, RunQuery


@dataclass
class Lease:
    """Who holds a run until when; still there when that time has come.

    Attributes:
        token: the holder's.
        until: when it ends.
        by: what said so last: ``claim``, ``append`` or ``extend``.
    """

    token: str
    until: int
    by: str = "claim"


@dataclass
class Run:
    """One run.

    Attributes:
        appends: those that made its log, in order.
        log: its events.
        lease: its lease, ended by time or not; None if there is none.
        ended: how its last lease ended: ``release`` or ``append``.
        outside: step of the last append from outside since the last claim.
        grabbed: whether that append would have liked the lease.
    """

    appends: list[Append]
    log: list[Event] = field(default_factory=list)
    lease: Lease | None = None
    ended: str = ""
    outside: int | None = None
    grabbed: bool = False

    @property
    def record(self) -> RunRecord:
        """The record after the last append."""
        return self.appends[-1].record

    @property
    def head(self) -> int:
        """Sequence of the last event."""
        return len(self.log)

    @property
    def due(self) -> int | None:
        """When it is due: the later of its wake time and the end of its lease."""
        wake = self.record.wake_at
        return wake if wake is None or self.lease is None else max(wake, self.lease.until)


class Model:
    """All runs of one namespace.

    Attributes:
        runs: those that exist, by id.
        buried: incarnations that were deleted, by run id.
        dead: events of deleted incarnations, by run id, in order.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.buried: dict[str, set[str]] = {}
        self.dead: dict[str, list[Event]] = {}

    def log(self, run_id: str) -> list[Event]:
        """The events of a run."""
        run = self.runs.get(run_id)
        return list(run.log) if run else []

    def foresee(self, append: Append) -> tuple[Committed | Conflict | None, str]:
        """The answer to an append, None for one that refuses a reused event id; and why."""
        run = self.runs.get(append.run_id)
        head = run.head if run else 0
        if run is None:
            if append.incarnation in self.buried.get(append.run_id, ()):
                return Conflict(append.run_id, 0), "deleted"
            if append.expected:
                return Conflict(append.run_id, 0), "future"
            again = append.run_id in self.buried
            return Committed(append.run_id, len(append.events)), "reborn" if again else "first"
        if run.record.incarnation != append.incarnation:
            if append.incarnation in self.buried.get(append.run_id, ()):
                return Conflict(append.run_id, head), "deleted"
            return Conflict(append.run_id, head), "other run" if append.expected == head else "stale"
        if append.expected == head:
            return Committed(append.run_id, head + len(append.events)), "next"
        there = run.log[append.expected : append.expected + len(append.events)]
        ids = [event.event_id for event in append.events]
        for mine, stored in zip(append.events, there, strict=False):
            if mine.event_id == stored.event_id and mine.body != stored.body:
                return None, "other body"
        if ids == [event.event_id for event in there]:
            return Committed(append.run_id, append.expected + len(append.events)), "resent"
        if {event.event_id for event in there} & {*ids}:
            return Conflict(append.run_id, head), "overlap"
        return Conflict(append.run_id, head), "future" if append.expected > head else "stale"

    def write(self, append: Append, step: int) -> None:
        """Take a new append in, which `foresee` said is committed."""
        run = self.runs.get(append.run_id)
        if run is None:
            run = self.runs[append.run_id] = Run([append])
        else:
            run.appends.append(append)
        run.log.extend(append.events)
        change = append.lease
        if change is None or (run.lease is not None and run.lease.token != change.token):
            if run.lease is not None:
                run.outside, run.grabbed = step, change is not None
        else:
            self._change_lease(run, change)

    def _change_lease(self, run: Run, change: LeaseChange) -> None:
        if change.until is None:
            run.lease, run.ended = None, "append"
        else:
            run.lease, run.ended, run.outside = Lease(change.token, change.until, "append"), "", None

    def claimable(self, now: int, queues: tuple[str, ...] | None, run_id: str | None) -> list[str]:
        """Ids of the due runs, by priority, due time and id."""
        found = []
        for name, run in self.runs.items():
            fits = (queues is None or run.record.queue in queues) and run_id in (None, name)
            if fits and run.due is not None and run.due <= now:
                found.append((run.record.priority, run.due, name))
        return [name for _, _, name in sorted(found)]

    def claimed(self, claim: Claim, until: int) -> None:
        """Take in a claim that the store handed out rightly."""
        run = self.runs[claim.run_id]
        run.lease, run.ended, run.outside = Lease(claim.token, until), "", None

    def holds(self, claim: Claim) -> bool:
        """Whether the run's lease is the claim's."""
        run = self.runs.get(claim.run_id)
        return run is not None and run.lease is not None and run.lease.token == claim.token

    def delete(self, run_id: str) -> None:
        """Remove a run."""
        run = self.runs.pop(run_id, None)
        if run is not None:
            self.buried.setdefault(run_id, set()).add(run.record.incarnation)
            self.dead.setdefault(run_id, []).extend(run.log)

    def listed(self, query: RunQuery) -> list[RunRecord]:
        """The records that match, newest first, then by id."""
        found = [run.record for run in self.runs.values() if _fits(query, run.record)]
        return sorted(found, key=lambda record: (-record.created_at, record.run_id))


def _fits(query: RunQuery, record: RunRecord) -> bool:
    asked = (
        ("workflow", query.workflow),
        ("queue", query.queue),
        ("parent", query.parent),
    )
    if any(value is not None and getattr(record, name) != value for name, value in asked):
        return False
    if query.status is not None and record.status not in query.status:
        return False
    if query.created_from is not None and record.created_at < query.created_from:
        return False
    if query.created_before is not None and record.created_at >= query.created_before:
        return False
    return all(item in record.attributes.items() for item in query.attributes.items())
