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
    WorkflowSuspended,
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
    size = value_bytes(payload)
    if limit is None or size + _OVERHEAD <= limit:
        return payload, error
    what = "result" if error is None else f"{type(error).__qualname__}"
    return _ending_of(machine, definition, codec, instead=_too_large(machine, what, size, limit))


def check_result(
    machine: Machine, definition: WorkflowDefinition[Any, Any], codec: Codec, value: Any
) -> None:
    """Refuse, while the code can still react, an end that would make the run a failed one.

    Raises:
        StepNotAwaitedError: a call was never awaited.
        UnserializableValueError: the result cannot be written to the log.
        LimitExceeded: the storage does not take it.
    """
    if machine.unawaited:
        raise _not_awaited(machine)
    size, limit = len(_encoded(definition, codec, value)), machine.event_bytes
    if limit is not None and size + _OVERHEAD > limit:
        raise _too_large(machine, "result", size, limit)


def _encoded(definition: WorkflowDefinition[Any, Any], codec: Codec, value: Any) -> Raw:
    try:
        return Raw(codec.encode(value, where="result", reach=definition.reach))
    except UnserializableValueError as unwritable:
        what = f"workflow {definition.name!r}: {unwritable}"
        raise UnserializableValueError(what, path=unwritable.path) from unwritable


def _not_awaited(machine: Machine) -> StepNotAwaitedError:
    calls = ", ".join(call.describe() for call in list(machine.unawaited.values())[:3])
    return StepNotAwaitedError(
        f"run {machine.run_id!r}: the workflow ended with a call that was never awaited: {calls}. "
        "Write 'await' in front of it."
    )


def _too_large(machine: Machine, what: str, size: int, limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"run {machine.run_id!r}: the record of its {what} takes {size} bytes; the storage takes {limit} an "
        "event. Store the value elsewhere and return a reference."
    )


def value_bytes(payload: Payload) -> int:
    """Bytes of the values that a payload carries."""
    cls = payload.__class__
    names = _VALUES.get(cls)
    if names is None:
        names = _VALUES[cls] = tuple(f.name for f in msgspec.structs.fields(cls) if f.type is Raw)
    if len(names) == 1:  # as most have
        return len(getattr(payload, names[0]))
    if cls in _TAKEN_WHOLE:
        return len(msgspec.json.encode(payload))
    return sum([len(getattr(payload, name)) for name in names])


_VALUES: dict[type[Payload], tuple[str, ...]] = {}
_TAKEN_WHOLE: set[type[Payload]] = {ChildWorkflowStarted, WorkflowContinuedAsNew, WorkflowSuspended}


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
        error = _not_awaited(machine)
    elif asked is not None:
        return continued(machine, asked), None
    if error is None:
        try:
            return WorkflowCompleted(_encoded(definition, codec, outcome.value)), None
        except UnserializableValueError as unwritable:
            error = unwritable
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
