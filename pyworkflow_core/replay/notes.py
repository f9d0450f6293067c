"""Commands that need no answer: what the code wants in the log, and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from ..payloads import Payload
from .calls import Call, Site

if TYPE_CHECKING:
    from .machine import Machine


class NoteCall(Call):
    """An event that the code wants in the log.

    Args:
        machine: the machine whose code runs.
        payload: the event's payload. It must follow from the run alone.
        site: where the code called.
    """

    __slots__ = ("payload", "weight")

    KIND = "note"
    is_done_at_once = True

    def __init__(self, machine: Machine, payload: Payload, site: Site | None = None) -> None:
        super().__init__(machine, str(payload.TYPE), 1, site)
        self.payload = payload
        values = (getattr(payload, name) for name in payload.__struct_fields__)
        self.weight = sum(len(value) for value in values if isinstance(value, Raw))

    def issue(self) -> None:
        """Become a command, the first time; there is nothing to wait for."""
        if not self.begun:
            super().issue()
            self.answer(None)

    def started(self) -> Payload:
        """The command event's payload."""
        return self.payload

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command."""
        if payload.__class__ is not self.payload.__class__:
            return "step"
        return "" if payload == self.payload else "arguments"


def note(machine: Machine, payload: Payload, site: Site | None = None) -> None:
    """Have an event recorded; it takes effect at once for the code that asks for it."""
    NoteCall(machine, payload, site).issue()
