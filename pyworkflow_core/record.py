"""The run record: a small projection of a run's log, and the fold that makes it.

A backend stores the record in the same atomic step as the events, or derives it from them
with `evolve`; it never looks into events itself. The record can be rebuilt from the log at
any time. It stays small: inputs, results and whatever can grow stay in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from .carried import OWN_TOKEN
from .errors import LimitExceeded, MalformedValueError, UnserializableValueError
from .events import Envelope, Event, decode_body
from .payloads import (
    CancellationRequested,
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    DeliveriesMade,
    HookCreated,
    HookReceived,
    RunRecovered,
    RunReopened,
    SignalReceived,
    SignalSent,
    StatePublished,
    StepCompleted,
    StepContextSet,
    StepStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowStarted,
    WorkflowSuspended,
)

MAX_RECORD_BYTES = 2048
MAX_ATTRIBUTE_BYTES = 512
GROWTH_BYTES = 510
"""What owner, times, counts, places, a cancellation request and a successor add to a record in time."""


class RunStatus(StrEnum):
    """What a run is doing."""

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    CONTINUED_AS_NEW = "continued_as_new"

    @property
    def is_terminal(self) -> bool:
        """Whether a run in this status has ended."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        RunStatus.COMPLETED,
        RunStatus.FAILED,
        RunStatus.INTERRUPTED,
        RunStatus.CANCELLED,
        RunStatus.CONTINUED_AS_NEW,
    }
)


class RunDetail(Struct, frozen=True, gc=False, omit_defaults=True):
    """The record's `rest`: what the fold needs, and what a listing shows beside the columns.

    Attributes:
        owner: token of the process that drives, or drove, the run.
        recoveries: times the run was taken up without progress since.
        max_recoveries: how many are allowed.
        started_at: when it first ran, in microseconds.
        ended_at: when it ended.
        cancel_requested: whether a cancellation request is in the log.
        idempotency_key: the key it was started with.
        workflow_version: version of the definition that it is pinned to.
        depth: nesting depth.
        tags: labels from the definition.
        children: whether it has, or had, children.
        owes: whether its log owes deliveries to other runs; then it is due, ended or not.
        continued_from: the run that it continues.
        continued_to: the run that continues it.
        reopened: how often its end was taken back.
        concurrency_key: of runs with one key only so many are driven at once.
        context_at: the event that has the step context; None if none was set.
        state_at: the event that has the published state.
        hooks: whether it has, or had, hooks.
    """

    owner: str | None = None
    recoveries: int = 0
    max_recoveries: int = 3
    started_at: int | None = None
    ended_at: int | None = None
    cancel_requested: bool = False
    idempotency_key: str | None = None
    workflow_version: str | None = None
    depth: int = 0
    tags: tuple[str, ...] = ()
    children: bool = False
    owes: bool = False
    continued_from: str | None = None
    continued_to: str | None = None
    reopened: int = 0
    concurrency_key: str | None = None
    context_at: int | None = None
    state_at: int | None = None
    hooks: bool = False


_encode_detail = msgspec.json.Encoder().encode
_decode_detail = msgspec.json.Decoder(RunDetail).decode


class RunRecord(Struct, frozen=True, gc=False, kw_only=True):
    """Where a run stands after its last event.

    Attributes:
        run_id: the run.
        incarnation: drawn when the run was created; a deleted and reused id gets another.
        head: sequence number of the last event.
        status: what it is doing.
        workflow: the workflow's name; empty for a log that is not a workflow's.
        queue: whose workers may claim it.
        priority: 0 is claimed first.
        created_at: time of the first event, in microseconds since 1970.
        updated_at: time of the last event.
        wake_at: when it is due; None if it waits for somebody, or has ended.
        parent: run id of the parent.
        attributes: exact-match attributes.
        rest: an encoded `RunDetail`, opaque to backends.
    """

    run_id: str
    incarnation: str
    head: int
    status: RunStatus = RunStatus.PENDING
    workflow: str = ""
    queue: str = "default"
    priority: int = 5
    created_at: int = 0
    updated_at: int = 0
    wake_at: int | None = None
    parent: str | None = None
    attributes: dict[str, str] = {}
    rest: bytes = b"{}"

    @property
    def detail(self) -> RunDetail:
        """The decoded `rest`."""
        return _decode_detail(self.rest)


def evolve(
    record: RunRecord | None,
    events: Iterable[Event],
    *,
    incarnation: str = "",
    envelopes: Sequence[Envelope[Any]] | None = None,
) -> RunRecord:
    """Fold `events` into `record`; the one place that says what an event does to a run.

    Args:
        record: the record before them; None if they are the run's first.
        events: the next events of the run, in order and without a gap.
        incarnation: the run's incarnation, needed where `record` is None.
        envelopes: the events' decoded bodies, where the caller has them already.

    Raises:
        ValueError: there is no event, or one of another run or at another position.
        MalformedValueError: an event's body is not readable.
    """
    fields: dict[str, Any] | None = None
    detail: dict[str, Any] = {}
    head = record.head if record is not None else 0
    run_id = record.run_id if record is not None else None
    for index, event in enumerate(events):
        head += 1
        if event.sequence != head or (run_id is not None and event.run_id != run_id):
            raise _out_of_order(event, head, run_id)
        run_id = event.run_id
        envelope = decode_body(event.body) if envelopes is None else envelopes[index]
        if fields is None:
            fields = {}
            if record is None:
                fields["created_at"] = envelope.at
                fields["wake_at"] = None
        fields["head"] = head
        fields["updated_at"] = envelope.at
        _apply(record, fields, detail, envelope.data, envelope.at)
    if fields is None or run_id is None:
        raise ValueError(_NO_EVENTS)
    if detail:
        old = record.detail if record is not None else RunDetail()
        fields["rest"] = _encode_detail(msgspec.structs.replace(old, **detail))
    if record is None:
        return RunRecord(run_id=run_id, incarnation=incarnation, **fields)
    return msgspec.structs.replace(record, **fields)


_NO_EVENTS = "a record cannot evolve by no events"


def _out_of_order(event: Event, place: int, run_id: str | None) -> ValueError:
    return ValueError(
        f"event {event.sequence} of run {event.run_id!r} does not follow {place - 1} of {run_id!r}"
    )


def evolve_quietly(record: RunRecord, payloads: Sequence[Any], at: int) -> RunRecord | None:
    """What `evolve` makes of the next events, if they are of steps that begin and complete.

    Most appends are; all that they change is where the record stands. Its caller makes the events
    from `payloads`, and so knows that they follow one another.

    Args:
        record: the record before them.
        payloads: of the next events; at least one.
        at: the time of the last of them, in microseconds.

    Returns:
        The record after them; None if `evolve` has to look at them.
    """
    for payload in payloads:
        if payload.__class__ is not StepStarted and payload.__class__ is not StepCompleted:
            return None
    if b'"recoveries"' in record.rest:
        return None
    return msgspec.structs.replace(record, head=record.head + len(payloads), updated_at=at)


def _apply(
    record: RunRecord | None,
    fields: dict[str, Any],
    detail: dict[str, Any],
    data: Any,
    at: int,
) -> None:
    """Write what one payload changes into `fields` and `detail`."""
    cls = data.__class__
    if cls is StepStarted:
        return  # what most events are
    if cls is StepCompleted:
        if detail.get("recoveries", _recoveries(record)):
            detail["recoveries"] = 0
    elif cls is WorkflowStarted:
        _apply_started(fields, detail, data, at)
    elif cls is WorkflowSuspended:
        fields["status"] = RunStatus.SUSPENDED
        fields["wake_at"] = data.wake_at
    elif cls is WorkflowResumed or cls is RunRecovered:
        _apply_owner(record, fields, detail, data, at)
    elif cls in _FROM_OUTSIDE:
        if cls is CancellationRequested:
            detail["cancel_requested"] = True
        if _status(record, fields) not in _TERMINAL:
            wake = fields.get("wake_at", record.wake_at if record is not None else None)
            fields["wake_at"] = at if wake is None else min(wake, at)
    elif cls in _ENDS:
        fields["status"] = _ENDS[cls]
        fields["wake_at"] = None
        detail["ended_at"] = at
        _apply_end(record, fields, detail, data, at)
    elif cls in _DEBTS:
        _apply_debt(record, fields, detail, data)
    else:
        _apply_rest(record, fields, detail, data, at)


def _apply_owner(
    record: RunRecord | None, fields: dict[str, Any], detail: dict[str, Any], data: Any, at: int
) -> None:
    fields["status"] = RunStatus.RUNNING
    fields["wake_at"] = at
    detail["owner"] = data.owner
    if _unstarted(record, detail):
        detail["started_at"] = at
    if data.__class__ is RunRecovered:
        detail["recoveries"] = data.count


_FROM_OUTSIDE = {
    HookReceived,
    CancellationRequested,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowCancelled,
    SignalReceived,
}


# What may be large stays in the log; the record says where it stands there.
_KEPT: dict[type[Any], str] = {StepContextSet: "context_at", StatePublished: "state_at"}
_DEBTS = {ChildWorkflowStarted, ChildWorkflowReleased, HookCreated, SignalSent, DeliveriesMade}


def _status(record: RunRecord | None, fields: dict[str, Any]) -> RunStatus:
    status: RunStatus = fields.get("status", record.status if record is not None else RunStatus.PENDING)
    return status


def _apply_debt(record: RunRecord | None, fields: dict[str, Any], detail: dict[str, Any], data: Any) -> None:
    """A log owes others something, or has paid; since appends are conditional, nothing comes between."""
    if data.__class__ is DeliveriesMade:
        detail["owes"] = False
        if _status(record, fields) in _TERMINAL:
            fields["wake_at"] = None
    elif data.__class__ is ChildWorkflowStarted:
        detail["children"] = detail["owes"] = True
    elif data.__class__ is HookCreated:
        detail["hooks"] = True
        if data.token.startswith(OWN_TOKEN):
            detail["owes"] = True
    elif data.__class__ is SignalSent or data.stop:
        detail["owes"] = True


def _apply_rest(
    record: RunRecord | None, fields: dict[str, Any], detail: dict[str, Any], data: Any, at: int
) -> None:
    """What is kept in the log, and the end that is taken back: the run is due, with all its recoveries."""
    cls = data.__class__
    if cls in _KEPT:
        detail[_KEPT[cls]] = fields["head"]
    if cls is not RunReopened:
        return
    old = record.detail if record is not None else RunDetail()
    fields["status"] = RunStatus.PENDING
    fields["wake_at"] = at
    detail["ended_at"] = None
    detail["recoveries"] = 0
    detail["cancel_requested"] = data.cancel_requested
    detail["owes"] = data.owes
    detail["reopened"] = detail.get("reopened", old.reopened) + 1
    detail["context_at"], detail["state_at"] = data.context_at, data.state_at


def _apply_end(
    record: RunRecord | None, fields: dict[str, Any], detail: dict[str, Any], data: Any, at: int
) -> None:
    """An end may owe: the news to the parent, the end to its children, a beginning to its successor."""
    old = record.detail if record is not None else RunDetail()
    owes = (
        detail.get("owes", old.owes)
        or detail.get("children", old.children)
        or fields.get("parent", record.parent if record is not None else None) is not None
    )
    if data.__class__ is WorkflowContinuedAsNew:
        detail["continued_to"] = data.run_id
        owes = True
    if owes:
        detail["owes"] = True
        fields["wake_at"] = at


_ENDS: dict[type[Any], RunStatus] = {
    WorkflowCompleted: RunStatus.COMPLETED,
    WorkflowFailed: RunStatus.FAILED,
    WorkflowCancelled: RunStatus.CANCELLED,
    WorkflowInterrupted: RunStatus.INTERRUPTED,
    WorkflowContinuedAsNew: RunStatus.CONTINUED_AS_NEW,
}


def _recoveries(record: RunRecord | None) -> int:
    # Most records have none, and most events are steps: look before decoding.
    return record.detail.recoveries if record is not None and b'"recoveries"' in record.rest else 0


def _unstarted(record: RunRecord | None, detail: dict[str, Any]) -> bool:
    return "started_at" not in detail and (record is None or record.detail.started_at is None)


def _apply_started(fields: dict[str, Any], detail: dict[str, Any], data: WorkflowStarted, at: int) -> None:
    fields["status"] = RunStatus.PENDING if data.owner is None else RunStatus.RUNNING
    fields["workflow"] = data.workflow
    fields["queue"] = data.queue
    fields["priority"] = data.priority
    fields["wake_at"] = at if data.wake_at is None else data.wake_at
    fields["parent"] = data.parent
    fields["attributes"] = dict(data.attributes)
    detail["max_recoveries"] = data.max_recoveries
    detail["idempotency_key"] = data.idempotency_key
    detail["workflow_version"] = data.workflow_version
    detail["depth"] = data.depth
    detail["tags"] = data.tags
    detail["continued_from"] = data.continued_from
    detail["concurrency_key"] = data.concurrency_key
    if data.carried is not None and data.carried.children:
        detail["children"] = True
    if data.carried is not None and data.carried.context is not None:
        detail["context_at"] = fields["head"]
    if data.carried is not None and data.carried.hooks:
        detail["hooks"] = True
    if data.owner is not None:
        detail["owner"] = data.owner
        detail["started_at"] = at


def record_bytes(record: RunRecord) -> int:
    """Size of the record, encoded, in bytes."""
    return len(msgspec.json.encode(record))


def check_record(record: RunRecord, *, growth: int = 0) -> None:
    """Refuse a record that is too large to be stored beside every append.

    Args:
        record: the record.
        growth: bytes to leave free; a run that was accepted must be able to go on, be
            cancelled and end.

    Raises:
        LimitExceeded: attributes over 512 bytes, or the whole over 2 kB.
        UnserializableValueError: a part of it cannot be encoded: a lone surrogate, or no text.
    """
    try:
        attributes = len(msgspec.json.encode(record.attributes)) if record.attributes else 0
        size = record_bytes(record)
    except (TypeError, ValueError) as error:
        raise UnserializableValueError(
            f"run {record.run_id!r}: its record cannot be encoded: {error}"
        ) from error
    if attributes > MAX_ATTRIBUTE_BYTES:
        raise LimitExceeded(
            f"run {record.run_id!r}: its attributes take {attributes} bytes; at most "
            f"{MAX_ATTRIBUTE_BYTES} fit. Keep large values in the workflow's arguments."
        )
    most = MAX_RECORD_BYTES - growth
    if size > most:
        raise LimitExceeded(
            f"run {record.run_id!r}: its record takes {size} bytes; at most {most} fit. "
            "Shorten tags, attributes, the workflow's name or the idempotency key."
        )


def copy_record(record: RunRecord) -> RunRecord:
    """The record with attributes of its own: they are a dictionary, which anybody could change.

    For backends that keep records as objects. What is decoded anew needs no copy.
    """
    if not record.attributes:
        return record
    return msgspec.structs.replace(record, attributes=dict(record.attributes))


def decode_record(data: bytes) -> RunRecord:
    """Decode what `encode_record` wrote.

    Raises:
        MalformedValueError: it is something else.
    """
    try:
        return _decode_record(data)
    except msgspec.MsgspecError as error:
        raise MalformedValueError(f"run record {data[:80]!r}… is not readable: {error}") from error


_decode_record = msgspec.json.Decoder(RunRecord).decode
encode_record = msgspec.json.Encoder().encode
