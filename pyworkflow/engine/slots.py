"""The slots of a queue with limits, as its log has them, and who may get one. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from msgspec import Struct

from pyworkflow_core.payloads import QueueOpened, Slot, SlotsChanged

from ..queues import QueueLimits


class Wanted(Struct, frozen=True):
    """A run that is to be driven.

    Attributes:
        run_id: the run.
        key: its concurrency key; empty if it has none.
        begins: whether no code of it ran before, so that the rate limit counts it.
    """

    run_id: str
    key: str = ""
    begins: bool = False


class Slots:
    """The fold of a queue's log.

    Attributes:
        holders: the slot of each run that has one, by run id.
        count: slots given so far; a slot's number is never used again.
        begun: how many runs began when, oldest first.
        is_over: whether the log goes on in its next part.
    """

    def __init__(self, opened: QueueOpened) -> None:
        self.holders: dict[str, Slot] = {slot.run_id: slot for slot in opened.slots}
        self.count = opened.count
        self.begun: deque[tuple[int, int]] = deque(opened.begun)
        self.is_over = False

    def apply(self, at: int, change: SlotsChanged) -> None:
        """Take the log's next event, which happened at `at`."""
        if change.returned:
            returned = set(change.returned)
            for slot in [slot for slot in self.holders.values() if slot.number in returned]:
                del self.holders[slot.run_id]
        for slot in change.given:
            self.holders[slot.run_id] = slot
            self.count = max(self.count, slot.number)
        if change.begun:
            self.begun.append((at, change.begun))
        self.is_over = self.is_over or change.last

    def snapshot(self, queue: str, part: int, limits: QueueLimits | None, now: int) -> QueueOpened:
        """What the next part of the log begins with."""
        kept = () if limits is None else [(at, n) for at, n in self.begun if at > now - limits.period]
        return QueueOpened(queue, part, tuple(self.holders.values()), self.count, tuple(kept))

    def by_key(self) -> Counter[str]:
        """How many slots the runs of each concurrency key have."""
        return Counter(slot.key for slot in self.holders.values() if slot.key)

    def begun_within(self, period: int, now: int) -> int:
        """How many runs began within the last `period`."""
        return sum(n for at, n in self.begun if at > now - period)

    def room(self, limits: QueueLimits, now: int, returned: Iterable[int] = ()) -> int:
        """How many more runs that have not begun could get a slot, their keys aside.

        Args:
            limits: the queue's limits.
            now: the time, in microseconds.
            returned: numbers of slots that are about to be returned.
        """
        room = 1 << 30
        if limits.concurrency is not None:
            numbers = {slot.number for slot in self.holders.values()}
            room = limits.concurrency - len(numbers.difference(returned))
        if limits.beginnings is not None:
            room = min(room, limits.beginnings - self.begun_within(limits.period, now))
        return max(room, 0)

    def next_token(self, limits: QueueLimits, now: int) -> int | None:
        """When the rate limit lets the next run begin; None if it does not stand in the way."""
        if limits.beginnings is None:
            return None
        left = self.begun_within(limits.period, now) - limits.beginnings
        if left < 0:
            return None
        for at, n in self.begun:
            if at > now - limits.period:
                left -= n
                if left < 0:
                    return at + limits.period
        return None

    def give(
        self,
        wanted: Iterable[Wanted],
        limits: QueueLimits,
        now: int,
        *,
        most: int,
        returned: Iterable[int] = (),
    ) -> SlotsChanged:
        """The event that gives slots to those of `wanted` who may have one, in their order.

        A run that has a slot already gets another number: whoever is about to free its old one
        finds that it is in use.

        Args:
            wanted: the runs, most urgent first.
            limits: the queue's limits.
            now: the time, in microseconds.
            most: how many at most.
            returned: numbers of slots to return before.
        """
        gone = {n for n in returned if any(slot.number == n for slot in self.holders.values())}
        there = {run_id: slot for run_id, slot in self.holders.items() if slot.number not in gone}
        keys = Counter(slot.key for slot in there.values() if slot.key)
        tokens = 1 << 30
        if limits.beginnings is not None:
            tokens = limits.beginnings - self.begun_within(limits.period, now)
        given: list[Slot] = []
        begun = 0
        for one in wanted:
            if len(given) >= most:
                break
            if one.run_id not in there:
                if limits.concurrency is not None and len(there) >= limits.concurrency:
                    continue
                per_key = limits.per_key_concurrency
                if one.key and per_key is not None and keys[one.key] >= per_key:
                    continue
                if one.begins and tokens <= begun:
                    continue
                begun += one.begins
                keys[one.key] += 1
            slot = Slot(one.run_id, self.count + len(given) + 1, now, one.key)
            there[one.run_id] = slot
            given.append(slot)
        return SlotsChanged(tuple(given), tuple(sorted(gone)), begun)
