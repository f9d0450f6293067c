"""What a `NonDeterminismError` says: what the history has, what the code asked, and where."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..errors import HistoryVersionError, NonDeterminismError
from ..events import Envelope, UnknownPayload
from ..payloads import (
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    HookCreated,
    Payload,
    SleepStarted,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepRetrying,
    StepStarted,
    TimerFired,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowInterrupted,
)

if TYPE_CHECKING:
    from .calls import Call
    from .machine import Machine

_ADVICE = (
    "A workflow must make the same calls, in the same order, in every replay. Take chance and the time "
    "from random(), uuid4() and now(), files and the network from @step functions; to change the code of "
    "runs that are under way, ask patched(…), or give the new code another version."
)
_WHAT = {
    "step": "the call itself",
    "order": "the order of the calls",
    "arguments": "only the arguments",
    "missing": "the code does not make this call any more",
}


def describe_payload(payload: Any) -> str:
    """An event of the history, for people."""
    at = f" (called at {payload.at})" if getattr(payload, "at", "") else ""
    match payload:
        case StepStarted():
            args = bytes(payload.args).decode(errors="replace")
            return f"step {payload.step!r} #{payload.ordinal} with {args[:200]}{at}"
        case SleepStarted():
            length = (
                f"until {payload.wake_at}" if payload.duration is None else f"of {payload.duration / 1e6:g} s"
            )
            return f"sleep {payload.sleep!r} #{payload.ordinal} {length}{at}"
        case HookCreated():
            return f"hook {payload.hook!r} #{payload.ordinal}{at}"
        case ChildWorkflowStarted():
            args = bytes(payload.start.args).decode(errors="replace")
            return f"child {payload.child!r} #{payload.ordinal} with {args[:200]}{at}"
        case ChildWorkflowReleased():
            return (
                f"{'cancelling' if payload.stop else 'giving up'} of child {payload.child!r} {payload.run_id}"
            )
        case StepCompleted() | StepFailed() | StepRetrying() | StepCancelled():
            return f"{payload.TYPE} of step {payload.step!r} #{payload.ordinal}"
        case TimerFired():
            return f"timer #{payload.timer} due at {payload.due}"
    fields = {name: getattr(payload, name) for name in payload.__struct_fields__}
    return f"{payload.TYPE} {fields}"


def _error(machine: Machine, kind: str, expected: str, actual: str) -> NonDeterminismError:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    recorded = machine.started.python if machine.started is not None else ""
    versions = (
        f" The history was recorded on Python {recorded} and this is {here}; asyncio schedules some things "
        "differently between versions."
        if recorded and recorded != here
        else ""
    )
    return NonDeterminismError(
        f"run {machine.run_id!r}: the workflow's code and its history disagree at event {machine.sequence}.\n"
        f"  the history has: {expected}\n"
        f"  the code asks:   {actual}\n"
        f"What changed: {_WHAT[kind]}.{versions} {_ADVICE}",
        run_id=machine.run_id,
        sequence=machine.sequence,
        kind=kind,
        expected=expected,
        actual=actual,
    )


def command_missing(machine: Machine, payload: Payload) -> NonDeterminismError:
    """The history has a command, and the code asks for nothing more."""
    nothing = "nothing more" if machine.outcome is None else "nothing more: the function has returned"
    return _error(machine, "missing", describe_payload(payload), nothing)


def command_mismatch(machine: Machine, payload: Payload, reason: str) -> NonDeterminismError:
    """The history has a command, and the code asks for another one."""
    call, given_up = machine.pending[0]
    asked = f"to give up {call.describe()}" if given_up else call.describe()
    kind = reason
    if kind == "step":
        asked_later = any(_is(envelope.data, call) for envelope in machine.later())
        expected_later = any(not c.mismatch(payload) for c, gone in list(machine.pending)[1:] if not gone)
        if asked_later or expected_later:
            kind = "order"
    return _error(machine, kind, describe_payload(payload), asked)


def _is(payload: Any, call: Call) -> bool:
    return type(payload) is type(call.started()) and not call.mismatch(payload)


def not_waiting(machine: Machine, payload: Payload, instead: str = "") -> NonDeterminismError:
    """The history answers something that the code does not wait for."""
    waits = instead or ", ".join(machine.waiting()[:10]) or "nothing"
    return _error(
        machine, "arguments" if instead else "missing", describe_payload(payload), f"waits for {waits}"
    )


def check_end(machine: Machine, payload: Payload) -> None:
    """Refuse an end that the history has while the code goes on.

    Interrupted, stalled, or cancelled before any of its code ran: that needs no outcome.
    """
    stalled = isinstance(payload, WorkflowFailed) and not machine.pending and not machine.waiting()
    never_ran = isinstance(payload, WorkflowCancelled) and machine.owner is None
    if machine.outcome is None and not (stalled or never_ran or isinstance(payload, WorkflowInterrupted)):
        raise _still_running(machine, payload)


def _still_running(machine: Machine, payload: Payload) -> NonDeterminismError:
    """The history says that the run ended, and the code goes on."""
    asked = (
        machine.pending[0][0].describe() if machine.pending else f"waits for {machine.waiting() or 'nothing'}"
    )
    return _error(machine, "step", describe_payload(payload), asked)


def on_unknown(machine: Machine, envelope: Envelope[UnknownPayload]) -> None:
    """An event of a type that this version does not know: an application's own, or a newer version's.

    Raises:
        HistoryVersionError: the latter.
    """
    if "." not in envelope.data.type:
        raise HistoryVersionError(
            f"run {machine.run_id!r}: event {machine.sequence} is a {envelope.data.type!r} of version "
            f"{envelope.version}, written by a newer pyworkflow-core than this one; upgrade to replay it"
        )
