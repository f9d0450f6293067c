"""Logs beside the runs' logs: of queues with limits, of deduplication ids. They belong to no workflow."""

from __future__ import annotations

from pyworkflow_core.events import Event, encode_body
from pyworkflow_core.payloads import Payload
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.storage import Append, Committed, Refused

from .engine import Engine


async def append_to(
    engine: Engine, log_id: str, record: RunRecord | None, payload: Payload
) -> RunRecord | None:
    """Append one event to a log that is nobody's run.

    Args:
        engine: whose storage it is in.
        log_id: the log.
        record: the log's record as it was read; None to begin the log.
        payload: what happened.

    Returns:
        The record after it; None if the log has moved on.

    Raises:
        StorageError: the storage refuses it, or cannot be used.
    """
    head, incarnation = (0, engine.ids.incarnation()) if record is None else (record.head, record.incarnation)
    event = Event(log_id, head + 1, engine.ids.event_id(), encode_body(payload, engine.clock.now()))
    after = evolve(record, [event], incarnation=incarnation)
    answer = await engine.queue.append(Append(log_id, incarnation, head, (event,), after))
    if isinstance(answer, Refused):
        raise answer.error
    return after if isinstance(answer, Committed) else None
