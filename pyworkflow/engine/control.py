"""`start` and `resume`: from a call of the application to a drive."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from pyworkflow_core.errors import ConfigurationError, StorageError, WorkflowError
from pyworkflow_core.events import decode_body
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import (
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowStarted,
    WorkflowSuspended,
)
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import Claim, StorageBackend

from ..config import get_config, get_storage
from ..definitions import StepDefinition, WorkflowDefinition, get_workflow
from ..errors import (
    IdempotencyConflictError,
    StepOutsideWorkflowError,
    WorkflowAlreadyRunningError,
    WorkflowInterruptedError,
    WorkflowNotFoundError,
    WorkflowNotRegisteredError,
)
from .drive import Drive, RunLost
from .engine import SECOND, Engine, engine_for
from .giveback import REPLAY_FAILED

DEFAULT_QUEUE = "default"
_LONGEST_PAUSE = 300 * SECOND


async def start(
    workflow: WorkflowDefinition[Any, Any] | Callable[..., Any],
    *args: Any,
    durable: bool | None = None,
    storage: StorageBackend | str | None = None,
    idempotency_key: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    wait: bool = False,
    **kwargs: Any,
) -> str:
    """Start a run of a workflow, and drive it here until it ends or suspends.

    Args:
        workflow: a function decorated with ``@workflow``.
        *args: its positional arguments.
        durable: only true is supported.
        storage: where the log goes: a backend, or a URL; the configured one unless given.
        idempotency_key: starting again with the same key, workflow and arguments answers
            with the run that is there, and starts nothing.
        queue: only enqueue the run, for the workers of this queue.
        priority: 0 is claimed first; 5 unless given.
        wait: go on until the run has ended, waiting out its sleeps and retries here.
        **kwargs: its keyword arguments.

    Returns:
        The run's id.

    Raises:
        IdempotencyConflictError: the key belongs to a run with other arguments.
        UnserializableValueError: an argument cannot be written to the log.
        Exception: whatever the workflow function raised, where it failed here; the run is
            recorded as failed, and the exception carries a note with its id.
    """
    if current_machine.get() is not None:
        raise StepOutsideWorkflowError(
            "start() was called inside a workflow: a replay would start the run again. Start it from a @step."
        )
    definition = _definition(workflow)
    definition.bind(args, kwargs)
    _check_durable(definition, durable)
    engine = engine_for(get_storage(storage))
    started = _started(engine, definition, args, kwargs, idempotency_key, queue, priority)
    key = idempotency_key
    run_id = engine.ids.run_id() if key is None else derive_run_id("key", key)
    while key is None or not await _is_there(engine, run_id, started):
        drive = _new_drive(engine, definition, run_id, wait)
        if queue is not None:
            created = await drive.enqueue(started)
        else:
            created = await drive.begin(_owned(started, drive.log.claim.token))
        if created:
            if queue is None:
                await _drive(drive)
            break
    return await _finish(engine, run_id, wait=wait, here=queue is None)


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
    engine = engine_for(get_storage(storage))
    record = await _record(engine, run_id)
    if not record.status.is_terminal:
        now = engine.clock.now()
        claims = await engine.storage.claim(
            owner=engine.owner_name, now=now, lease=engine.settings.lease, run_id=run_id
        )
        if not claims and await _was_given_back(engine, record):
            # It waits out a pause for code to be mended; whoever asks by hand says that it is.
            claims = await engine.storage.claim(
                owner=engine.owner_name, now=record.wake_at or now, lease=engine.settings.lease, run_id=run_id
            )
        if not claims:
            record = await _record(engine, run_id)
            if record.status.is_terminal:
                return await result_of(engine, record)
            if record.wake_at is not None and record.wake_at <= now:
                raise WorkflowAlreadyRunningError(
                    f"run {run_id!r} is held by another process, or was until it died; try again when its "
                    f"lease of {engine.settings.lease / 1e6:g} s has ended"
                )
            return None
        drive = await drive_for(engine, claims[0])
        try:
            await drive.run()
        except StorageError:
            with contextlib.suppress(StorageError):
                await engine.storage.release(claims[0])  # whoever tries next need not wait for its end
            raise
        except RunLost as lost:
            record = await _record(engine, run_id)
            if not record.status.is_terminal:
                raise WorkflowAlreadyRunningError(str(lost)) from None
        if drive.error is not None:
            raise _noted(drive.error, run_id)
        record = await _record(engine, run_id)
    return await result_of(engine, record)


async def drive_for(engine: Engine, claim: Claim, *, linger: int = 0) -> Drive:
    """The drive of a claimed run.

    Raises:
        WorkflowNotRegisteredError: its workflow is not defined here; the claim is released.
    """
    try:
        definition = get_workflow(claim.record.workflow)
    except BaseException:
        await engine.storage.release(claim)
        raise
    return Drive(engine, definition, claim, linger=linger)


async def result_of(engine: Engine, record: RunRecord) -> Any:
    """The recorded result of a run; None if it has none.

    Raises:
        WorkflowInterruptedError: the run was given up.
        Exception: the recorded error of a failed run.
    """
    payload = await last_payload(engine, record)
    reach = get_workflow(record.workflow).reach
    if isinstance(payload, WorkflowCompleted):
        return engine.codec.decode(payload.result, reach=reach)
    if isinstance(payload, WorkflowFailed):
        error = engine.codec.decode_error(payload.error, reach=reach)
        raise _noted(error, record.run_id)
    if isinstance(payload, WorkflowInterrupted):
        raise WorkflowInterruptedError(f"run {record.run_id!r} was interrupted: {payload.reason}")
    return None


async def last_payload(engine: Engine, record: RunRecord) -> Any:
    """The payload of the run's last event."""
    events = await engine.storage.read(record.run_id, after=record.head - 1, limit=1)
    return decode_body(events[0].body).data if events else None


async def _was_given_back(engine: Engine, record: RunRecord) -> bool:
    last = await last_payload(engine, record)
    return isinstance(last, WorkflowSuspended) and last.reason.startswith(REPLAY_FAILED)


async def wait_until_ended(engine: Engine, run_id: str, *, here: bool) -> RunRecord:
    """Wait until the run has ended; take it up here whenever it is due, if `here`.

    How it ended is in the record; a failed run raises nothing here.
    """
    pause = engine.settings.poll
    while True:
        record = await _record(engine, run_id)
        if record.status.is_terminal:
            return record
        now = engine.clock.now()
        if here and record.wake_at is not None and record.wake_at <= now:
            claims = await engine.storage.claim(
                owner=engine.owner_name, now=now, lease=engine.settings.lease, run_id=run_id
            )
            if claims:
                try:
                    drive = await drive_for(engine, claims[0], linger=engine.settings.linger)
                except WorkflowNotRegisteredError:
                    here = False  # somebody else's code: wait for them
                    continue
                with contextlib.suppress(RunLost):
                    await drive.run()
                pause = engine.settings.poll
                continue
        look, wake = now + pause, record.wake_at
        await engine.wait_for_change(run_id, min(look, wake) if here and wake and wake > now else look)
        # What this process does to the run is noticed at once; what others do, ever more seldom.
        pause = min(pause * 3 // 2, max(engine.settings.poll, _LONGEST_PAUSE))


async def _drive(drive: Drive) -> None:
    try:
        await drive.run()
    except RunLost:
        return
    if drive.error is not None:
        raise _noted(drive.error, drive.run_id)


async def _finish(engine: Engine, run_id: str, *, wait: bool, here: bool) -> str:
    if wait:
        record = await wait_until_ended(engine, run_id, here=here)
        if record.status in {RunStatus.FAILED, RunStatus.INTERRUPTED}:
            await result_of(engine, record)
    return run_id


def _new_drive(engine: Engine, definition: WorkflowDefinition[Any, Any], run_id: str, wait: bool) -> Drive:
    ids = engine.ids
    record = RunRecord(run_id=run_id, incarnation=ids.incarnation(), head=0)
    claim = Claim(run_id, engine.owner_name, ids.token(), 0, record)
    return Drive(engine, definition, claim, linger=engine.settings.linger if wait else 0)


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


async def _record(engine: Engine, run_id: str) -> RunRecord:
    record = await engine.storage.get(run_id)
    if record is None or not record.workflow:
        raise WorkflowNotFoundError(
            f"there is no run {run_id!r} in {engine.storage!r}; 'pyworkflow runs list' shows those there are"
        )
    return record


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


def _check_durable(definition: WorkflowDefinition[Any, Any], durable: bool | None) -> None:
    wanted = next(d for d in (durable, definition.durable, get_config().default_durable) if d is not None)
    if not wanted:
        raise ConfigurationError(
            f"workflow {definition.name!r}: durable=False is not supported by this version; "
            "every run has a log"
        )


def _noted(error: BaseException, run_id: str) -> BaseException:
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
