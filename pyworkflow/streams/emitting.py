"""`emit` and `terminate`: telling a stream something, from wherever."""

from __future__ import annotations

import difflib
import logging
from datetime import datetime
from typing import Any

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.events import from_micros, to_micros
from pyworkflow_core.ids import validate_id
from pyworkflow_core.payloads import SignalReceived
from pyworkflow_core.replay import current_machine
from pyworkflow_core.storage import StorageBackend

from ..config import get_storage
from ..definitions import StepDefinition
from ..durations import Duration, to_duration
from ..engine.attempt import current_attempt
from ..engine.engine import engine_for
from ..engine.signals import has_heard
from ..errors import StreamNotFoundError
from .definitions import StreamDefinition, name_of, schema_for, steps_of
from .naming import tell_stream
from .signal import TERMINATE, Signal, Wire, body_of, check_size, check_type, pack, plain
from .step_context import current_handling, current_scope, current_storage

log = logging.getLogger("pyworkflow")


async def emit(
    stream_id: str | StreamDefinition,
    signal_type: str,
    payload: Any = None,
    *,
    stream_run_id: str | None = None,
    delay: Duration | None = None,
    at: datetime | None = None,
    signal_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    storage: StorageBackend | str | None = None,
) -> Signal:
    """Tell a stream something. It is recorded; the stream's steps get it in the stream's order.

    In a workflow it is a step of the run, so that a replay does not tell it again. In a step, a
    further attempt tells it under the same id as long as it emits in the same order; elsewhere
    give a `signal_id` to say the same again without being heard twice.

    Args:
        stream_id: the stream, or its name.
        signal_type: what kind of thing it is; steps subscribe to types.
        payload: any value that the log can hold; of a model, its fields. None is ``{}``.
        stream_run_id: which run of the stream is told; in a stream step, and while
            `run_stream_workflow` begins, the same run, otherwise the stream's one unnamed run.
        delay: the stream hears it so much later.
        at: the stream hears it then.
        signal_id: the same id again is not heard again, and is no mistake if that run has ended since.
        metadata: labels, which travel along.
        storage: where the stream's log is; the one at hand, or the configured one, unless given.

    Returns:
        The signal, as it was told.

    Raises:
        StreamNotFoundError: there is no such stream, or that run of it has ended without hearing this.
        ValueError: the payload does not fit what a step of the stream expects.
        UnserializableValueError: the payload cannot be recorded.
        LimitExceeded: the payload is too large for the storage's events.
    """
    stream = name_of(stream_id)
    check_type(signal_type)
    if delay is not None and at is not None:
        raise ValueError("a signal is emitted with a delay or at a moment, not both")
    value = {} if payload is None else plain(payload)
    schema_for(stream, signal_type).check(value if payload is None else payload)
    scope = current_scope.get() if stream_run_id is None else validate_id(stream_run_id, "stream_run_id")
    if signal_id is not None:
        validate_id(signal_id, "signal id")
    machine = current_machine.get()
    wait = None if delay is None else to_duration(delay, "delay")
    due = None if at is None else to_micros(at)
    if machine is not None:
        _refuse_storage(storage)
        check_size(body_of(machine.codec, value, metadata), machine.event_bytes, stream, signal_type)
        if wait is not None:
            due = machine.now + wait
        told = await _emit_step(stream, scope, signal_type, value, metadata, signal_id, due)
    else:
        _warn_of_stray(stream, signal_type)
        told = await _emit(stream, scope, signal_type, value, metadata, signal_id, due, wait, storage)
    return Signal(
        stream_id=stream,
        signal_type=signal_type,
        payload=value,
        signal_id=told["signal_id"],
        published_at=from_micros(told["at"]),
        source_run_id=told["by"] or None,
        stream_run_id=scope,
        metadata=metadata or {},
    )


async def terminate(
    stream_id: str | StreamDefinition | None = None,
    *,
    stream_run_id: str | None = None,
    reason: str | None = None,
    storage: StorageBackend | str | None = None,
) -> None:
    """End a stream step, or a whole run of a stream.

    Without a stream, in a stream step: this is the last signal that the step handles. With one:
    what was emitted before is handled, nothing after it; then the stream's run ends. To stop it
    at once, cancel its run.

    Args:
        stream_id: the stream, or its name.
        stream_run_id: which run of it, as for `emit`.
        reason: a text for the log.
        storage: as for `emit`.

    Raises:
        StreamNotFoundError: there is no such run, or it has ended otherwise than by this.
    """
    handling = current_handling.get()
    if stream_id is None:
        if handling is None:
            raise StreamNotFoundError("terminate() without a stream ends the stream step it is called in")
        handling.turn["end"] = "terminated"
        return
    stream = name_of(stream_id)
    scope = current_scope.get() if stream_run_id is None else validate_id(stream_run_id, "stream_run_id")
    if current_machine.get() is not None:
        _refuse_storage(storage)
        await _emit_step(stream, scope, TERMINATE, reason, None, None, None)
    else:
        await _emit(stream, scope, TERMINATE, reason, None, None, storage=storage)


async def _emit(
    stream: str,
    stream_run_id: str | None,
    kind: str,
    payload: Any,
    metadata: dict[str, Any] | None = None,
    signal_id: str | None = None,
    due: int | None = None,
    wait: int | None = None,
    storage: StorageBackend | str | None = None,
) -> dict[str, Any]:
    """Tell it, outside of workflow code. What the log of a workflow keeps of it."""
    attempt = current_attempt.get()
    # A run without a log has its own runs of streams; the unnamed ones are everybody's.
    alone = attempt is not None and attempt.engine.transient and stream_run_id is None
    if attempt is not None and storage is None and not alone:
        engine = attempt.engine
    else:
        engine = engine_for(get_storage(storage or current_storage.get()))
    by = "" if attempt is None else attempt.call.machine.run_id
    if signal_id is None:
        signal_id = engine.ids.event_id() if attempt is None else attempt.derive_id()
    now = engine.clock.now()
    later = now if due is None and wait is None else (due or now) + (wait or 0)
    body = body_of(engine.codec, payload, metadata)
    check_size(body, engine.storage.limits.event_bytes, stream, kind)
    wire = Wire(body, max(now, later), signal_id, by, delayed=later > now)
    told = SignalReceived(kind, signal_id, pack(wire), by)
    here = attempt if attempt is not None and attempt.engine is engine else None
    ended = await tell_stream(engine, here, stream, stream_run_id, [told])
    # It may have been heard all the same: by an earlier attempt, or before a part of what was told with it.
    if ended is not None and not await has_heard(engine, ended, signal_id):
        which = "" if stream_run_id is None else f" {stream_run_id!r}"
        raise StreamNotFoundError(
            f"the run{which} of stream {stream!r} cannot be told {kind!r}: it is {ended.status} "
            f"({ended.run_id})"
        )
    return {"signal_id": signal_id, "at": wire.at, "by": by}


_emit_step: StepDefinition[Any, Any] = StepDefinition(_emit, name="pyworkflow.emit", max_retries=20)


def _refuse_storage(storage: object) -> None:
    if storage is not None:
        raise ConfigurationError(
            "a workflow tells streams in the storage of its own run: leave out storage=, or tell a stream in "
            "another storage from a step"
        )


def _warn_of_stray(stream: str, signal_type: str) -> None:
    steps = steps_of(stream)
    taken = {kind for step in steps.values() for kind in step.signals}
    if steps and signal_type not in taken:
        close = difflib.get_close_matches(signal_type, taken, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; they take {', '.join(sorted(taken))}"
        log.warning("no step of stream %r takes signals of type %r%s", stream, signal_type, hint)
