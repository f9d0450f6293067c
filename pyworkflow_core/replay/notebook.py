"""What a run's code writes down, and what it can work out from the log without writing it down."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from ..carried import NO_RAW, CarriedContext
from ..events import Envelope
from ..payloads import PatchApplied, StatePublished, StepContextSet
from .notes import NoteCall, note
from .past import Past

if TYPE_CHECKING:
    from .calls import Site
    from .machine import Machine


class Notebook:
    """The notes of one run.

    Attributes:
        patches: what was answered to the code about each patch; the first answer holds.
        context: the class's name and the encoded fields of the step context; None before it is set.
        state: the encoded state that was published last; empty before.
        queries: functions that answer questions about the run, by name.
        quiet: whether the run is only looked at, so that its code must not be heard.
        answering: whether one of `queries` runs now; it must change nothing.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._past = Past(machine)
        self._rng: random.Random | None = None
        self._uuids = 0
        self.patches: dict[str, bool] = {}
        self.context: CarriedContext | None = None
        self.state: Raw = NO_RAW
        self.queries: dict[str, Callable[..., Any]] = {}
        self.quiet = False
        self.answering = False

    # ---- what follows from the run alone -------------------------------------------

    def _digest(self, *parts: str) -> bytes:
        machine = self._machine
        text = "\0".join((machine.run_id, machine.incarnation, *parts))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    @property
    def rng(self) -> random.Random:
        """The run's source of chance. In a replay it gives the same numbers in the same order."""
        if self._rng is None:
            self._rng = random.Random(int.from_bytes(self._digest("random"), "big"))
        return self._rng

    def next_uuid(self) -> uuid.UUID:
        """The next of the run's UUIDs. Their order is all that they have to do with each other."""
        self._uuids += 1
        return uuid.UUID(bytes=self._digest("uuid", str(self._uuids)), version=4)

    # ---- what follows from the history ---------------------------------------------

    @property
    def is_silent(self) -> bool:
        """Whether what the code says now was said before."""
        return self.quiet or self._past.is_repeated()

    def patched(self, patch: str, site: Site | None = None) -> bool:
        """Whether the code takes the new way here: unless the run went past here on the old one."""
        known = self.patches.get(patch)
        if known is not None:
            return known
        if self._past.has_patch(patch):
            answer = True
        elif self._past.has_gone_on():
            answer = False
        else:
            answer = True
            note(self._machine, PatchApplied(patch), site)
        self.patches[patch] = answer
        return answer

    # ---- what is written down ------------------------------------------------------

    def set_context(self, context: str, value: Raw, site: Site | None = None) -> None:
        """The context for steps that begin from here on. What it is already is not written again."""
        new = CarriedContext(context, value)
        if new != self.context:
            note(self._machine, StepContextSet(context, value), site)
            self.context = new

    def publish(self, value: Raw, site: Site | None = None) -> None:
        """Say where the run stands. What was said last is not written again."""
        if value != self.state:
            note(self._machine, StatePublished(value), site)
            self.state = value


def on_patch_applied(machine: Machine, envelope: Envelope[PatchApplied]) -> None:
    """The history has a patch. The code may ask for it elsewhere by now, or no longer."""
    for entry in machine.pending:
        call = entry[0]
        if isinstance(call, NoteCall) and call.payload == envelope.data:
            machine.pending.remove(entry)
            call.recorded = True
            return


def on_note(machine: Machine, envelope: Envelope[Any]) -> None:
    """Something that the code wants in the log: it must ask for it next."""
    machine.on_command(envelope)
