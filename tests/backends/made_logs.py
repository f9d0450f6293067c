"""Appends for tests of storage backends, made with the core's own fold."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from pyworkflow_core.events import Event, UnknownPayload, encode_body
from pyworkflow_core.payloads import WorkflowResumed, WorkflowStarted, WorkflowSuspended
from pyworkflow_core.record import RunRecord, evolve
from pyworkflow_core.storage import Append, LeaseChange


def body(data: str = "{}", *, at: int = 0) -> bytes:
    """A body of an application's own type."""
    return encode_body(UnknownPayload("test.noted", Raw(data.encode())), at)


def created(
    run_id: str,
    *,
    incarnation: str = "i1",
    at: int = 0,
    workflow: str = "wf",
    event_id: str = "e1",
    **fields: Any,
) -> Append:
    """The append that creates a run. Its wake time is `at` unless given."""
    lease = fields.pop("lease", None)
    event = Event(run_id, 1, event_id, encode_body(WorkflowStarted(workflow, **fields), at))
    return Append(run_id, incarnation, 0, (event,), evolve(None, [event], incarnation=incarnation), lease)


def after(record: RunRecord, *bodies: bytes, prefix: str = "e", lease: LeaseChange | None = None) -> Append:
    """The append that follows `record`, with event ids made of `prefix` and sequence."""
    bodies = bodies or (body(),)
    n = record.head + 1
    events = tuple(Event(record.run_id, n + i, f"{prefix}{n + i}", b) for i, b in enumerate(bodies))
    return Append(record.run_id, record.incarnation, record.head, events, evolve(record, events), lease)


def suspended(record: RunRecord, wake_at: int | None, **more: Any) -> Append:
    return after(record, encode_body(WorkflowSuspended(wake_at=wake_at), 0), **more)


def resumed(record: RunRecord, at: int, **more: Any) -> Append:
    return after(record, encode_body(WorkflowResumed("me"), at), **more)
