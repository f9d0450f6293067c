"""What a step records while it runs."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..carried import NO_RAW
from .base import EventType, Payload


class StepHeartbeat(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step said that it makes progress. Not every heartbeat is recorded.

    Attributes:
        step: the step's name.
        ordinal: the how-manieth call of that name.
        details: the encoded details, which the next attempt can read.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_HEARTBEAT

    step: str
    ordinal: int = 1
    details: Raw = NO_RAW


class StepCheckpointSaved(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step saved how far it has come, for its next attempt.

    Attributes:
        step: the step's name.
        ordinal: the how-manieth call of that name.
        name: what the step calls the checkpoint.
        value: the encoded value.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_CHECKPOINT_SAVED

    step: str
    ordinal: int = 1
    name: str = ""
    value: Raw = NO_RAW


class StepCheckpointDeleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step deleted a checkpoint.

    Attributes:
        step: the step's name.
        ordinal: the how-manieth call of that name.
        name: what the step calls the checkpoint.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_CHECKPOINT_DELETED

    step: str
    ordinal: int = 1
    name: str = ""
