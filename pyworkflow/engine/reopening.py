"""Where a run that has ended can go on: found in its log alone, without its code.

A run goes on from the failure that ended it. That failure is looked for among what the run was
told since it last issued a command; several steps that failed side by side are all retried. If
there is none, the last failure with the very error of the run is taken: then code ran after it,
perhaps to clean up, and what it did would be forgotten. If there is none either, the workflow's
own code failed, and a replay up to the end shows whether today's code goes on.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from pyworkflow_core.events import Envelope, UnknownPayload
from pyworkflow_core.payloads import (
    CancellationRequested,
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    DeliveriesMade,
    HookCreated,
    HookDisposed,
    HookExpired,
    HookReceived,
    HookRefused,
    RunRecovered,
    RunReopened,
    SignalReceived,
    SleepCancelled,
    SleepCompleted,
    StatePublished,
    StepCancelled,
    StepCheckpointDeleted,
    StepCheckpointSaved,
    StepCompleted,
    StepContextSet,
    StepFailed,
    StepHeartbeat,
    StepRetrying,
    StepStarted,
    TimerFired,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowSuspended,
)
from pyworkflow_core.replay import NoLongerCounts, in_force

from .history import open_children, open_steps
from .hooklog import hooks_of
from .tokens import is_own

ENDS = (WorkflowFailed, WorkflowCancelled, WorkflowInterrupted)
"""The ends that can be taken back."""

_FAILURES: set[type[Any]] = {StepFailed, ChildWorkflowFailed, ChildWorkflowCancelled}
_NO_COMMANDS: set[type[Any]] = {
    *_FAILURES,
    CancellationRequested,
    ChildWorkflowCompleted,
    ChildWorkflowReleased,
    DeliveriesMade,
    HookDisposed,
    HookExpired,
    HookReceived,
    HookRefused,
    NoLongerCounts,
    RunRecovered,
    RunReopened,
    SignalReceived,
    SleepCancelled,
    SleepCompleted,
    StepCancelled,
    StepCheckpointDeleted,
    StepCheckpointSaved,
    StepCompleted,
    StepHeartbeat,
    StepRetrying,
    TimerFired,
    UnknownPayload,
    WorkflowResumed,
    WorkflowSuspended,
}
"""What code is told, and what it gives up; anything else is taken for a command of the code."""

_LIMITS = {"max_duration": "WorkflowTimeoutError", "history_limit": "HistoryLimitError"}
Error = tuple[str, str]


class Plan(Struct, frozen=True):
    """How a run goes on.

    Attributes:
        reopened: the event to append; who asks fills in the rest of it.
        retried: steps and children that begin a new attempt, as people know them.
        forgotten: steps and children that completed after the failure, and would not count any more.
        children: run ids of the children that the run waits for then.
        over_the_limit: whether the length of its log ended the run.
    """

    reopened: RunReopened
    retried: tuple[str, ...]
    forgotten: tuple[str, ...]
    children: tuple[str, ...]
    over_the_limit: bool = False


def plan_of(history: list[Envelope[Any]], now: int) -> Plan:
    """How the run with this log goes on.

    Args:
        history: the whole log, as far as it counts, of a run that failed, was cancelled or interrupted.
        now: the time.
    """
    end = max(i for i, e in enumerate(history) if isinstance(e.data, ENDS))
    first, limit = _place(history, end)
    deadline = history[0].data.deadline
    before = history[:first]
    reopened = RunReopened(
        first + 1,
        cancel_requested=any(e.data.__class__ is CancellationRequested for e in before),
        deadline=None if deadline is None else now + deadline - history[0].at,
        context_at=_last(before, StepContextSet),
        state_at=_last(before, StatePublished),
    )
    after = in_force([*history, Envelope(1, now, reopened)])
    children = tuple(open_children(after))
    tokens = [s for s in hooks_of(after).values() if s.status == "open" and is_own(s.created.token)]
    reopened = msgspec.structs.replace(reopened, owes=bool(children or tokens))
    struck: list[Any] = [e.data.payload for e in after[first:] if isinstance(e.data, NoLongerCounts)]
    retried = [f"step {s.step}#{s.ordinal}" for s in open_steps(after)]
    retried += [
        f"child {p.run_id}" for p in struck if isinstance(p, (ChildWorkflowFailed, ChildWorkflowCancelled))
    ]
    forgotten = [f"step {p.step}#{p.ordinal}" for p in struck if isinstance(p, StepCompleted)]
    lost = {p.run_id for p in struck if isinstance(p, ChildWorkflowStarted)}
    forgotten += [
        f"child {e.data.run_id}"
        for e in after[first:]
        if isinstance(e.data, ChildWorkflowCompleted) and e.data.run_id in lost
    ]
    return Plan(reopened, tuple(retried), tuple(forgotten), children, limit == "history_limit")


def _place(history: list[Envelope[Any]], end: int) -> tuple[int, str]:
    """Index of the first event that must not count, and which limit ended the run, if one did."""
    payload: Any = history[end].data
    requests = [i for i, e in enumerate(history) if e.data.__class__ is CancellationRequested]
    if isinstance(payload, WorkflowCancelled):
        return (requests[0] if requests else end), ""
    if isinstance(payload, WorkflowInterrupted):
        return end, ""
    errors = _errors_in(payload.error)
    if requests:
        limit = history[requests[0]].data.source
        if _LIMITS.get(limit) in {name.rpartition(".")[2] for name, _ in errors}:
            return requests[0], limit
    return _failure(history, end, errors), ""


def _failure(history: list[Envelope[Any]], end: int, errors: set[Error]) -> int:
    """Index of the failure that ended the run; `end` if that was no step's and no child's."""
    found = None
    for index in range(end - 1, 0, -1):
        data: Any = history[index].data
        if data.__class__ in _FAILURES:
            found = index
        elif _is_command(data):
            break
    if found is not None:
        return found
    for index in range(end - 1, 0, -1):
        data = history[index].data
        if isinstance(data, (StepFailed, ChildWorkflowFailed)) and _error_of(data.error) in errors:
            return index
    return end


def _last(history: list[Envelope[Any]], cls: type[Any]) -> int | None:
    """Sequence number of the last event of a class."""
    return next((i + 1 for i in range(len(history) - 1, -1, -1) if history[i].data.__class__ is cls), None)


def _is_command(data: Any) -> bool:
    if isinstance(data, StepStarted):
        return data.attempt == 1
    if isinstance(data, (ChildWorkflowStarted, HookCreated)):
        return not data.step  # otherwise a step asked for it
    return not isinstance(data, NoLongerCounts) and data.__class__ not in _NO_COMMANDS


def _error_of(error: Raw) -> Error | None:
    record: dict[str, Any] = msgspec.json.decode(error) if len(error) else {}
    return (record["type"], record["message"]) if "message" in record else None


def _errors_in(error: Raw) -> set[Error]:
    """Type and text of a recorded exception, and of those that it holds or follows from."""
    found: set[Error] = set()
    todo: list[Any] = [msgspec.json.decode(error)] if len(error) else []
    while todo:
        record = todo.pop()
        if isinstance(record, dict) and "message" in record:
            found.add((record.get("type", ""), record["message"]))
            todo += [record.get("cause"), record.get("context"), *record.get("members", ())]
    return found
