"""The counts of a worker while it works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pyworkflow_core.events import from_micros
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import Claim

from .stats import WorkerHealth, WorkerStats

_ENDS = {
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.INTERRUPTED: "failed",
    RunStatus.CANCELLED: "cancelled",
    RunStatus.CONTINUED_AS_NEW: "continued",
    RunStatus.SUSPENDED: "suspended",
}


class Tally:
    """Counts what happens, and makes `WorkerStats` and `WorkerHealth` of it.

    Attributes:
        claimed: runs taken up so far.
    """

    def __init__(self) -> None:
        self.claimed = 0
        self._counts: Counter[str] = Counter()
        self._owner = ""
        self._started_at: int | None = None
        self._last_claim_at: int | None = None
        self._lag = 0
        self._status = "stopped"
        self._since: int | None = None
        self._detail = ""

    def begin(self, owner: str, now: int) -> None:
        """The worker begins to work."""
        self._owner, self._started_at = owner, now
        self.turn("starting", now)

    def turn(self, status: str, now: int, detail: str = "") -> None:
        """The worker is in another condition; see `WorkerHealth`."""
        if status != self._status:
            self._status, self._since = status, now
        self._detail = detail

    def count(self, what: str) -> None:
        """Count something that `WorkerStats` has a name for."""
        self._counts[what] += 1

    def answered(self, claims: Sequence[Claim], now: int) -> None:
        """The storage answered a look for due runs."""
        self._last_claim_at = now
        self.claimed += len(claims)
        if claims:
            dues = [claim.record.wake_at for claim in claims]
            self._lag = max(now - due if due is not None else 0 for due in dues)

    def left(self, record: RunRecord | None) -> None:
        """A drive ended, and left the run like this; None if it was lost."""
        self._counts[_ENDS.get(record.status, "lost") if record is not None else "lost"] += 1

    def stats(self, *, running: int, waiting: int, cached: int) -> WorkerStats:
        """The counts, with those that only the worker knows."""
        counts = self._counts
        return WorkerStats(
            owner=self._owner,
            started_at=None if self._started_at is None else from_micros(self._started_at),
            running=running,
            waiting=waiting,
            cached=cached,
            claimed=self.claimed,
            completed=counts["completed"],
            failed=counts["failed"],
            cancelled=counts["cancelled"],
            suspended=counts["suspended"],
            continued=counts["continued"],
            lost=counts["lost"],
            errands=counts["errands"],
            replays=counts["replays"],
            cache_hits=counts["cache_hits"],
            storage_errors=counts["storage_errors"],
            last_claim_at=None if self._last_claim_at is None else from_micros(self._last_claim_at),
            lag=max(self._lag, 0) / 1e6,
        )

    def health(self, stats: WorkerStats) -> WorkerHealth:
        """Whether the worker does its work."""
        since = None if self._since is None else from_micros(self._since)
        return WorkerHealth(status=self._status, since=since, detail=self._detail, stats=stats)
