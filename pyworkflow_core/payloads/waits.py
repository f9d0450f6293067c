"""What a run waits for: sleeps, timers, answers from outside."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..carried import NO_RAW
from .base import EventType, Payload


class SleepStarted(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow sleeps until `wake_at`.

    Attributes:
        sleep: the sleep's name.
        ordinal: the how-manieth sleep of that name, from 1.
        duration: microseconds asked for; None where a moment was given.
        wake_at: when the sleep ends.
    """

    TYPE: ClassVar[EventType] = EventType.SLEEP_STARTED

    sleep: str
    ordinal: int = 1
    duration: int | None = None
    wake_at: int = 0
    at: str = ""


class SleepCompleted(Payload, frozen=True, gc=False, omit_defaults=True):
    """A sleep ended.

    Attributes:
        sleep: the sleep.
        ordinal: the how-manieth sleep of that name.
    """

    TYPE: ClassVar[EventType] = EventType.SLEEP_COMPLETED

    sleep: str
    ordinal: int = 1


class SleepCancelled(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow no longer waits for the sleep.

    Attributes:
        sleep: the sleep.
        ordinal: the how-manieth sleep of that name.
    """

    TYPE: ClassVar[EventType] = EventType.SLEEP_CANCELLED

    sleep: str
    ordinal: int = 1


class TimerFired(Payload, frozen=True, gc=False, omit_defaults=True):
    """A timer of asyncio's fired: ``asyncio.sleep``, ``timeout`` or ``wait_for``.

    Such a timer needs no event to begin: its due time follows from the workflow's own clock.

    Attributes:
        timer: the how-manieth timer of the run, from 1.
        due: when it was due.
    """

    TYPE: ClassVar[EventType] = EventType.TIMER_FIRED

    timer: int
    due: int = 0


class HookCreated(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow waits for an answer from outside.

    Attributes:
        hook: the hook's name.
        ordinal: the how-manieth hook of that name, from 1.
        token: the secret that lets somebody answer; a token that the code chose has ``=`` in front.
        expires_at: when the hook's timeout fires; None for never.
        schema: name of the payload's type.
        step: the step that waits, as ``name#ordinal``; empty for the workflow itself.
    """

    TYPE: ClassVar[EventType] = EventType.HOOK_CREATED

    hook: str
    ordinal: int = 1
    token: str = ""
    expires_at: int | None = None
    schema: str = ""
    at: str = ""
    step: str = ""


class HookReceived(Payload, frozen=True, gc=False, omit_defaults=True):
    """Somebody answered a hook.

    Attributes:
        hook: the hook.
        ordinal: the how-manieth hook of that name.
        payload: the encoded answer.
        step: the step that waits, if one does.
    """

    TYPE: ClassVar[EventType] = EventType.HOOK_RECEIVED

    hook: str
    ordinal: int = 1
    payload: Raw = NO_RAW
    step: str = ""


class HookExpired(Payload, frozen=True, gc=False, omit_defaults=True):
    """The hook's timeout fired before an answer came.

    Attributes:
        hook: the hook.
        ordinal: the how-manieth hook of that name.
        step: the step that waited, if one did.
    """

    TYPE: ClassVar[EventType] = EventType.HOOK_EXPIRED

    hook: str
    ordinal: int = 1
    step: str = ""


class HookDisposed(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow no longer waits for the hook; a later answer is refused.

    Attributes:
        hook: the hook.
        ordinal: the how-manieth hook of that name.
    """

    TYPE: ClassVar[EventType] = EventType.HOOK_DISPOSED

    hook: str
    ordinal: int = 1
