"""Looking at streams: which runs of them there are, and how far their steps have come."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from pyworkflow_core.carried import CarriedSignal
from pyworkflow_core.events import decode_body, from_micros
from pyworkflow_core.payloads import ChildWorkflowStarted, SignalReceived, WorkflowCompleted, WorkflowStarted
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.storage import RunQuery, StorageBackend

from ..config import get_storage
from ..engine.engine import Engine, engine_for
from ..engine.outside import end_of_chain
from ..errors import StreamNotFoundError
from ..filters import find_all
from .definitions import StreamDefinition, name_of, subscriber_name
from .naming import STREAM, stream_run, unknown
from .signal import RESERVED


class StreamStepRun(Struct, frozen=True):
    """A step of a stream, as it stands.

    Attributes:
        name: the step's name.
        run_id: the run that consumes the stream for it; the one that goes on, if it continued as new.
        status: what that run is doing.
    """

    name: str
    run_id: str
    status: RunStatus


class StreamRun(Struct, frozen=True, kw_only=True):
    """A run of a stream, as it stands.

    Attributes:
        stream_id: the stream's name.
        stream_run_id: which run of it; None for the unnamed one.
        run_id: the run that has its log; the one that goes on, if it continued as new.
        status: what that run is doing.
        outcome: how it ended, as `StreamWorkflowResult` says it; None while it has not.
        created_at: when the log that goes on began.
        signals: signals that came, the delayed ones included.
        steps: its steps; empty in a listing.
    """

    stream_id: str
    stream_run_id: str | None
    run_id: str
    status: RunStatus
    outcome: str | None = None
    created_at: datetime
    signals: int = 0
    steps: list[StreamStepRun] = []


async def list_stream_runs(
    *, limit: int = 100, storage: StorageBackend | str | None = None
) -> list[StreamRun]:
    """The newest runs of streams."""
    engine = engine_for(get_storage(storage))
    query = RunQuery(workflow=STREAM, status=frozenset(RunStatus) - {RunStatus.CONTINUED_AS_NEW})
    records = [record async for record in find_all(engine.storage, query, limit)]
    return [await _view(engine, record, steps=False) for record in records]


async def get_stream_run(
    stream: str | StreamDefinition,
    stream_run_id: str | None = None,
    *,
    storage: StorageBackend | str | None = None,
) -> StreamRun:
    """One run of a stream, with its steps.

    Raises:
        StreamNotFoundError: there is no such run.
    """
    engine, name = engine_for(get_storage(storage)), name_of(stream)
    record = await end_of_chain(engine, stream_run(name, stream_run_id))
    if record is None:
        raise StreamNotFoundError(unknown(engine, name, stream_run_id))
    return await _view(engine, record, steps=True)


async def _view(engine: Engine, record: RunRecord, *, steps: bool) -> StreamRun:
    payloads: list[Any] = [
        decode_body(event.body).data for event in await engine.storage.read(record.run_id, limit=record.head)
    ]
    started: WorkflowStarted = payloads[0]
    (stream, scope, state), _ = engine.codec.decode_args(started.args)
    told = [*(() if started.carried is None else started.carried.signals), *payloads]
    new = {
        signal.signal_id
        for signal in told
        if isinstance(signal, (SignalReceived, CarriedSignal)) and not signal.signal.startswith(RESERVED)
    }
    outcome = next((p for p in reversed(payloads) if isinstance(p, WorkflowCompleted)), None)
    return StreamRun(
        stream_id=stream,
        stream_run_id=scope,
        run_id=record.run_id,
        status=record.status,
        outcome=None if outcome is None else engine.codec.decode(outcome.result)["status"],
        created_at=from_micros(record.created_at),
        signals=state.get("number", 0) + len(state.get("delayed", ())) + len(new),
        steps=await _steps_of(engine, stream, payloads, state) if steps else [],
    )


async def _steps_of(
    engine: Engine, stream: str, payloads: list[Any], state: dict[str, Any]
) -> list[StreamStepRun]:
    prefix = subscriber_name(stream, "-").removesuffix("-")
    runs = {handle.workflow_name: handle.run_id for handle in state.get("handles", {}).values()}
    runs |= {p.child: p.run_id for p in payloads if isinstance(p, ChildWorkflowStarted)}
    found = []
    for workflow, run_id in runs.items():
        record = await end_of_chain(engine, run_id)
        if record is not None:
            found.append(StreamStepRun(workflow.removeprefix(prefix), record.run_id, record.status))
    return found
