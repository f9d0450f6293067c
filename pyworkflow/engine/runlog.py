"""One run's log as this process writes it: where it ends, who holds it, what was sent.

It turns payloads into one append and one answer. What to do after a conflict is the
drive's business; here it only counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.events import Envelope, Event, decode_bodies, encode_body
from pyworkflow_core.payloads import Payload, RunRecovered, WorkflowResumed, WorkflowStarted
from pyworkflow_core.record import RunRecord, evolve, evolve_quietly
from pyworkflow_core.storage import Append, Claim, Committed, Conflict, LeaseChange, Limits, Refused, Unknown

from .clock import wait_until
from .ending import value_bytes
from .engine import SECOND, Engine
from .history import envelopes_of
from .turn import Turn

T = TypeVar("T")

_OWNER_EVENTS = (WorkflowStarted, WorkflowResumed, RunRecovered)
_BESIDE = 1024  # what an event's body holds beside the value
_COMMAND = 4096  # what a command's event may take, names and call site included
_ID_MASK = 0xFFFFFFFFFFFFFFFF


class RunLost(Exception):
    """Another process owns the run now, or it was deleted. Nothing more may be appended here."""


class RunLog:
    """The log of one run that this process holds.

    Args:
        engine: what the process's runs share.
        claim: the lease on the run; for a new run, the one that its first append takes.

    Attributes:
        run_id: the run.
        claim: the lease, with its end as far as it was extended.
        head: sequence number of the last durable event known here.
        record: the record after it; None before the first.
        conflicts: appends in a row that lost against somebody else's.
    """

    def __init__(self, engine: Engine, claim: Claim) -> None:
        self.engine = engine
        self.claim = claim
        self.run_id = claim.run_id
        self.incarnation = claim.record.incarnation
        self.head = claim.record.head
        self.record: RunRecord | None = claim.record if claim.record.head else None
        self.conflicts = 0
        self._sending: Append | None = None
        self._within: Turn | None = None
        self._limits: Limits | None = None
        self._most_events = self._room = 0
        self._last_id = 0

    @property
    def ended(self) -> bool:
        """Whether the run has a terminal event."""
        return self.record is not None and self.record.status.is_terminal

    @property
    def is_sending(self) -> bool:
        """Whether nobody knows yet what became of an append."""
        return self._sending is not None

    @property
    def most_events(self) -> int:
        """How many events go into one append, with room for a delivery and two notes beside them."""
        if self.engine.storage.limits is not self._limits:
            self._measure()
        return self._most_events

    @property
    def room(self) -> int:
        """Bytes of values to collect for one append; a larger value goes alone."""
        if self.engine.storage.limits is not self._limits:
            self._measure()
        return self._room

    def _measure(self) -> None:
        """Work out what fits into an append; a storage may know its limits only once it is open."""
        self._limits = limits = self.engine.storage.limits
        most, room = self.engine.settings.turn_events, 4 * 1024 * 1024
        if limits.append_events is not None:
            most = min(most, limits.append_events - 3)
        if limits.append_bytes is not None:
            most = min(most, limits.append_bytes // _COMMAND)
            room = limits.append_bytes // 4
        self._most_events, self._room = max(most, 1), room

    def fits(self, payloads: list[Payload]) -> bool:
        """Whether the storage takes `payloads` in one append."""
        limit = self.engine.storage.limits.append_bytes
        return limit is None or sum(value_bytes(p) + _BESIDE for p in payloads) <= limit

    async def send(
        self,
        payloads: list[Payload],
        at: int,
        *,
        release: bool = False,
        within: Turn | None = None,
        times: list[int] | None = None,
    ) -> bool:
        """Append `payloads` as events of one time; True once durable, False after a conflict.

        Args:
            payloads: at least one.
            at: when they happened, in microseconds.
            release: give the lease back in the same step; done anyway when the run ends and owes nothing.
            within: the turn of a step in whose transaction the append is made.
            times: when each of them happened, where that differs; then `at` is now.

        Raises:
            StorageError: it was refused, or the storage cannot be used.
        """
        # Ids are unique within the run: drawn by each who drives it, and counted on from there.
        event_id = self._last_id or int(self.engine.ids.event_id(), 16)
        head, run_id = self.head, self.run_id
        events: list[Event] = []
        for sequence, payload in enumerate(payloads, head + 1):
            event_id = (event_id + 1) & _ID_MASK
            when = at if times is None else times[sequence - head - 1]
            events.append(Event(run_id, sequence, f"{event_id:016x}", encode_body(payload, when)))
        self._last_id = event_id
        last = at if times is None else times[-1]
        record = None if self.record is None else evolve_quietly(self.record, payloads, last)
        if record is None:
            envelopes = [
                Envelope(1, when, payload)
                for payload, when in zip(payloads, times or [at] * len(payloads), strict=True)
            ]
            record = evolve(self.record, events, incarnation=self.incarnation, envelopes=envelopes)
        ended = record.status.is_terminal and not record.detail.owes
        lease = self._lease_change(at, release or ended)
        append = Append(run_id, self.incarnation, head, tuple(events), record, lease)
        self._sending, self._within = append, within
        answer = await (self._append(append) if within is None else self._append_within(within, append))
        self._sending = None
        if answer.__class__ is Committed:
            self._committed(append)
            return True
        if answer.__class__ is Refused:
            raise answer.error
        self.conflicts += 1
        return False

    async def _append(self, append: Append) -> Committed | Conflict | Refused:
        # A new run is not worth the wait: whoever starts it is told at once.
        if append.expected == 0:
            return await self.engine.queue.append(append)
        try:
            return await self.engine.queue.append(append)
        except StorageUnavailable:
            return await self.patiently(lambda: self.engine.queue.append(append))

    async def _append_within(self, turn: Turn, append: Append) -> Committed | Conflict | Refused:
        answer = await turn.commit(append)
        if answer is None:
            return Conflict(append.run_id, append.expected)
        if isinstance(answer, Unknown):
            # The database may still be at it: a moment saves an attempt that would come to nothing.
            await wait_until(self.engine.clock, self.engine.clock.now() + SECOND // 10)
            return await self._look_for(append)
        return answer

    async def _look_for(self, append: Append) -> Committed | Conflict:
        """Read whether an append within a transaction was made.

        It is never submitted again: without the transaction it would tell of writes that are not
        there. Where it is not found yet because the database is still at it, the expected sequence
        keeps whatever is appended instead from standing beside it.
        """
        count, storage = len(append.events), self.engine.storage
        found = await self.patiently(lambda: storage.read(self.run_id, after=append.expected, limit=count))
        made = [event.event_id for event in found] == [event.event_id for event in append.events]
        return (Committed if made else Conflict)(self.run_id, append.expected + len(found))

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call the storage; while it is away, keep the results of steps that ran, and try again."""
        clock, waited, pause = self.engine.clock, 0, SECOND // 10
        while True:
            try:
                return await call()
            except StorageUnavailable as away:
                if waited >= self.engine.settings.patience:
                    raise
                self.engine.note_outage(away)
            await wait_until(clock, clock.now() + pause)
            waited += pause
            pause = min(pause * 2, 2 * SECOND)

    async def settle(self) -> bool:
        """Learn what became of an append whose sending was cancelled. False if it was not made."""
        if self._sending is None:
            return True
        append = self._sending
        answer: Committed | Conflict | Refused
        if self._within is None:
            answer = await self.engine.queue.append(append)
        else:
            answer = await self._look_for(append)
        if isinstance(answer, Committed):
            self._committed(append)
        self._sending = None
        return isinstance(answer, Committed)

    async def release(self) -> None:
        """Give the lease back without an append."""
        await self.engine.storage.release(self.claim)

    async def extend(self) -> bool:
        """Extend the lease if a third of it has gone; False if it is no longer ours."""
        now = self.engine.clock.now()
        lease = self.engine.settings.lease
        if self.claim.until - now >= lease * 2 // 3:
            return True
        if not await self.engine.storage.extend(self.claim, now + lease):
            return False
        self.claim = msgspec.structs.replace(self.claim, until=now + lease)
        return True

    async def load(self, record: RunRecord, after: int = 0) -> list[Envelope[Any]]:
        """The decoded events behind `after`, up to `record`; of a whole log, as far as they still count."""
        storage, limit = self.engine.storage, record.head - after
        events = await self.patiently(lambda: storage.read(self.run_id, after=after, limit=limit))
        # Most runs were never reopened, and this is on the way of every replay: look before looking closely.
        if b'"reopened"' in record.rest:
            return envelopes_of(events)
        return decode_bodies([event.body for event in events])

    async def current(self) -> RunRecord:
        """The run's record now.

        Raises:
            RunLost: the run was deleted.
        """
        record = await self.patiently(lambda: self.engine.storage.get(self.run_id))
        if record is None or record.incarnation != self.incarnation:
            raise RunLost(f"run {self.run_id!r} was deleted while it was driven here")
        return record

    def check_owner(self, tail: list[Envelope[Any]]) -> None:
        """Refuse to go on if `tail` says that somebody else took the run.

        Raises:
            RunLost: it does.
        """
        for envelope in tail:
            if isinstance(envelope.data, _OWNER_EVENTS) and envelope.data.owner != self.claim.token:
                raise RunLost(f"run {self.run_id!r} was taken by another process")

    async def catch_up(self) -> None:
        """Move to the log's end, if nobody else took the run.

        Raises:
            RunLost: somebody did, or the run was deleted or ended.
        """
        record = await self.current()
        self.check_owner(await self.load(record, after=self.head))
        self.move_to(record)

    async def read_tail(self) -> list[Envelope[Any]]:
        """What others appended behind `head`, which moves there.

        Raises:
            RunLost: somebody took the run, or it ended.
        """
        events = await self.patiently(lambda: self.engine.storage.read(self.run_id, after=self.head))
        if not events:
            return []
        tail = envelopes_of(events)
        self.check_owner(tail)
        self.move_to(evolve(self.record, events, incarnation=self.incarnation, envelopes=tail))
        return tail

    def move_to(self, record: RunRecord) -> None:
        """Take `record` for where the log stands.

        Raises:
            RunLost: the run ended.
        """
        self.record, self.head = record, record.head
        if record.status.is_terminal:
            raise RunLost(f"run {self.run_id!r} was ended by another process: it is {record.status}")

    def _committed(self, append: Append) -> None:
        self.head += len(append.events)
        self.record = append.record
        self.conflicts = 0
        if append.lease is not None and append.lease.until is not None:
            self.claim = msgspec.structs.replace(self.claim, until=append.lease.until)

    def _lease_change(self, at: int, release: bool) -> LeaseChange | None:
        lease = self.engine.settings.lease
        if release:
            return LeaseChange(self.claim.token, self.claim.owner, None)
        if self.record is None or self.claim.until - at < lease * 2 // 3:
            return LeaseChange(self.claim.token, self.claim.owner, at + lease)
        return None
