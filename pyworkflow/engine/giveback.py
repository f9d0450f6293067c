"""What becomes of a run whose replay failed: it is left suspended, so that mended code can go on."""

from __future__ import annotations

from typing import Any

from pyworkflow_core.events import Envelope
from pyworkflow_core.payloads import (
    CancellationRequested,
    Payload,
    RunRecovered,
    WorkflowCancelled,
    WorkflowResumed,
    WorkflowSuspended,
)

from .engine import SECOND

REPLAY_FAILED = "replay failed: "
_LONGEST = 3600 * SECOND


def giving_back(history: list[Envelope[Any]], error: Exception, at: int, pause: int) -> Payload:
    """The event that gives a run back whose code no longer fits its history.

    The pause doubles with each failure in a row, up to an hour, so that the log of a run that
    nobody mends hardly grows. A run that was asked to stop is ended here, without the clean-up
    that its code would do: otherwise nothing could ever end it.

    Args:
        history: the run's log.
        error: why the replay failed.
        at: the time.
        pause: microseconds until the first look again; 0 to stay due.
    """
    why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
    for envelope in history:
        if envelope.data.__class__ is CancellationRequested:
            reason = envelope.data.reason or "cancelled"
            return WorkflowCancelled(f"{reason} (ended without clean-up; {REPLAY_FAILED}{why})")
    wake = at + min(pause << min(failures_in_a_row(history), 20), _LONGEST)
    return WorkflowSuspended(wake, (), REPLAY_FAILED + why)


def failures_in_a_row(history: list[Envelope[Any]]) -> int:
    """How often the run was given back since it last did anything else."""
    count = 0
    for envelope in reversed(history):
        data = envelope.data
        if isinstance(data, WorkflowSuspended) and data.reason.startswith(REPLAY_FAILED):
            count += 1
        elif not isinstance(data, (WorkflowResumed, RunRecovered)):
            break
    return count
