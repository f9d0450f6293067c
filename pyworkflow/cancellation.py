"""Asking, in steps and in workflows, whether somebody wants this to stop."""

from __future__ import annotations

from pyworkflow_core.errors import CancellationError
from pyworkflow_core.replay import current_machine

from .engine.attempt import current_attempt


def is_cancelled() -> bool:
    """Whether what runs here should stop.

    In a step, also in a ``def`` step in its thread: whether nobody wants this attempt any more.
    The run was asked to stop, the workflow stopped waiting, the attempt's timeout has passed, or
    the process is being shut down. In a workflow: whether the run was asked to stop, even while
    `shield` keeps the request back. Elsewhere: false.
    """
    machine = current_machine.get()
    if machine is not None:
        return machine.cancel_requested
    attempt = current_attempt.get()
    return attempt is not None and attempt.stopped


def check_cancellation() -> None:
    """Raise `CancellationError` if what runs here should stop; see `is_cancelled`.

    A ``def`` step calls it from time to time, because nothing else can stop its thread. In a
    workflow it raises a request that `shield` keeps back; a request is raised once only.

    Raises:
        CancellationError: with the reason that was given, or with why the step is not wanted.
    """
    machine = current_machine.get()
    if machine is not None:
        machine.raise_request()
        return
    attempt = current_attempt.get()
    if attempt is not None and attempt.stopped:
        raise CancellationError(attempt.stop_reason)
