"""Pruning: deleting what ended long ago, family by family, so that a storage does not grow for ever.

A family is a run that nobody started as a child, with all that continues it, and the children of
each. It is deleted as a whole, or not at all: only when all of it ended long enough ago. It is
deleted from its leaves to its head, so that a prune that was cut off goes on where it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import RunQuery, StorageBackend

from .config import get_storage
from .definitions import SYSTEM, list_workflows
from .durations import Duration, to_duration
from .engine.deleting import family_of
from .engine.engine import Engine, engine_for
from .engine.tokens import forget_tokens
from .filters import ENDED, Statuses, find_all, statuses

MaxAge = Callable[[str], int | None]
"""How long runs of a workflow are kept after their end, in microseconds; None: as long as the head."""


class PrunedRuns(Struct, frozen=True):
    """What a prune did, or would have done.

    Attributes:
        families: how many families were deleted.
        runs: how many runs these had.
        kept: how many families could have gone, had not one of them ended too lately, or not at all.
    """

    families: int = 0
    runs: int = 0
    kept: int = 0


async def prune_workflow_runs(
    older_than: Duration | None = None,
    *,
    status: Statuses = None,
    workflow_name: str | None = None,
    by_retention: bool = False,
    dry_run: bool = False,
    storage: StorageBackend | str | None = None,
) -> PrunedRuns:
    """Delete runs that ended long ago, each with its family. It may be cut off and called again.

    Args:
        older_than: how long ago the last of a family has to have ended.
        status: only families whose head (its last run, if it continued as new) ended like this.
        workflow_name: only families whose head is a run of this workflow.
        by_retention: instead of `older_than`, what each workflow's ``@workflow(retention=…)`` says. Then
            a child whose workflow says so is deleted by itself, also under a parent that goes on.
        dry_run: only count.
        storage: where the runs are; the configured one unless given.

    Raises:
        ConfigurationError: neither `older_than` nor `by_retention` was given, or both.
        ValueError: a duration or status that is none.
    """
    engine = engine_for(get_storage(storage))
    families = runs = kept = 0
    async for count in pruned(
        engine,
        older_than,
        status=status,
        workflow_name=workflow_name,
        by_retention=by_retention,
        dry_run=dry_run,
    ):
        families += count > 0
        runs += count
        kept += not count
    return PrunedRuns(families, runs, kept)


async def pruned(
    engine: Engine,
    older_than: Duration | None,
    *,
    status: Statuses = None,
    workflow_name: str | None = None,
    by_retention: bool = False,
    dry_run: bool = False,
) -> AsyncIterator[int]:
    """Prune; the number of runs of each family as it goes, 0 for one that is kept."""
    if (older_than is None) == (not by_retention):
        raise ConfigurationError(
            "say how long ago runs have to have ended: older_than='30d', or by_retention=True for what each "
            "@workflow(retention=…) says"
        )
    wanted = statuses(status) or ENDED
    if not wanted <= ENDED:
        raise ConfigurationError(
            f"only runs that have ended are pruned, not {', '.join(sorted(wanted - ENDED))} ones"
        )
    now = engine.clock.now()
    if older_than is not None:
        age = to_duration(older_than, "older_than")
        async for head in _heads(engine.storage, workflow_name, now - age, alone=False):
            yield await _prune(engine, head, wanted, lambda name: age, now, dry_run)
        return
    for name, kept in retentions(workflow_name).items():
        async for head in _heads(engine.storage, name, now - kept, alone=True):
            yield await _prune(engine, head, wanted, retentions().get, now, dry_run)


def retentions(workflow_name: str | None = None) -> dict[str, int]:
    """How long each workflow's runs are kept, in microseconds, where its definition says so."""
    return {
        name: found.retention
        for name, found in list_workflows().items()
        if found.retention is not None and workflow_name in {None, name}
    }


async def _heads(
    storage: StorageBackend, workflow: str | None, before: int, *, alone: bool
) -> AsyncIterator[RunRecord]:
    """Ended runs that nobody continues, and, unless they are taken `alone`, that nobody started."""
    query = RunQuery(status=ENDED, workflow=workflow, created_before=before + 1)
    async for record in find_all(storage, query, system=True):
        detail = record.detail
        above = [detail.continued_from] if alone else [detail.continued_from, record.parent]
        known = [run_id for run_id in above if run_id is not None]
        if any([_is_family(await storage.get(run_id)) for run_id in known]):
            continue
        # Where a part was deleted by hand, what is left is a family of its own; unless it went just now.
        if not known or await storage.get(record.run_id) is not None:
            yield record


def _is_family(above: RunRecord | None) -> bool:
    """Whether a run is there to go with. What a schedule started goes by itself: a schedule may never end."""
    return above is not None and not above.workflow.startswith(SYSTEM)


async def _prune(
    engine: Engine,
    head: RunRecord,
    wanted: frozenset[RunStatus],
    max_age: MaxAge,
    now: int,
    dry_run: bool,
) -> int:
    """Delete the head's family if all of it may go; how many runs it had."""
    ages = {head.workflow: max_age(head.workflow) or 0}
    family: list[RunRecord] = []
    last_of_chain = head
    async for record in family_of(engine.storage, head):
        detail = record.detail
        own = max_age(record.workflow)
        age = ages[head.workflow] if own is None else own
        if not record.status.is_terminal or detail.owes or (detail.ended_at or now) > now - age:
            return 0
        if detail.continued_from == last_of_chain.run_id:
            last_of_chain = record
        family.append(record)
    if last_of_chain.status not in wanted:
        return 0
    if dry_run:
        return len(family)
    for record in reversed(family):
        try:
            await forget_tokens(engine, record)
            await engine.storage.delete(record.run_id, expected=record.head)
        except ValueError:
            return 0  # somebody retries it just now
    return len(family)
