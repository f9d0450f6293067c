"""Whether the code that runs now repeats what it did before, as far as the history says.

It cannot be seen from the place in the history alone: behind the last thing that the code did
there may stand answers that nobody had looked at when a process died. What counts is whether
something stands there that only the code can have brought about.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from ..payloads import (
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    HookCreated,
    HookDisposed,
    PatchApplied,
    ScheduleChanged,
    SignalSent,
    SleepCancelled,
    SleepStarted,
    StatePublished,
    StepCancelled,
    StepContextSet,
    StepStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowSuspended,
)

if TYPE_CHECKING:
    from .machine import Machine

_BY_CODE: set[type[Any]] = {
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    HookCreated,
    HookDisposed,
    ScheduleChanged,
    SignalSent,
    SleepCancelled,
    SleepStarted,
    StatePublished,
    StepCancelled,
    StepContextSet,
    StepStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
}
"""What is in a log because the code asked for it; `patch_applied` aside, which is looked for by name."""

_BY_STEPS_TOO: set[type[Any]] = {ChildWorkflowStarted, HookCreated}


class Past:
    """The history that is being fed, as far as questions about the code's further way need it.

    It is looked through once for each feeding in which somebody asks, and never where nobody does.
    """

    __slots__ = ("_asked", "_done", "_machine", "_patches", "_rested")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._asked = (0, 0)
        self._done: list[int] = []
        self._patches: dict[str, int] = {}
        self._rested = 0

    def _look(self) -> None:
        machine = self._machine
        asked = (machine.sequence - machine.pos, machine.end)
        if asked == self._asked:
            return
        self._asked = asked
        self._done, self._patches, self._rested = [], {}, 0
        for index, envelope in enumerate(machine.history):
            payload = envelope.data
            if payload.__class__ in _BY_CODE:
                again = payload.__class__ is StepStarted and payload.attempt > 1
                by_step = payload.__class__ in _BY_STEPS_TOO and payload.step
                if not again and not by_step:
                    self._done.append(index)
            elif payload.__class__ is PatchApplied:
                self._patches.setdefault(payload.patch, index)
            elif payload.__class__ is WorkflowSuspended and not payload.reason:
                self._rested = index + 1  # whoever suspended it had run the code up to here

    def has_patch(self, patch: str) -> bool:
        """Whether the history has this patch further on."""
        self._look()
        return self._patches.get(patch, -1) >= self._machine.pos

    def has_gone_on(self) -> bool:
        """Whether the history has something that the code did behind the place where it is now."""
        self._look()
        machine = self._machine
        further = len(self._done) - bisect_left(self._done, machine.pos)
        if further > len(machine.pending):
            return True
        known = machine.notebook.patches
        return any(at >= machine.pos and patch not in known for patch, at in self._patches.items())

    def is_repeated(self) -> bool:
        """Whether the code was here before: it has gone on, or the run rested behind this place."""
        self._look()
        return self._rested > self._machine.pos or self.has_gone_on()
