"""What happens to a step."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..carried import NO_RAW
from .base import EventType, Payload


class StepStarted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step begins to execute, once this event is durable.

    Attributes:
        step: the step's registered name.
        ordinal: the how-manieth call of that name in the run, from 1.
        args: fingerprint of the arguments: their encoding, or its digest where that is long.
        attempt: 1 for the first execution; retries and recoveries count on.
        at: module and line of the call.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_STARTED

    step: str
    ordinal: int = 1
    args: Raw = NO_RAW
    attempt: int = 1
    at: str = ""


class StepCompleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step returned.

    Attributes:
        step: the step.
        ordinal: the how-manieth call of that step.
        result: the encoded value.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_COMPLETED

    step: str
    ordinal: int = 1
    result: Raw = NO_RAW


class StepFailed(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step failed for good; the workflow gets `error`.

    Attributes:
        step: the step.
        ordinal: the how-manieth call of that step.
        error: the encoded exception.
        attempt: the attempt that failed last.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_FAILED

    step: str
    ordinal: int = 1
    error: Raw = NO_RAW
    attempt: int = 1


class StepRetrying(Payload, frozen=True, gc=False, omit_defaults=True):
    """A step failed and is tried again at `retry_at`.

    Attributes:
        step: the step.
        ordinal: the how-manieth call of that step.
        error: the encoded exception.
        attempt: the attempt that failed.
        failures: failures so far; attempts lost to a crash are not among them.
        retry_at: when the next attempt is due.
        details: details of the last heartbeat, if they are not in an event of their own.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_RETRYING

    step: str
    ordinal: int = 1
    error: Raw = NO_RAW
    attempt: int = 1
    failures: int = 1
    retry_at: int = 0
    details: Raw = NO_RAW


class StepCancelled(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow no longer waits for the step: a timeout, a lost race, a cancellation.

    Attributes:
        step: the step.
        ordinal: the how-manieth call of that step.
    """

    TYPE: ClassVar[EventType] = EventType.STEP_CANCELLED

    step: str
    ordinal: int = 1
