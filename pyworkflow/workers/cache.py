"""Suspended runs that stay in a worker's memory, so that they need no replay when they wake up."""

from __future__ import annotations

from collections import OrderedDict

from pyworkflow_core.storage import Claim

from ..definitions import get_workflow_version
from ..engine.kept import KeptDrive
from ..errors import WorkflowNotRegisteredError


class Cache:
    """Drives of suspended runs; the one that was not needed for longest goes first.

    Args:
        most: how many to keep; 0 for none.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._drives: OrderedDict[str, KeptDrive] = OrderedDict()

    def __len__(self) -> int:
        return len(self._drives)

    def take(self, claim: Claim) -> KeptDrive | None:
        """The drive of a run that was claimed, ready to go on; None if it is not here, or of no use."""
        drive = self._drives.pop(claim.run_id, None)
        if drive is None:
            return None
        record = claim.record
        try:
            definition = get_workflow_version(record.workflow, record.detail.workflow_version)
        except WorkflowNotRegisteredError:
            definition = None
        if record.status.is_terminal or definition is not drive.definition:
            drive.evict()
            return None
        drive.wake(claim)
        return drive

    def keep(self, drive: KeptDrive) -> None:
        """Keep a drive whose run suspended, and drop the oldest if there are too many."""
        if not drive.can_stay:
            return
        self._drives[drive.run_id] = drive
        while len(self._drives) > self.most:
            self._drives.popitem(last=False)[1].evict()

    def evict(self, run_id: str | None = None) -> int:
        """Drop one run, or all; how many there were."""
        drives = list(self._drives.values()) if run_id is None else [self._drives.get(run_id)]
        there = [drive for drive in drives if drive is not None]
        for drive in there:
            del self._drives[drive.run_id]
            drive.evict()
        return len(there)
