"""What a schedule notes in its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..events import Envelope
from ..payloads import ScheduleChanged
from .notes import NoteCall

if TYPE_CHECKING:
    from .machine import Machine


class ScheduleNote(NoteCall):
    """Where a schedule stands, for whoever looks at it from outside.

    The code goes on from what it knows and not from this event. So a later version may work out
    more than an old log holds, and still replay it.
    """

    __slots__ = ()

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command: only that it is another one."""
        return "" if payload.__class__ is ScheduleChanged else "step"


def on_schedule_changed(machine: Machine, envelope: Envelope[ScheduleChanged]) -> None:
    """The schedule's code noted where it stands."""
    machine.on_command(envelope)
