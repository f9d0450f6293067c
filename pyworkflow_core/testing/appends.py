"""The appends that checks and printed programs are written with, made by the core's own fold.

Each function is pure: the same arguments make the same append, so that a program which is
printed with a failure needs nothing but these words.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from ..events import Event, UnknownPayload, encode_body
from ..payloads import WorkflowCompleted, WorkflowResumed, WorkflowStarted, WorkflowSuspended
from ..record import RunRecord, evolve
from ..storage import Append, LeaseChange

_NO_TEXT = '{"x":""}'


def noted(data: str = "{}", *, at: int = 0) -> bytes:
    """The body of an event of an application's own type, which changes nothing but the head.

    Args:
        data: a JSON object.
        at: when, in microseconds since 1970.
    """
    return encode_body(UnknownPayload("laws.noted", Raw(data.encode())), at)


def noted_of(size: int) -> bytes:
    """The body of such an event that has exactly so many bytes."""
    return noted(f'{{"x":"{"x" * (size - len(noted(_NO_TEXT)))}"}}')


def created(
    run_id: str,
    *,
    incarnation: str = "i1",
    at: int = 0,
    workflow: str = "w",
    event_id: str = "e1",
    lease: LeaseChange | None = None,
    **fields: Any,
) -> Append:
    """The append that creates a run.

    Args:
        run_id: the run.
        incarnation: its incarnation.
        at: when it is created; also its wake time, unless `fields` has one.
        workflow: the workflow's name.
        event_id: id of its one event.
        lease: a lease to take with it.
        **fields: further fields of `WorkflowStarted`: queue, priority, parent, wake_at, attributes.
    """
    event = Event(run_id, 1, event_id, encode_body(WorkflowStarted(workflow, **fields), at))
    return Append(run_id, incarnation, 0, (event,), evolve(None, [event], incarnation=incarnation), lease)


def created_with(run_id: str, *bodies: bytes, **fields: Any) -> Append:
    """The append that creates a run and goes on with events of these bodies, all in one.

    Args:
        run_id: the run.
        *bodies: bodies of the events behind the first.
        **fields: see `created`.
    """
    first = created(run_id, **fields)
    more = after(first.record, *bodies)
    return Append(run_id, first.incarnation, 0, first.events + more.events, more.record, first.lease)


def after(
    record: RunRecord,
    *bodies: bytes,
    prefix: str = "e",
    at: int | None = None,
    lease: LeaseChange | None = None,
) -> Append:
    """The append that goes behind `record`: one noted event unless `bodies` are given.

    Args:
        record: the record before it.
        *bodies: the events' bodies.
        prefix: event ids are this and the sequence number. Rivals differ in it.
        at: time of the one noted event; that of the run's last event if None.
        lease: what happens to the lease.
    """
    bodies = bodies or (noted(at=record.updated_at if at is None else at),)
    n = record.head + 1
    events = tuple(Event(record.run_id, n + i, f"{prefix}{n + i}", b) for i, b in enumerate(bodies))
    return Append(record.run_id, record.incarnation, record.head, events, evolve(record, events), lease)


def suspended(record: RunRecord, wake_at: int | None, *, at: int | None = None, **more: Any) -> Append:
    """The append by which a run begins to wait until `wake_at`; None waits for somebody."""
    moment = record.updated_at if at is None else at
    return after(record, encode_body(WorkflowSuspended(wake_at=wake_at), moment), **more)


def resumed(record: RunRecord, *, at: int, **more: Any) -> Append:
    """The append by which a worker takes a run up at `at`; its wake time becomes `at`."""
    return after(record, encode_body(WorkflowResumed("worker"), at), **more)


def completed(record: RunRecord, *, at: int | None = None, **more: Any) -> Append:
    """The append by which a run ends; it is never due again."""
    moment = record.updated_at if at is None else at
    return after(record, encode_body(WorkflowCompleted(), moment), **more)


def ahead(record: RunRecord, events: int) -> RunRecord:
    """The record that the run would have `events` further noted events on; for a future append."""
    return after(record, *[noted(at=record.updated_at)] * events, prefix="future").record
