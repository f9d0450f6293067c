"""Retrying runs that have ended: taking back their end, and bringing their children back to them."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pyworkflow_core.payloads import RunReopened
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import StorageBackend

from ..config import get_config, get_storage
from ..errors import RetryRefusedError
from .engine import Engine, engine_for
from .history import envelopes_of
from .outbox import Tell, news_of, run_errand, tell
from .outside import append_outside, check_reason, end_of_chain
from .reopening import Plan, plan_of
from .results import last_payload, record_of

_RETRIABLE = {RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.INTERRUPTED}


class RetriedRun(Struct, frozen=True):
    """What a retry does.

    Attributes:
        run_id: the run that goes on.
        retried: steps and children that begin a new attempt, such as ``step charge#1``; empty if the
            workflow's own code is what failed.
        forgotten: what had completed after the failure, and does not count any more.
    """

    run_id: str
    retried: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


async def retry_workflow(
    run_id: str,
    *,
    reason: str | None = None,
    force: bool = False,
    storage: StorageBackend | str | None = None,
) -> RetriedRun:
    """Let a run that failed, was cancelled or was interrupted go on from where that began.

    The step that failed begins a new attempt, with all its retries; completed steps keep their
    results. A child that failed or was stopped goes on in the same way. If the workflow's own code
    failed, it is replayed up to there and runs on. The run is due then; a worker or `resume` drives it.

    Args:
        run_id: the run; of one that continued as new, the run that goes on for it.
        reason: text that the log gets.
        force: also if steps had completed after the failure (compensation, clean-up). They are
            forgotten, and run again if the code comes to them again.
        storage: where the run's log is; the configured one unless given.

    Raises:
        WorkflowNotFoundError: there is no such run.
        RetryRefusedError: the run has not ended or has completed, steps would be forgotten, or a child
            that it needs is not there.
    """
    engine = engine_for(get_storage(storage))
    check_reason(reason, "retry")
    while True:
        record = await settled(engine, await record_of(engine, run_id))
        plan = await _plan(engine, record)
        forgotten = [*plan.forgotten, *await _look_at_children(engine, record, plan)]
        if forgotten and not force:
            raise RetryRefusedError(
                f"run {record.run_id!r}: after the failure {len(forgotten)} more completed, which a retry "
                f"forgets and does again: {_few(forgotten)}. If that undid what the run goes on from, start "
                "a new run instead; if not, retry with force.",
                record.run_id,
                tuple(forgotten),
            )
        event = replace(plan.reopened, reason=reason, mark=engine.ids.event_id())
        if await append_outside(engine, record, [event]):
            return RetriedRun(record.run_id, plan.retried, tuple(forgotten))


async def rejoin(engine: Engine, run_id: str, parent_id: str) -> None:
    """Bring a child back to its parent, which was reopened: retry it, or tell how it ended.

    Nothing is done for a child that goes on anyway, or that was begun after the reopening.
    """
    parent = await engine.storage.get(parent_id)
    if parent is None or parent.status.is_terminal or not parent.detail.reopened:
        return
    history = envelopes_of(await engine.storage.read(parent_id, limit=parent.head))
    at, mark = next((e.at, e.data.mark) for e in reversed(history) if isinstance(e.data, RunReopened))
    while True:
        record = await end_of_chain(engine, run_id)
        if record is None or not record.status.is_terminal or record.created_at > at:
            return
        if record.status in _RETRIABLE:
            log_of_child = envelopes_of(await engine.storage.read(record.run_id, limit=record.head))
            if any(isinstance(e.data, RunReopened) and e.data.parent_mark == mark for e in log_of_child):
                return
            plan = plan_of(log_of_child, engine.clock.now())
            event = replace(plan.reopened, parent_mark=mark, mark=engine.ids.event_id())
            if await append_outside(engine, record, [event]):
                return
            continue
        known = record.workflow, run_id
        news = news_of(engine, known, record.run_id, await last_payload(engine, record))
        await tell(engine, Tell(parent_id, news, record.detail.ended_at or record.updated_at))
        return


async def settled(engine: Engine, record: RunRecord) -> RunRecord:
    """The record of a run that has ended and owes nothing; what it owes is paid here if need be."""
    if record.status.is_terminal and record.detail.owes:
        await run_errand(engine, record.run_id)
        record = await record_of(engine, record.run_id)
        if record.status.is_terminal and record.detail.owes:
            raise RetryRefusedError(
                f"run {record.run_id!r} has ended, and another process is telling its family so just now; "
                "try again in a moment",
                record.run_id,
            )
    return record


async def _plan(engine: Engine, record: RunRecord) -> Plan:
    if record.status not in _RETRIABLE:
        does = "has completed" if record.status is RunStatus.COMPLETED else f"is {record.status}"
        raise RetryRefusedError(
            f"run {record.run_id!r} {does}: only a run that failed, was cancelled or was interrupted can be "
            "retried",
            record.run_id,
        )
    plan = plan_of(
        envelopes_of(await engine.storage.read(record.run_id, limit=record.head)), engine.clock.now()
    )
    most = get_config().history_limit
    if plan.over_the_limit and most and record.head >= most:
        raise RetryRefusedError(
            f"run {record.run_id!r} was ended because its history reached {most} events, and would be again: "
            "raise history_limit first, here and for the workers",
            record.run_id,
        )
    return plan


async def _look_at_children(engine: Engine, parent: RunRecord, plan: Plan) -> list[str]:
    """What the children that go on with a run forget.

    Raises:
        RetryRefusedError: one of them cannot go on.
    """
    forgotten: list[str] = []
    for run_id in plan.children:
        record = await end_of_chain(engine, run_id)
        if record is None:
            raise RetryRefusedError(
                f"run {parent.run_id!r} would wait for its child {run_id!r}, which was deleted; start a new "
                "run instead",
                parent.run_id,
            )
        record = await settled(engine, record)
        if not record.status.is_terminal and record.detail.cancel_requested:
            raise RetryRefusedError(
                f"run {parent.run_id!r}: its child {record.run_id!r} was asked to stop and has not "
                "ended yet; retry once it has (a worker or 'resume' drives it)",
                parent.run_id,
            )
        if record.status in _RETRIABLE:
            its = await _plan(engine, record)
            forgotten += [f"{what} of child {record.run_id}" for what in its.forgotten]
            forgotten += await _look_at_children(engine, record, its)
    return forgotten


def _few(words: list[str]) -> str:
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
