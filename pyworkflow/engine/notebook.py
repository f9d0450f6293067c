"""What one attempt of a step records while it runs, and what earlier attempts recorded for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from pyworkflow_core.codec import Reach
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.payloads import (
    HookCreated,
    HookExpired,
    Payload,
    StepCheckpointDeleted,
    StepCheckpointSaved,
    StepHeartbeat,
    StepRetrying,
)
from pyworkflow_core.replay import StepCall, StepHook, StepNotes, step_text

from ..errors import StepHeartbeatTimeoutError
from .clock import Alarm
from .engine import Engine
from .entries import Entries, Entry, HookEnd

_OVERHEAD = 1024  # what an event's body holds beside the value


class Notebook:
    """What an attempt records.

    Args:
        call: the step's call.
        engine: what the process's runs share.
        entries: takes what is to be in the run's log.
        attempt: the how-manieth attempt it is.
        loop: the event loop on which the run is driven.
        thread: that loop's thread.

    Attributes:
        loop: the event loop on which the run is driven.
        attempt: the how-manieth attempt this is.
        details: encoded details of the last heartbeat of this attempt or an earlier one.
        checkpoints: encoded checkpoints, by name.
        over: whether the attempt has ended.
    """

    def __init__(
        self,
        call: StepCall,
        engine: Engine,
        entries: Entries,
        attempt: int,
        loop: asyncio.AbstractEventLoop,
        thread: int,
    ) -> None:
        self._call, self._engine, self._entries = call, engine, entries
        self.loop = loop
        self.attempt = attempt
        self._key = (call.name, call.ordinal)
        notes = call.machine.in_steps.get(self._key) or StepNotes()
        self.details = notes.details
        self.checkpoints = dict(notes.checkpoints)
        self._hooks = dict(notes.hooks)
        self._ordinals: dict[str, int] = {}
        self._written: set[Entry] = set()
        self.over = False
        # Heartbeats.
        self._thread = thread
        self._last_beat = engine.clock.now()
        self._next_entry = 0
        self._entry: Entry | None = None
        self._unwritten: Raw | None = None
        self._flush_alarm: Alarm | None = None
        self._waiting = 0

    # ---- values ----------------------------------------------------------------------

    def encode(self, value: Any, what: str) -> Raw:
        """The value as the log holds it.

        Raises:
            UnserializableValueError: it cannot be recorded.
            LimitExceeded: it is too large for the storage.
        """
        encoded = self._engine.codec.encode(value, where=what, reach=self._call.reach)
        most = self._engine.storage.limits.event_bytes
        if most is not None and len(encoded) + _OVERHEAD > most:
            raise LimitExceeded(
                f"step {self._call.name!r}: the {what} would take {len(encoded)} bytes and the storage takes "
                f"{most} an event; store the value elsewhere and record a reference"
            )
        return Raw(encoded)

    def decode(self, value: Raw, *, reach: Reach | None = None) -> Any:
        """A recorded value; `reach` are the types that it may hold, the step's unless given."""
        if not len(value):
            return None
        return self._engine.codec.decode(value, reach=self._call.reach if reach is None else reach)

    async def _write(self, payload: Payload) -> None:
        self.refuse_if_over()
        entry = self._entries.put(payload)
        self._written.add(entry)
        try:
            await entry.written
        finally:
            self._written.discard(entry)
            self._entries.withdraw(entry)

    def refuse_if_over(self) -> None:
        """Stop a thread, or a task that was left behind, whose attempt has ended.

        Raises:
            asyncio.CancelledError: it has.
        """
        if self.over:
            raise asyncio.CancelledError(f"the attempt of step {self._call.name!r} has ended")

    # ---- checkpoints -----------------------------------------------------------------

    async def save(self, name: str, value: Any) -> None:
        """Save a checkpoint; it is durable when this returns."""
        encoded = self.encode(value, "checkpoint")
        await self._write(StepCheckpointSaved(*self._key, name, encoded))
        self.checkpoints[name] = encoded

    async def forget(self, name: str) -> bool:
        """Delete a checkpoint; False if there is none."""
        if name not in self.checkpoints:
            return False
        await self._write(StepCheckpointDeleted(*self._key, name))
        self.checkpoints.pop(name, None)
        return True

    # ---- heartbeats ------------------------------------------------------------------

    def beat(self, details: Any, *, silent: bool) -> None:
        """Note a heartbeat, from any thread; one in a while is recorded, unless `silent`."""
        self.refuse_if_over()
        if details is not None:
            self.details = self.encode(details, "details")
        self._last_beat = self._engine.clock.now()
        self._unwritten = self.details
        if silent:
            return
        if threading.get_ident() == self._thread:
            self._flush()
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the run with it
                self.loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        if self.over or self._unwritten is None:
            return
        clock = self._engine.clock
        now = clock.now()
        if now >= self._next_entry:
            details, self._unwritten = self._unwritten, None
            self._next_entry = now + self._engine.settings.beat
            if self._entry is not None:
                self._entries.withdraw(self._entry)
            with contextlib.suppress(asyncio.CancelledError):  # the run has just been left
                self._entry = self._entries.put(StepHeartbeat(*self._key, details))
        elif self._flush_alarm is None:
            self._flush_alarm = clock.call_at(self._next_entry, self._ring)

    def _ring(self) -> None:
        self._flush_alarm = None
        self._flush()

    def with_details(self, report: Payload | None) -> Payload | None:
        """The report of the attempt's end, with details that are not in the log yet."""
        if not isinstance(report, StepRetrying):
            return report
        unwritten = self._unwritten
        if self._entry is not None and self._entries.withdraw(self._entry) and unwritten is None:
            unwritten = self.details
        if unwritten is None:
            return report
        most = self._engine.storage.limits.event_bytes
        if most is not None and len(report.error) + len(unwritten) + _OVERHEAD > most:
            with contextlib.suppress(asyncio.CancelledError):  # the run has just been left
                self._entries.put(StepHeartbeat(*self._key, unwritten))
            return report
        return replace(report, details=unwritten)

    @contextlib.asynccontextmanager
    async def watched(self, timeout: int) -> AsyncIterator[None]:
        """End the block with an error if no heartbeat comes for `timeout` microseconds.

        Raises:
            StepHeartbeatTimeoutError: none came.
        """
        clock, timer = self._engine.clock, asyncio.timeout(None)
        alarm: Alarm | None = None

        def look() -> None:
            nonlocal alarm
            now = clock.now()
            due = now + timeout if self._waiting else self._last_beat + timeout
            if due <= now:
                timer.reschedule(self.loop.time())
            else:
                alarm = clock.call_at(due, look)

        try:
            async with timer:
                look()
                try:
                    yield
                finally:
                    if alarm is not None:
                        alarm.cancel()
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise StepHeartbeatTimeoutError(
                f"step {self._call.name!r} gave no heartbeat for its heartbeat_timeout of {timeout / 1e6:g} s"
            ) from error

    # ---- hooks -----------------------------------------------------------------------

    async def open_hook(self, name: str, timeout: int | None, schema: str, at: str) -> StepHook:
        """Create a hook, or find the one that an earlier attempt created."""
        self._ordinals[name] = ordinal = self._ordinals.get(name, 0) + 1
        known = self._hooks.get((name, ordinal))
        if known is None:
            expires = None if timeout is None else self._engine.clock.now() + timeout
            token = self._engine.ids.token()
            known = StepHook(HookCreated(name, ordinal, token, expires, schema, at, step_text(*self._key)))
            await self._write(known.created)
            self._hooks[name, ordinal] = known
        return known

    async def end_of_hook(self, hook: StepHook) -> HookEnd:
        """Wait until the hook is answered, or its time is over."""
        if hook.ended is not None:
            return hook.ended
        self.refuse_if_over()
        created, clock = hook.created, self._engine.clock
        alarm: Alarm | None = None

        def ring() -> None:
            nonlocal alarm
            assert created.expires_at is not None
            if self.over:
                return
            if clock.now() < created.expires_at:
                alarm = clock.call_at(created.expires_at, ring)
            else:
                with contextlib.suppress(asyncio.CancelledError):  # the run has just been left
                    self._entries.put(HookExpired(created.hook, created.ordinal, created.step))

        if created.expires_at is not None:
            ring()
        self._waiting += 1
        try:
            hook.ended = await self._entries.end_of_hook(self._key, (created.hook, created.ordinal))
        finally:
            self._waiting -= 1
            self._last_beat = clock.now()
            if alarm is not None:
                alarm.cancel()
        return hook.ended

    # ---- the end ---------------------------------------------------------------------

    def close(self) -> None:
        """The attempt has ended: what its threads and tasks still want is refused."""
        self.over = True
        if self._flush_alarm is not None:
            self._flush_alarm.cancel()
        for entry in list(self._written):
            self._entries.withdraw(entry)
