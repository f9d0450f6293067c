"""The log of a queue with limits: slots are given and returned by conditional appends, by any process.

The log has parts, so that it stays short. A log of its own counts them: its head is the number
of the current part. A part that is full says so in its last event; whoever sees that moves the
count on, begins the next part with what the old one ended with, and deletes the old one, in
this order. So a part that can be read, and that the count still names afterwards, is the true
one; and two processes that move on at once do the same thing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from pyworkflow_core.events import Envelope
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import QueueOpened, SlotsChanged
from pyworkflow_core.record import RunRecord

from ..config import queue_limits
from .engine import Engine
from .history import envelopes_of
from .sidelog import append_to
from .slots import Slots

PART_EVENTS = 500
"""Events of one part of the log."""

Decide = Callable[[Slots, int], SlotsChanged | None]


class Limiter:
    """The slots of one queue, as this process sees them.

    Args:
        engine: whose storage they are in.
        queue: the queue.

    Attributes:
        slots: as the log had them when it was looked at last.
    """

    def __init__(self, engine: Engine, queue: str) -> None:
        self.queue = queue
        self.slots = Slots(QueueOpened(queue))
        self._engine = engine
        self._record: RunRecord | None = None
        self._counter = _log_id(queue)
        self._lock = asyncio.Lock()

    async def exists(self) -> bool:
        """Whether the queue has a log: a worker was told of its limits once."""
        return await self._engine.storage.get(self._counter) is not None

    async def look(self) -> None:
        """See what other processes did.

        Raises:
            StorageError: the storage cannot be used.
        """
        async with self._lock:
            await self._look()

    async def change(self, decide: Decide) -> SlotsChanged | None:
        """Append what `decide` makes of the slots and the time; again after a conflict.

        Returns:
            The event that is in the log; None if `decide` came to want nothing.

        Raises:
            StorageError: the storage cannot be used.
        """
        async with self._lock:
            if self._record is None:
                await self._look()
            while True:
                assert self._record is not None
                now = self._engine.clock.now()
                wanted = decide(self.slots, now)
                if wanted is None:
                    return None
                after = await append_to(self._engine, self._record.run_id, self._record, wanted)
                if after is not None:
                    self._record = after
                    self.slots.apply(after.updated_at, wanted)
                    if after.head >= PART_EVENTS:
                        await self._move_on()
                    return wanted
                await self._look()

    async def _move_on(self) -> None:
        assert self._record is not None
        last = SlotsChanged(last=True)
        self._record = await append_to(self._engine, self._record.run_id, self._record, last)
        await self._load()

    async def _look(self) -> None:
        known = self._record
        if known is None:
            await self._load()
            return
        record = await self._engine.storage.get(known.run_id)
        if record is None or record.incarnation != known.incarnation:
            await self._load()
        elif record.head > known.head:
            events = await self._engine.storage.read(
                known.run_id, after=known.head, limit=record.head - known.head
            )
            _take(self.slots, envelopes_of(events))
            self._record = record
            if self.slots.is_over:
                await self._load()

    # ---- parts ---------------------------------------------------------------------

    async def _load(self) -> None:
        """Read the current part from its beginning, and make it first if it is not there."""
        engine = self._engine
        while True:
            counter = await engine.storage.get(self._counter)
            if counter is None:
                await append_to(engine, self._counter, None, QueueOpened(self.queue))
                continue
            part = counter.head
            found = await self._read(part)
            if found is None:
                await self._begin(part)
            elif found[1].is_over:
                await append_to(engine, self._counter, counter, QueueOpened(self.queue, part))
            elif await self._is_current(part):
                # Nobody deletes a part that the count still names, so what was read is the true one.
                self._record, self.slots = found
                return

    async def _read(self, part: int) -> tuple[RunRecord, Slots] | None:
        log_id = _log_id(self.queue, part)
        record = await self._engine.storage.get(log_id)
        if record is None:
            return None
        envelopes = envelopes_of(await self._engine.storage.read(log_id, limit=record.head))
        if not envelopes or not isinstance(envelopes[0].data, QueueOpened):
            return None  # deleted in between
        slots = Slots(envelopes[0].data)
        _take(slots, envelopes)
        return record, slots

    async def _begin(self, part: int) -> None:
        """Make a part that is not there, from the end of the one before it."""
        engine, now = self._engine, self._engine.clock.now()
        before = await self._read(part - 1) if part > 1 else None
        if part > 1 and before is None and not await self._is_current(part):
            return
        opened = QueueOpened(self.queue, part)
        if before is not None:
            opened = before[1].snapshot(self.queue, part, queue_limits.get(self.queue), now)
        await append_to(engine, _log_id(self.queue, part), None, opened)
        if not await self._is_current(part):
            # It had been there, and was deleted, while this process did not look.
            await self._delete(part, 1)
        elif before is not None:
            await self._delete(part - 1, before[0].head)

    async def _is_current(self, part: int) -> bool:
        counter = await self._engine.storage.get(self._counter)
        return counter is not None and counter.head == part

    async def _delete(self, part: int, head: int) -> None:
        with contextlib.suppress(ValueError):  # it is not what it was
            await self._engine.storage.delete(_log_id(self.queue, part), expected=head)


def _take(slots: Slots, envelopes: list[Envelope[Any]]) -> None:
    for envelope in envelopes:
        if isinstance(envelope.data, SlotsChanged):
            slots.apply(envelope.at, envelope.data)


def _log_id(queue: str, part: int | None = None) -> str:
    return derive_run_id("queue", queue, *([] if part is None else [str(part)]), prefix="queue_")
