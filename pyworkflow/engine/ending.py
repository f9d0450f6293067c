"""How a run ends: the terminal event that follows from what its function did."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from pyworkflow_core.codec import Codec
from pyworkflow_core.errors import LimitExceeded, UnserializableValueError
from pyworkflow_core.payloads import (
    ChildWorkflowStarted,
    Payload,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
)
from pyworkflow_core.replay import Machine

from ..definitions import WorkflowDefinition
from ..errors import HistoryLimitError, StepNotAwaitedError, WorkflowStalledError, WorkflowTimeoutError
from .continuing import asked_to_continue, continued

_OVERHEAD = 1024  # what an event's body holds beside the value


def ending_of(
    machine: Machine, definition: WorkflowDefinition[Any, Any], codec: Codec, limit: int | None
) -> tuple[Payload, BaseException | None]:
    """The terminal event for the machine's outcome, and the error that the starter gets.

    Args:
        machine: a machine whose function ended.
        definition: its workflow.
        codec: how values are written.
        limit: bytes that the storage takes an event; None for any number.
    """
    payload, error = _ending_of(machine, definition, codec)
    if limit is None or value_bytes(payload) + _OVERHEAD <= limit:
        return payload, error
    what = "result" if error is None else f"{type(error).__qualname__}"
    too_large = LimitExceeded(
        f"run {machine.run_id!r}: the record of its {what} takes {value_bytes(payload)} bytes; the storage "
        f"takes {limit} an event. Store the value elsewhere and return a reference."
    )
    return _ending_of(machine, definition, codec, instead=too_large)


def value_bytes(payload: Payload) -> int:
    """Bytes of the values that a payload carries."""
    if payload.__class__ in _WITH_A_START:
        return len(msgspec.json.encode(payload))
    return sum(len(getattr(payload, name, b"")) for name in ("args", "result", "error", "value"))


_WITH_A_START: set[type[Payload]] = {ChildWorkflowStarted, WorkflowContinuedAsNew}


def _ending_of(
    machine: Machine,
    definition: WorkflowDefinition[Any, Any],
    codec: Codec,
    *,
    instead: BaseException | None = None,
) -> tuple[Payload, BaseException | None]:
    outcome = machine.outcome
    assert outcome is not None
    error = instead or outcome.error
    asked = asked_to_continue(error)
    if outcome.cancelled and instead is None:
        if machine.cancel_source not in {"max_duration", "history_limit"}:
            return WorkflowCancelled(machine.cancel_reason), None
        error = _over_the_limit(machine, definition)
    elif (error is None or asked is not None) and machine.unawaited:
        calls = ", ".join(call.describe() for call in list(machine.unawaited.values())[:3])
        error = StepNotAwaitedError(
            f"run {machine.run_id!r}: the workflow ended with a call that was never awaited: {calls}. "
            "Write 'await' in front of it."
        )
    elif asked is not None:
        return continued(machine, asked), None
    if error is None:
        try:
            return WorkflowCompleted(
                Raw(codec.encode(outcome.value, where="result", reach=definition.reach))
            ), None
        except UnserializableValueError as unwritable:
            what = f"workflow {definition.name!r}: {unwritable}"
            error = UnserializableValueError(what, path=unwritable.path)
    return WorkflowFailed(Raw(codec.encode_error(error, reach=definition.reach))), error


def _over_the_limit(machine: Machine, definition: WorkflowDefinition[Any, Any]) -> BaseException:
    """The error of a run that was ended by a limit and not by somebody's request."""
    if machine.cancel_source == "max_duration":
        seconds = (definition.max_duration or 0) / 1e6
        return WorkflowTimeoutError(
            f"run {machine.run_id!r} took longer than its max_duration of {seconds:g} s"
        )
    return HistoryLimitError(
        f"run {machine.run_id!r} was ended: {machine.cancel_reason}, which is history_limit. Call "
        "continue_as_new() from time to time: it goes on in a new run with a short log."
    )


def stalled(run_id: str, codec: Codec) -> tuple[Payload, BaseException]:
    """The terminal event of a run that waits for nothing that could come."""
    error = WorkflowStalledError(
        f"run {run_id!r} waits for something that nothing will ever bring: no step, sleep, hook or timer is "
        "under way. An asyncio.Event or Queue that no task of the workflow sets looks like this."
    )
    return WorkflowFailed(Raw(codec.encode_error(error))), error
