"""Cancelling many runs at once, by the filters that a listing has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import StorageBackend

from .config import get_storage
from .engine.engine import engine_for
from .engine.external import cancel_workflow
from .engine.outside import check_reason
from .filters import GOING_ON, Statuses, find_all, run_query, statuses

_AT_ONCE = 100


async def cancel_workflow_runs(
    *,
    status: Statuses = None,
    workflow_name: str | None = None,
    queue: str | None = None,
    parent_run_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    attributes: Mapping[str, str] | None = None,
    reason: str | None = None,
    dry_run: bool = False,
    storage: StorageBackend | str | None = None,
) -> int:
    """Ask every run that matches to stop, as `cancel_workflow` does with one.

    Args:
        status: ``pending``, ``running`` or ``suspended``; each of them unless given.
        workflow_name: only runs of this workflow.
        queue: only runs of this queue.
        parent_run_id: only children of this run.
        created_from: only runs created at or after this moment.
        created_before: only runs created before this moment.
        attributes: only runs with exactly these values.
        reason: text that the code and the log get.
        dry_run: only count.
        storage: where the runs are; the configured one unless given.

    Returns:
        How many were asked; those that had ended meanwhile are not counted.

    Raises:
        ConfigurationError: a status of runs that have ended.
        ValueError: a status that does not exist, or a reason that cannot be recorded.
    """
    check_reason(reason, "cancellation")
    wanted = statuses(status) or GOING_ON
    if not wanted <= GOING_ON:
        raise ConfigurationError(
            f"runs that are {', '.join(sorted(wanted - GOING_ON))} have ended; there is nothing to cancel"
        )
    engine = engine_for(get_storage(storage))
    query = run_query(
        status=wanted,
        workflow_name=workflow_name,
        queue=queue,
        parent_run_id=parent_run_id,
        created_from=created_from,
        created_before=created_before,
        attributes=attributes,
    )

    async def ask(records: list[RunRecord]) -> int:
        asked = (cancel_workflow(record.run_id, reason, storage=engine.storage) for record in records)
        return sum(await asyncio.gather(*asked))

    count = 0
    batch: list[RunRecord] = []
    async for record in find_all(engine.storage, query):
        if dry_run:
            count += 1
            continue
        batch.append(record)
        if len(batch) == _AT_ONCE:
            count += await ask(batch)
            batch.clear()
    return count + await ask(batch)
