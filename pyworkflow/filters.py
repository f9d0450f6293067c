"""Which runs are meant: the filters that listing, cancelling and pruning have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime

from pyworkflow_core.events import to_micros
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import RunQuery, StorageBackend

from .definitions import SYSTEM

ENDED = frozenset(status for status in RunStatus if status.is_terminal)
GOING_ON = frozenset(RunStatus) - ENDED

Statuses = RunStatus | str | Iterable[RunStatus | str] | None


def statuses(status: Statuses) -> frozenset[RunStatus] | None:
    """One status, several, or None for any.

    Raises:
        ValueError: a text that is no status; the message lists those there are.
    """
    if status is None:
        return None
    many = [status] if isinstance(status, str) else list(status)
    try:
        return frozenset(RunStatus(one) for one in many)
    except ValueError as error:
        raise ValueError(f"{error}; a status is one of {', '.join(RunStatus)}") from None


def run_query(
    *,
    status: Statuses = None,
    workflow_name: str | None = None,
    queue: str | None = None,
    parent_run_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    attributes: Mapping[str, str] | None = None,
) -> RunQuery:
    """The runs that match every filter given.

    Raises:
        ValueError: a status that does not exist.
    """
    return RunQuery(
        status=statuses(status),
        workflow=workflow_name,
        queue=queue,
        parent=parent_run_id,
        created_from=None if created_from is None else to_micros(created_from),
        created_before=None if created_before is None else to_micros(created_before),
        attributes=dict(attributes or {}),
    )


async def find_all(
    storage: StorageBackend, query: RunQuery, limit: int | None = None, *, system: bool = False
) -> AsyncIterator[RunRecord]:
    """The records of workflow runs that match, newest first, page by page; at most `limit`.

    Runs of the engine's own are left out, unless `system` is set or the query asks for them.
    """
    system = system or query.workflow is not None or query.parent is not None
    cursor: str | None = None
    left = 1 << 62 if limit is None else limit
    while left > 0:
        page = await storage.find(query, cursor=cursor, limit=min(left, 500))
        for record in page.records:
            if record.workflow and left > 0 and (system or not record.workflow.startswith(SYSTEM)):
                left -= 1
                yield record
        cursor = page.cursor
        if cursor is None:
            return
