"""What a worker says of itself: counts for a monitor, and whether it is well."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class WorkerStats(Struct, frozen=True, kw_only=True):
    """Counts of one worker since it began, and where it stands now.

    Attributes:
        owner: the worker's name in leases: machine and process.
        started_at: when it began.
        running: runs that it drives now.
        waiting: runs put aside until their queue, or their key, has a slot.
        cached: suspended runs kept in memory.
        claimed: runs taken up so far.
        completed: of these, how many completed.
        failed: how many failed, or were interrupted.
        cancelled: how many were cancelled.
        suspended: how many suspended, also because they could not be replayed; one run may do so often.
        continued: how many continued as new.
        lost: how many another process had taken, or could not be recorded.
        errands: ended runs whose news was brought to others.
        replays: runs that were rebuilt from their log.
        cache_hits: runs that went on from memory, without a replay.
        storage_errors: calls that the storage did not answer.
        last_claim_at: when it last asked for due runs, and was answered.
        lag: seconds that the run claimed last had been due; 0 before the first.
    """

    owner: str = ""
    started_at: datetime | None = None
    running: int = 0
    waiting: int = 0
    cached: int = 0
    claimed: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    suspended: int = 0
    continued: int = 0
    lost: int = 0
    errands: int = 0
    replays: int = 0
    cache_hits: int = 0
    storage_errors: int = 0
    last_claim_at: datetime | None = None
    lag: float = 0.0


class WorkerHealth(Struct, frozen=True, kw_only=True):
    """Whether a worker does its work.

    Attributes:
        status: ``starting``, ``ok``, ``storage_away``, ``stopping`` or ``stopped``.
        since: since when.
        detail: what is wrong, in words.
        stats: the worker's counts.
    """

    status: str
    since: datetime | None = None
    detail: str = ""
    stats: WorkerStats

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do for anybody."""
        return self.status in {"starting", "ok", "stopping"}
