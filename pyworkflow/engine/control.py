"""`start` and `resume`: from a call of the application to a drive."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from pyworkflow_core.errors import ConfigurationError, StorageError
from pyworkflow_core.events import decode_body
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import WorkflowStarted, WorkflowSuspended
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import Claim, StorageBackend

from ..config import get_storage
from ..definitions import StepDefinition, WorkflowDefinition
from ..durations import Duration
from ..errors import IdempotencyConflictError, StepOutsideWorkflowError, WorkflowAlreadyRunningError
from .drive import Drive, RunLost
from .engine import Engine, engine_for
from .family import Family, claim_one, drive_for
from .giveback import REPLAY_FAILED
from .options import deduplicated_run_id, with_options
from .outbox import Errand
from .results import last_payload, noted, record_of, result_of, wait_until_ended
from .transient import (
    PREFIX,
    TransientRun,
    is_transient,
    plain_id,
    refuse_without_a_log,
    to_its_end,
    transient_engine,
)

DEFAULT_QUEUE = "default"


async def start(
    workflow: WorkflowDefinition[Any, Any] | Callable[..., Any],
    *args: Any,
    durable: bool | None = None,
    storage: StorageBackend | str | None = None,
    idempotency_key: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    delay: Duration | None = None,
    start_at: datetime | None = None,
    deduplication_id: str | None = None,
    concurrency_key: str | None = None,
    wait: bool = False,
    **kwargs: Any,
) -> str:
    """Start a run of a workflow, and drive it here until it ends or suspends.

    So are its children, and the runs that continue it as new.

    Args:
        workflow: a function decorated with ``@workflow``.
        *args: its positional arguments.
        durable: false for a run without a log, which is gone when this call ends: `start` goes on
            until it has ended, and answers with a `TransientRun`, an id that holds the result.
        storage: where the log goes: a backend, or a URL; the configured one unless given.
        idempotency_key: starting again with the same key, workflow and arguments answers
            with the run that is there, and starts nothing.
        queue: only enqueue the run, for the workers of this queue.
        priority: 0 is claimed first; 5 unless given.
        delay: begin so much later; a worker or `resume` drives it then.
        start_at: begin at this moment; at once if it has passed.
        deduplication_id: refuse to start while another run of the queue that was started with
            this id goes on.
        concurrency_key: what a queue with limits counts the run under.
        wait: go on until the run has ended, waiting out its sleeps and retries here.
        **kwargs: its keyword arguments.

    Returns:
        The run's id.

    Raises:
        IdempotencyConflictError: the key belongs to a run with other arguments.
        DeduplicationError: a run that goes on has the deduplication id.
        UnserializableValueError: an argument cannot be written to the log.
        Exception: whatever the workflow function raised, where it failed here; the run is
            recorded as failed, and the exception carries a note with its id.
    """
    if current_machine.get() is not None:
        raise StepOutsideWorkflowError(
            "start() was called inside a workflow: a replay would start the run again. Use "
            "start_child_workflow(), or start it from a @step."
        )
    definition = _definition(workflow)
    definition.bind(args, kwargs)
    if is_transient(definition, durable):
        refuse_without_a_log(
            definition,
            idempotency_key=idempotency_key,
            queue=queue,
            delay=delay,
            start_at=start_at,
            deduplication_id=deduplication_id,
            concurrency_key=concurrency_key,
        )
        return await _without_a_log(definition, args, kwargs, storage, priority)
    engine = engine_for(get_storage(storage))
    started = with_options(
        engine,
        _started(engine, definition, args, kwargs, idempotency_key, queue, priority),
        delay=delay,
        start_at=start_at,
        deduplication_id=deduplication_id,
        concurrency_key=concurrency_key,
        enqueued=queue is not None,
    )
    later = queue is not None or started.wake_at is not None
    key = idempotency_key
    run_id = engine.ids.run_id() if key is None else derive_run_id("key", key)
    family = Family(engine, started.queue, linger=engine.settings.linger if wait else 0)
    while key is None or not await _is_there(engine, run_id, started):
        if deduplication_id is not None:
            run_id = await deduplicated_run_id(engine, started)
        drive = _new_drive(engine, definition, run_id, family)
        if later:
            created = await drive.enqueue(started)
        else:
            created = await drive.begin(_owned(started, drive.log.claim.token))
        if created:
            if not later:
                await _drive(drive, family)
            break
    if wait:
        record = await wait_until_ended(engine, run_id, here=queue is None)
        if record.status in {RunStatus.FAILED, RunStatus.INTERRUPTED}:
            await result_of(engine, record)
    return run_id


async def resume(run_id: str, *, storage: StorageBackend | str | None = None) -> Any:
    """Take up a suspended run, or one whose process died, and drive it here.

    Returns:
        What the workflow returned; None if the run suspended again, was not due, or was
        cancelled. A run that has ended answers with its recorded result.

    Raises:
        WorkflowNotFoundError: there is no such run.
        WorkflowAlreadyRunningError: another process holds it.
        NonDeterminismError: the code no longer matches the history; the run stays suspended.
        WorkflowInterruptedError: the run was given up.
        Exception: whatever the workflow function raised.
    """
    run_id = plain_id(run_id)
    engine = engine_for(get_storage(storage))
    record = await record_of(engine, run_id)
    if record.status.is_terminal and not record.detail.owes:
        return await result_of(engine, record)
    family = Family(engine, record.queue)
    claim = await claim_one(engine, record.run_id)
    if claim is None and await _was_given_back(engine, record):
        # It waits out a pause for code to be mended; whoever asks by hand says that it is.
        claim = await claim_one(engine, record.run_id, record.wake_at)
    drive: Drive | Errand | None = None
    if claim is not None:
        drive = await _take_up(engine, claim, family)
    elif record.detail.children:
        await _settle(family, record.run_id)
    now = engine.clock.now()
    record = (drive and drive.record) or await record_of(engine, run_id)
    if not record.status.is_terminal:
        if claim is None and record.wake_at is not None and record.wake_at <= now:
            raise WorkflowAlreadyRunningError(
                f"run {run_id!r} is held by another process, or was until it died; try again when its "
                f"lease of {engine.settings.lease / 1e6:g} s has ended"
            )
        return None
    failed = family.errors.get(record.run_id)
    if failed is not None and record.status.is_terminal:
        raise noted(failed, record.run_id)
    return await result_of(engine, record, drive.ending if drive is not None else None)


async def _without_a_log(
    definition: WorkflowDefinition[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    storage: StorageBackend | str | None,
    priority: int | None,
) -> TransientRun:
    """Drive a transient run and its family to their ends."""
    async with transient_engine(storage) as engine:
        started = _started(engine, definition, args, kwargs, None, None, priority)
        family = Family(engine, None)
        drive = _new_drive(engine, definition, PREFIX + engine.ids.run_id(), family)
        await drive.begin(_owned(started, drive.log.claim.token))
        task = asyncio.get_running_loop().create_task(_drive(drive, family), name=drive.run_id)
        return await to_its_end(engine, drive.run_id, task)


async def _take_up(engine: Engine, claim: Claim, family: Family) -> Drive | Errand | None:
    """Drive a claimed run, and whatever of its family is due then.

    Returns:
        The drive, which knows how the run was left; None where that has to be looked for.
    """
    drive = await drive_for(engine, claim, adopt=family.adopt)
    try:
        await drive.run()
    except StorageError:
        await family.close()
        with contextlib.suppress(StorageError):
            await engine.storage.release(claim)  # whoever tries next need not wait for its end
        raise
    except RunLost as lost:
        await family.close()
        record = await record_of(engine, claim.run_id)
        if not record.status.is_terminal:
            raise WorkflowAlreadyRunningError(str(lost)) from None
        return None
    except BaseException:
        await family.close()
        raise
    if drive.error is not None:
        family.errors[claim.run_id] = drive.error
    if drive.record is not None and _has_family(drive.record):
        await _settle(family, claim.run_id)
        return None
    return drive


async def _drive(drive: Drive, family: Family) -> None:
    """Drive a new run, and whatever of its family is due then."""
    try:
        await drive.run()
    except RunLost:
        await family.close()
        return
    except BaseException:
        await family.close()
        raise
    error, run_id = drive.error, drive.run_id
    if drive.record is not None and _has_family(drive.record):
        await _settle(family, run_id)
        if error is None:
            end = await record_of(drive.engine, run_id)
            run_id, error = end.run_id, family.errors.get(end.run_id)
    if error is not None:
        raise noted(error, run_id)


def _has_family(record: RunRecord) -> bool:
    return record.detail.children or record.status is RunStatus.CONTINUED_AS_NEW


async def _settle(family: Family, run_id: str) -> None:
    try:
        await family.settle(run_id)
    finally:
        await family.close()


async def _was_given_back(engine: Engine, record: RunRecord) -> bool:
    last = await last_payload(engine, record)
    return isinstance(last, WorkflowSuspended) and last.reason.startswith(REPLAY_FAILED)


def _new_drive(
    engine: Engine, definition: WorkflowDefinition[Any, Any], run_id: str, family: Family
) -> Drive:
    ids = engine.ids
    record = RunRecord(run_id=run_id, incarnation=ids.incarnation(), head=0)
    claim = Claim(run_id, engine.owner_name, ids.token(), 0, record)
    return Drive(engine, definition, claim, linger=family.linger, adopt=family.adopt)


def _started(
    engine: Engine,
    definition: WorkflowDefinition[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    key: str | None,
    queue: str | None,
    priority: int | None,
) -> WorkflowStarted:
    if key is not None:
        validate_id(key, "idempotency key")
    if queue is not None:
        validate_id(queue, "queue")
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int)):
        raise ConfigurationError(f"priority is a whole number, 0 first, not {priority!r}")
    encoded = engine.codec.encode_args(args, kwargs, where=definition.name, reach=definition.reach)
    longest = definition.max_duration
    return WorkflowStarted(
        definition.name,
        Raw(encoded),
        queue=queue if queue is not None else DEFAULT_QUEUE,
        priority=5 if priority is None else priority,
        idempotency_key=key,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        workflow_version=definition.version,
        tags=definition.tags,
        deadline=None if longest is None else engine.clock.now() + longest,
        max_recoveries=definition.max_recovery_attempts,
    )


def _owned(started: WorkflowStarted, token: str) -> WorkflowStarted:
    return msgspec.structs.replace(started, owner=token)


async def _is_there(engine: Engine, run_id: str, started: WorkflowStarted) -> bool:
    """Whether the key's run exists; refuse a key that was used for something else."""
    events = await engine.storage.read(run_id, limit=1)
    if not events:
        return False
    first = decode_body(events[0].body).data
    if first.workflow == started.workflow and _canonical(first.args) == _canonical(started.args):
        return True
    what = "other arguments" if first.workflow == started.workflow else f"workflow {first.workflow!r}"
    raise IdempotencyConflictError(
        f"idempotency key {started.idempotency_key!r} belongs to run {run_id!r} of {what}; use another key",
        run_id,
    )


def _canonical(args: Raw) -> bytes:
    """Encoded arguments with the keys of mappings sorted: their order makes no other arguments."""
    return msgspec.json.encode(msgspec.json.decode(args), order="deterministic")


def _definition(workflow: Any) -> WorkflowDefinition[Any, Any]:
    if isinstance(workflow, WorkflowDefinition):
        return workflow
    if inspect.iscoroutine(workflow):
        workflow.close()
        raise ConfigurationError(
            f"start() takes the workflow and its arguments, not a call: write start({workflow.__name__}, …)"
        )
    kind = "a step" if isinstance(workflow, StepDefinition) else f"{type(workflow).__name__}"
    raise ConfigurationError(
        f"start() takes a function decorated with @workflow, not {kind} "
        f"{getattr(workflow, '__name__', workflow)!r}"
    )
