"""What a plain store keeps: runs, graves and the order in which events came."""

from __future__ import annotations

from ...events import Event
from ...record import RunRecord


class Run:
    """One run: its log, its record and, beside them, its lease.

    Attributes:
        record: the record after the last event.
        events: the log.
        owner: who holds the lease, for people.
        token: token of the lease; None if there is none.
        until: when the lease ends.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.events: list[Event] = []
        self.owner = ""
        self.token: str | None = None
        self.until = 0

    def copy(self) -> Run:
        """The run as it now is, to be changed apart from this one."""
        other = Run(self.record)
        other.events = list(self.events)
        other.owner, other.token, other.until = self.owner, self.token, self.until
        return other


class State:
    """Everything that one namespace holds.

    Args:
        tag: part of every feed position, so that those of another store are recognised.

    Attributes:
        tag: see above.
        runs: the runs, by id.
        buried: ids and incarnations of the runs that were deleted.
        feed: run id, incarnation and sequence of every event, in the order in which they came.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.runs: dict[str, Run] = {}
        self.buried: set[tuple[str, str]] = set()
        self.feed: list[tuple[str, str, int]] = []

    def copy(self) -> State:
        """Everything as it now is, to be changed apart from this one."""
        other = State(self.tag)
        other.runs = {key: run.copy() for key, run in self.runs.items()}
        other.buried = set(self.buried)
        other.feed = list(self.feed)
        return other
