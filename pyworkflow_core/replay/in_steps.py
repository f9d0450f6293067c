"""What the log says of a run's steps beside their beginnings and ends: progress, checkpoints, hooks.

The workflow's code sees nothing of it, and none of it is a command: it is for the step's next
attempt. It is forgotten when the step has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from ..carried import NO_RAW
from ..events import Envelope
from ..payloads import (
    HookCreated,
    HookExpired,
    HookReceived,
    StepCheckpointDeleted,
    StepCheckpointSaved,
    StepHeartbeat,
)

if TYPE_CHECKING:
    from .machine import Machine

Key = tuple[str, int]


class StepHook:
    """A hook that a step waits for.

    Attributes:
        created: how it was created.
        ended: the answer, or the end of its time; None while it is open.
    """

    __slots__ = ("created", "ended")

    def __init__(self, created: HookCreated) -> None:
        self.created = created
        self.ended: HookReceived | HookExpired | None = None


class StepNotes:
    """What a step recorded.

    Attributes:
        details: details of its last heartbeat; empty if there was none.
        checkpoints: encoded values, by name.
        hooks: its hooks, by name and ordinal.
    """

    __slots__ = ("checkpoints", "details", "hooks")

    def __init__(self) -> None:
        self.details: Raw = NO_RAW
        self.checkpoints: dict[str, Raw] = {}
        self.hooks: dict[Key, StepHook] = {}


def step_text(step: str, ordinal: int) -> str:
    """A step of a run, as events and people name it."""
    return f"{step}#{ordinal}"


def _key(text: str) -> Key:
    step, _, ordinal = text.rpartition("#")
    return step, int(ordinal) if ordinal.isdecimal() else 0


def notes_of(machine: Machine, key: Key) -> StepNotes | None:
    """The notes of a step that has not ended; None if there is no such step."""
    if key not in machine.steps:
        return None
    notes = machine.in_steps.get(key)
    if notes is None:
        for gone in [old for old in machine.in_steps if old not in machine.steps]:
            del machine.in_steps[gone]
        notes = machine.in_steps[key] = StepNotes()
    return notes


def on_heartbeat(machine: Machine, envelope: Envelope[StepHeartbeat]) -> None:
    """A step said that it makes progress."""
    notes = notes_of(machine, (envelope.data.step, envelope.data.ordinal))
    if notes is not None:
        notes.details = envelope.data.details


def on_checkpoint_saved(machine: Machine, envelope: Envelope[StepCheckpointSaved]) -> None:
    """A step saved how far it has come."""
    notes = notes_of(machine, (envelope.data.step, envelope.data.ordinal))
    if notes is not None:
        notes.checkpoints[envelope.data.name] = envelope.data.value


def on_checkpoint_deleted(machine: Machine, envelope: Envelope[StepCheckpointDeleted]) -> None:
    """A step deleted a checkpoint."""
    notes = notes_of(machine, (envelope.data.step, envelope.data.ordinal))
    if notes is not None:
        notes.checkpoints.pop(envelope.data.name, None)


def on_hook_created(machine: Machine, envelope: Envelope[HookCreated]) -> None:
    """A hook was created: by the code, or by one of its steps."""
    payload = envelope.data
    if not payload.step:
        machine.on_command(envelope)
        return
    notes = notes_of(machine, _key(payload.step))
    if notes is not None:
        notes.hooks.setdefault((payload.hook, payload.ordinal), StepHook(payload))


def on_step_hook_ended(machine: Machine, payload: HookReceived | HookExpired) -> None:
    """A hook of a step was answered, or its time is over; what comes first counts."""
    notes = notes_of(machine, _key(payload.step))
    found = notes.hooks.get((payload.hook, payload.ordinal)) if notes is not None else None
    if found is not None and found.ended is None:
        found.ended = payload
