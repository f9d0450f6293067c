"""What happens to a queue with limits, and to a deduplication id: logs of their own, beside the runs'."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from .base import EventType, Payload


class Slot(Struct, frozen=True, gc=False, omit_defaults=True):
    """A place among the runs of a queue that may be driven at once.

    Attributes:
        run_id: the run that has it.
        number: tells it from every other slot that the queue gave, also to the same run.
        at: when it was given, in microseconds.
        key: the run's concurrency key; empty if it has none.
    """

    run_id: str
    number: int
    at: int = 0
    key: str = ""


class QueueOpened(Payload, frozen=True, gc=False, omit_defaults=True):
    """A part of a queue's log begins with what the part before it ended with.

    Attributes:
        queue: the queue.
        part: the how-manieth part, from 1; 0 in the log that only counts the parts.
        slots: the slots that runs have.
        count: slots given so far, in all parts.
        begun: how many runs began when, as far as the queue's rate limit still counts them.
    """

    TYPE: ClassVar[EventType] = EventType.QUEUE_OPENED

    queue: str
    part: int = 0
    slots: tuple[Slot, ...] = ()
    count: int = 0
    begun: tuple[tuple[int, int], ...] = ()


class SlotsChanged(Payload, frozen=True, gc=False, omit_defaults=True):
    """Runs got slots of a queue, or gave them back. One that gets a second slot gives up its first.

    Attributes:
        given: the new slots.
        returned: numbers of slots that nobody has any more.
        begun: how many of the runs that got one had not begun before.
        last: whether the queue's log goes on in its next part.
    """

    TYPE: ClassVar[EventType] = EventType.SLOTS_CHANGED

    given: tuple[Slot, ...] = ()
    returned: tuple[int, ...] = ()
    begun: int = 0
    last: bool = False


class DeduplicationIdTaken(Payload, frozen=True, gc=False, omit_defaults=True):
    """A deduplication id goes on to another run, since the one that had it has ended.

    Attributes:
        deduplication_id: the id.
        queue: the queue in which it is taken.
        run_id: that run, which may not have been created yet.
    """

    TYPE: ClassVar[EventType] = EventType.DEDUPLICATION_ID_TAKEN

    deduplication_id: str
    queue: str
    run_id: str
