"""How a request to stop is raised in the code: as `CancellationError`, where that can pass."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import CancellationError
from .loop import WorkflowLoop

if TYPE_CHECKING:
    from .machine import Machine

_LAST = WorkflowLoop.drain.__code__


def request_to_stop(machine: Machine) -> asyncio.CancelledError:
    """The exception to raise in the code that runs now, for the run's request to stop.

    In the body of a TaskGroup that is asyncio's own class: before Python 3.13 a group takes no
    other for a cancellation, and would make a failure of it.
    """
    if any(_is_body_of(machine, value) for value in _locals()):
        return asyncio.CancelledError(machine.cancel_reason or "cancelled")
    return CancellationError(machine.cancel_reason)


def _is_body_of(machine: Machine, value: object) -> bool:
    return (
        isinstance(value, asyncio.TaskGroup)
        and not value._exiting  # type: ignore[attr-defined] # it says so nowhere else
        and value._parent_task is asyncio.current_task(machine.loop)  # type: ignore[attr-defined]
    )


def _locals() -> Iterator[object]:
    """What the functions hold that await each other in the task that runs now."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code is not _LAST:
        yield from frame.f_locals.values()
        frame = frame.f_back  # type: ignore[assignment]


def is_cancellation(error: BaseException | None) -> bool:
    """Whether it is one, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(each) for each in error.exceptions)
    return isinstance(error, asyncio.CancelledError)
