"""Looking at runs: one, many, their events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from pyworkflow_core.carried import CarriedContext
from pyworkflow_core.codec import Opaque, RecordedError
from pyworkflow_core.errors import CodecError
from pyworkflow_core.events import Event, decode_body, from_micros
from pyworkflow_core.ids import derive_run_id, validate_id
from pyworkflow_core.payloads import (
    StepContextSet,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowStarted,
)
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import StorageBackend

from .config import get_storage
from .context import values_of
from .definitions import find_workflow
from .engine.engine import Engine, engine_for
from .engine.results import last_payload
from .engine.transient import plain_id, why_not_found
from .errors import WorkflowNotFoundError
from .filters import Statuses, find_all, run_query
from .queries import payload_at, state_of


class WorkflowRun(Struct, frozen=True, kw_only=True):
    """A run as it stands.

    Attributes:
        run_id: the run.
        workflow_name: its workflow.
        status: what it is doing.
        result: what the workflow returned; None while it has not.
        error: type and text of what it raised, or why it was interrupted; None if neither.
        created_at: when it was created.
        started_at: when it first ran; None if it has not.
        completed_at: when it ended; None if it has not.
        updated_at: when its last event happened.
        wake_at: when it is due; None if it waits for somebody, or has ended.
        context: values of the step context, by the names of their fields.
        state: what the workflow published last; None if it has published nothing.
        parent_run_id: the run that started it.
        nesting_depth: 0 for a run without a parent.
        continued_from_run_id: the run that it continues.
        continued_to_run_id: the run that continues it.
        idempotency_key: the key it was started with.
        tags: labels of its definition.
        queue: whose workers may claim it.
        priority: 0 is claimed first.
        event_count: events in its log.
    """

    run_id: str
    workflow_name: str
    status: RunStatus
    result: Any = None
    error: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime
    wake_at: datetime | None = None
    context: Mapping[str, Any] = {}
    state: Any = None
    parent_run_id: str | None = None
    nesting_depth: int = 0
    continued_from_run_id: str | None = None
    continued_to_run_id: str | None = None
    idempotency_key: str | None = None
    tags: tuple[str, ...] = ()
    queue: str = "default"
    priority: int = 5
    event_count: int = 0


async def get_workflow_run(run_id: str, storage: StorageBackend | str | None = None) -> WorkflowRun | None:
    """The run, or None if there is no such run."""
    engine = engine_for(get_storage(storage))
    record = await engine.storage.get(plain_id(run_id))
    return None if record is None or not record.workflow else await _view(engine, record)


async def get_workflow_run_by_idempotency_key(
    key: str, storage: StorageBackend | str | None = None
) -> WorkflowRun | None:
    """The run that was started with this idempotency key, or None."""
    return await get_workflow_run(derive_run_id("key", validate_id(key, "idempotency key")), storage)


async def get_workflow_events(run_id: str, storage: StorageBackend | str | None = None) -> list[Event]:
    """Every event of the run, in order.

    Raises:
        WorkflowNotFoundError: there is no such run.
    """
    events = await get_storage(storage).read(plain_id(run_id))
    if not events:
        raise WorkflowNotFoundError(
            f"there is no run {run_id!r} in {get_storage(storage)!r}{why_not_found(run_id)}"
        )
    return events


async def get_workflow_chain(run_id: str, storage: StorageBackend | str | None = None) -> list[WorkflowRun]:
    """The runs that continue each other as new, of which this is one, the oldest first.

    Parts that were deleted, and what lies behind them, are missing.

    Raises:
        WorkflowNotFoundError: there is no such run.
    """
    engine = engine_for(get_storage(storage))
    record = await engine.storage.get(plain_id(run_id))
    if record is None or not record.workflow:
        raise WorkflowNotFoundError(
            f"there is no run {run_id!r} in {engine.storage!r}{why_not_found(run_id)}"
        )
    chain = [record]
    while (before := chain[0].detail.continued_from) is not None:
        found = await engine.storage.get(before)
        if found is None:
            break
        chain.insert(0, found)
    while (after := chain[-1].detail.continued_to) is not None:
        found = await engine.storage.get(after)
        if found is None:
            break
        chain.append(found)
    return list(await asyncio.gather(*(_view(engine, record) for record in chain)))


async def list_workflow_runs(
    *,
    status: Statuses = None,
    workflow_name: str | None = None,
    queue: str | None = None,
    parent_run_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    attributes: Mapping[str, str] | None = None,
    limit: int = 100,
    include_system: bool = False,
    storage: StorageBackend | str | None = None,
) -> list[WorkflowRun]:
    """The newest runs that match every filter given.

    Runs that the engine keeps for itself, such as those of schedules and streams, are among them if
    `include_system` is set, or `workflow_name` or `parent_run_id` asks for them.

    Raises:
        ValueError: a status that does not exist.
    """
    engine = engine_for(get_storage(storage))
    query = run_query(
        status=status,
        workflow_name=workflow_name,
        queue=queue,
        parent_run_id=parent_run_id,
        created_from=created_from,
        created_before=created_before,
        attributes=attributes,
    )
    records = [record async for record in find_all(engine.storage, query, limit, system=include_system)]
    return list(await asyncio.gather(*(_view(engine, record) for record in records)))


async def _view(engine: Engine, record: RunRecord) -> WorkflowRun:
    detail = record.detail
    result, error = await _ending(engine, record) if record.status.is_terminal else (None, None)
    return WorkflowRun(
        run_id=record.run_id,
        workflow_name=record.workflow,
        status=record.status,
        result=result,
        error=error,
        created_at=from_micros(record.created_at),
        started_at=_moment(detail.started_at),
        completed_at=_moment(detail.ended_at),
        updated_at=from_micros(record.updated_at),
        wake_at=_moment(record.wake_at),
        context=await _context(engine, record),
        state=await state_of(engine, record),
        parent_run_id=record.parent,
        nesting_depth=detail.depth,
        continued_from_run_id=detail.continued_from,
        continued_to_run_id=detail.continued_to,
        idempotency_key=detail.idempotency_key,
        tags=detail.tags,
        queue=record.queue,
        priority=record.priority,
        event_count=record.head,
    )


async def _context(engine: Engine, record: RunRecord) -> Mapping[str, Any]:
    """Values of the step context; empty if none was set."""
    at = record.detail.context_at
    payload = None if at is None else await payload_at(engine, record.run_id, at)
    if isinstance(payload, StepContextSet):
        kept = CarriedContext(payload.context, payload.value)
    elif isinstance(payload, WorkflowStarted) and payload.carried is not None and payload.carried.context:
        kept = payload.carried.context
    else:
        return {}
    definition = find_workflow(record.workflow, record.detail.workflow_version)
    return values_of(engine.codec, kept, None if definition is None else definition.context_class)


async def _ending(engine: Engine, record: RunRecord) -> tuple[Any, str | None]:
    """Result and error text. A value of a type that is not known here comes as `Opaque`."""
    payload = await last_payload(engine, record)
    if isinstance(payload, WorkflowCompleted):
        definition = find_workflow(record.workflow, record.detail.workflow_version)
        if definition is not None:
            # One old result that today's types no longer fit must not break a whole listing.
            with contextlib.suppress(CodecError):
                return engine.codec.decode(payload.result, reach=definition.reach), None
        return engine.codec.decode_lenient(payload.result), None
    if isinstance(payload, WorkflowFailed):
        return None, error_text(engine.codec.decode_lenient(payload.error))
    if isinstance(payload, WorkflowInterrupted):
        return None, f"interrupted: {payload.reason}"
    return None, None


def error_text(error: Any) -> str:
    """Type and text of a recorded exception, for people."""
    if isinstance(error, RecordedError):
        return f"{error.type}: {error}"
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, Opaque):
        return f"{error.type}: {error.value}"
    return str(error)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def started_of(events: list[Event]) -> WorkflowStarted | None:
    """The payload of a run's first event, if it is a workflow's."""
    payload = decode_body(events[0].body).data if events else None
    return payload if isinstance(payload, WorkflowStarted) else None
