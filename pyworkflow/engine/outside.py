"""Appending to runs that are not driven here: news of children, requests to stop, answers to hooks."""

from __future__ import annotations

from collections.abc import Sequence

from pyworkflow_core.events import Event, decode_body, encode_body
from pyworkflow_core.payloads import CancellationRequested, Payload, WorkflowContinuedAsNew, WorkflowStarted
from pyworkflow_core.record import RunRecord, RunStatus, evolve
from pyworkflow_core.storage import Append, Committed, LeaseChange, Refused

from .engine import Engine

_MOST_CHAINS = 10_000


async def append_outside(
    engine: Engine,
    record: RunRecord,
    payloads: Sequence[Payload],
    *,
    times: Sequence[int] = (),
    ids: Sequence[str] = (),
    lease: LeaseChange | None = None,
) -> RunRecord | None:
    """Append to a run that is not driven here; its record then, or None if its log has moved on.

    Args:
        engine: whose storage it is in.
        record: the run as it was read.
        payloads: what happened.
        times: when each; now, unless given.
        ids: the events' ids; drawn, unless given.
        lease: what becomes of the run's lease.
    """
    now = engine.clock.now()
    events = tuple(
        Event(
            record.run_id,
            record.head + 1 + i,
            ids[i] if ids else engine.ids.event_id(),
            encode_body(payload, times[i] if times else now),
        )
        for i, payload in enumerate(payloads)
    )
    after = evolve(record, events)
    append = Append(record.run_id, record.incarnation, record.head, events, after, lease)
    answer = await engine.queue.append(append)
    if isinstance(answer, Refused):
        raise answer.error
    if not isinstance(answer, Committed):
        return None
    engine.notify(record.run_id)
    return after


def check_reason(reason: str | None, what: str) -> None:
    """Refuse a reason that no log can hold.

    Raises:
        ValueError: it is not text, or has lone surrogates.
    """
    if reason is not None and (
        not isinstance(reason, str) or reason != reason.encode(errors="ignore").decode()
    ):
        raise ValueError(f"the reason of a {what} is text without lone surrogates, not {reason!r}")


async def create(engine: Engine, run_id: str, start: WorkflowStarted, *, look: bool = True) -> bool:
    """Create a run for somebody to drive; False, and nothing done, if it exists.

    Args:
        engine: whose storage it goes into.
        run_id: the run.
        start: its first event.
        look: for the run before it is created, which is cheaper where it is likely to exist.

    Raises:
        StorageError: the storage refuses it, or cannot be used.
    """
    if look and await engine.storage.get(run_id) is not None:
        return False
    at = engine.clock.now()
    payloads: list[Payload] = [start]
    if start.carried is not None and start.carried.cancel is not None:
        payloads.append(CancellationRequested(*start.carried.cancel))
    events = tuple(
        Event(run_id, sequence, engine.ids.event_id(), encode_body(payload, at))
        for sequence, payload in enumerate(payloads, 1)
    )
    incarnation = engine.ids.incarnation()
    record = evolve(None, events, incarnation=incarnation)
    answer = await engine.queue.append(Append(run_id, incarnation, 0, events, record))
    if isinstance(answer, Refused):
        raise answer.error
    return isinstance(answer, Committed)


async def end_of_chain(engine: Engine, run_id: str) -> RunRecord | None:
    """The record of the run that goes on for `run_id`: itself, unless it continued as new.

    A successor that is not there yet is made here: whoever owes it may have died.

    Returns:
        None if there is no such run, or a part of the chain was deleted.
    """
    first = record = await engine.storage.get(run_id)
    if first is not None and first.status is RunStatus.CONTINUED_AS_NEW:
        # Where the chain ended last time, so that a long one is walked along once.
        seen = engine.chain_ends.get((run_id, first.incarnation))
        record = (None if seen is None else await engine.storage.get(seen)) or first
    while record is not None and record.status is RunStatus.CONTINUED_AS_NEW:
        detail = record.detail
        assert detail.continued_to is not None
        successor = await engine.storage.get(detail.continued_to)
        if successor is None and detail.owes:
            events = await engine.storage.read(record.run_id)
            last = next(p for p in (decode_body(e.body).data for e in reversed(events)) if _continues(p))
            await create(engine, last.run_id, last.start)
            successor = await engine.storage.get(last.run_id)
        record = successor
        if record is not None and first is not None:
            if len(engine.chain_ends) >= _MOST_CHAINS:
                engine.chain_ends.clear()
            engine.chain_ends[run_id, first.incarnation] = record.run_id
    return record


def _continues(payload: object) -> bool:
    return isinstance(payload, WorkflowContinuedAsNew)
