"""What workflow code writes down: patches it took, the context of its steps, its published state."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..carried import NO_RAW
from .base import EventType, Payload


class PatchApplied(Payload, frozen=True, gc=False, omit_defaults=True):
    """The code came to a change that it knows by this name, and took the new way.

    Attributes:
        patch: the name that was given to `patched`.
    """

    TYPE: ClassVar[EventType] = EventType.PATCH_APPLIED

    patch: str


class StepContextSet(Payload, frozen=True, gc=False, omit_defaults=True):
    """The context of the run's steps was set. It holds for steps that begin behind it.

    Attributes:
        context: module and name of the class, for people.
        value: the encoded fields, as a mapping.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_CONTEXT_SET

    context: str
    value: Raw = NO_RAW


class StatePublished(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow said where it stands, for whoever asks. The last one counts. `value` is encoded."""

    TYPE: ClassVar[EventType] = EventType.STATE_PUBLISHED

    value: Raw = NO_RAW
