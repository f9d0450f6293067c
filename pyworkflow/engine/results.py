"""How a run ended, and waiting for that. The end of a run that continued as new is its chain's."""

from __future__ import annotations

from typing import Any

from pyworkflow_core.errors import WorkflowError
from pyworkflow_core.events import decode_body
from pyworkflow_core.payloads import (
    DeliveriesMade,
    Payload,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowInterrupted,
)
from pyworkflow_core.record import RunRecord

from ..definitions import find_workflow, get_workflow
from ..errors import WorkflowInterruptedError, WorkflowNotFoundError
from .engine import SECOND, Engine
from .family import Family
from .outside import end_of_chain
from .transient import why_not_found

_LONGEST_PAUSE = 300 * SECOND


async def record_of(engine: Engine, run_id: str) -> RunRecord:
    """The record of the run that goes on for `run_id`: itself, unless it continued as new.

    Raises:
        WorkflowNotFoundError: there is none.
    """
    record = await end_of_chain(engine, run_id)
    if record is None or not record.workflow:
        raise WorkflowNotFoundError(
            f"there is no run {run_id!r} in {engine.storage!r}"
            + (why_not_found(run_id) or "; 'pyworkflow runs list' shows those there are")
        )
    return record


async def last_payload(engine: Engine, record: RunRecord) -> Any:
    """The payload of the run's last event, the note that deliveries were made aside."""
    events = await engine.storage.read(record.run_id, after=max(record.head - 2, 0), limit=2)
    payloads = [decode_body(event.body).data for event in events]
    return next((p for p in reversed(payloads) if not isinstance(p, DeliveriesMade)), None)


async def result_of(engine: Engine, record: RunRecord, ending: Payload | None = None) -> Any:
    """The recorded result of a run; None if it has none.

    Args:
        engine: where the run is.
        record: the run's record.
        ending: the payload of the run's last event, where it is known; it is read otherwise.

    Raises:
        WorkflowInterruptedError: the run was given up.
        Exception: the recorded error of a failed run.
    """
    payload = await last_payload(engine, record) if ending is None else ending
    # A version that is gone left results that the newest one can read, or nobody can.
    known = find_workflow(record.workflow, record.detail.workflow_version)
    reach = (known or get_workflow(record.workflow)).reach
    if isinstance(payload, WorkflowCompleted):
        return engine.codec.decode(payload.result, reach=reach)
    if isinstance(payload, WorkflowFailed):
        raise noted(engine.codec.decode_error(payload.error, reach=reach), record.run_id)
    if isinstance(payload, WorkflowInterrupted):
        raise WorkflowInterruptedError(f"run {record.run_id!r} was interrupted: {payload.reason}")
    return None


async def wait_until_ended(engine: Engine, run_id: str, *, here: bool) -> RunRecord:
    """Wait until the run has ended; take it and its family up here whenever they are due, if `here`.

    How it ended is in the record; a failed run raises nothing here.
    """
    pause = engine.settings.poll
    record = await record_of(engine, run_id)
    family = Family(engine, record.queue, linger=engine.settings.linger)
    try:
        while True:
            if here:
                before = record.head
                await family.settle(record.run_id)
                record = await record_of(engine, run_id)
                if record.head != before:
                    pause = engine.settings.poll
            if record.status.is_terminal:
                return record
            look = engine.clock.now() + pause
            if here and family.next_wake is not None:
                look = min(look, family.next_wake)
            await engine.wait_for_change(record.run_id, look)
            # What this process does to the run is noticed at once; what others do, ever more seldom.
            pause = min(pause * 3 // 2, max(engine.settings.poll, _LONGEST_PAUSE))
            record = await record_of(engine, run_id)
    finally:
        await family.close()


def noted(error: BaseException, run_id: str) -> BaseException:
    """The error with a note that says which run raised it; one that would end the caller is wrapped."""
    if not isinstance(error, Exception):
        # Raised as it is, it would cancel the caller, or end its process.
        told = WorkflowError(
            f"run {run_id!r} failed: its code raised {type(error).__name__} {error}".rstrip()
        )
        told.__cause__ = error
        error = told
    note = f"pyworkflow run: {run_id}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
        recorded = getattr(error, "__recorded_traceback__", "")
        if recorded:
            error.add_note(f"Recorded where it was raised:\n{recorded.rstrip()}")
    return error
