"""What steps want in their run's log while they run, and the answers that they wait for.

A step does not append: the drive does, between its own appends. An entry that was given to the
drive counts as written once the machine that was fed with it is still the run's machine when the
drive comes round again. After a conflict another machine stands there, and the entry is given again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from typing import Any

from pyworkflow_core.payloads import HookCreated, HookExpired, HookReceived, Payload
from pyworkflow_core.replay import Machine, step_text

from .ending import value_bytes

Key = tuple[str, int]
HookEnd = HookReceived | HookExpired


class Entry:
    """One event that a step wants in the log.

    Attributes:
        payload: the event's payload.
        written: done once it is in the log.
        fed: the machine that was fed with it last; None while it waits to be taken.
    """

    __slots__ = ("fed", "payload", "written")

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fed: Machine | None = None


class Entries:
    """The entries of one run's steps, oldest first.

    Args:
        wake_up: lets the drive look.

    Attributes:
        entries: those that are not known to be in the log.
    """

    def __init__(self, wake_up: Callable[[], None]) -> None:
        self._wake_up = wake_up
        self.entries: list[Entry] = []
        self._waits: list[tuple[Key, Key, asyncio.Future[HookEnd]]] = []
        self._unseen = False  # whether a wait has begun that was not looked at
        self._closed = False

    # ---- for steps -------------------------------------------------------------------

    def put(self, payload: Payload) -> Entry:
        """Want an event in the log.

        Raises:
            asyncio.CancelledError: the run has been left here.
        """
        if self._closed:
            raise asyncio.CancelledError("the run has been left")
        entry = Entry(payload)
        self.entries.append(entry)
        self._wake_up()
        return entry

    def withdraw(self, entry: Entry) -> bool:
        """Take an entry back, as far as that is possible; False if it is known to be in the log."""
        entry.written.cancel()
        if entry not in self.entries:
            return False
        self.entries.remove(entry)
        return True

    async def end_of_hook(self, step: Key, hook: Key) -> HookEnd:
        """Wait until a hook of a step is answered, or its time is over."""
        if self._closed:
            raise asyncio.CancelledError("the run has been left")
        ended: asyncio.Future[HookEnd] = asyncio.get_running_loop().create_future()
        wait = (step, hook, ended)
        self._waits.append(wait)
        self._unseen = True
        self._wake_up()
        try:
            return await ended
        finally:
            self._waits.remove(wait)

    # ---- for the drive ---------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether there is an entry or a wait that the drive has not seen."""
        if not self.entries:
            return self._unseen
        return self._unseen or any(entry.fed is None for entry in self.entries)

    @property
    def next_bytes(self) -> int:
        """Bytes of the largest value among them; 0 if there is none."""
        return max([value_bytes(entry.payload) for entry in self.entries], default=0) if self.entries else 0

    @property
    def waiting_steps(self) -> int:
        """How many steps wait for a hook."""
        return len({step for step, _, _ in self._waits})

    def next(self, machine: Machine, held: Container[str] = ()) -> Payload | None:
        """The next one for this machine; those of the steps `held` have to wait."""
        for entry in self.entries:
            if held and _step_of(entry.payload) in held:
                entry.fed = None  # it stays news
            elif entry.fed is not machine:
                entry.fed = machine
                return entry.payload
        return None

    def forget(self, step: str) -> None:
        """Nobody wants what this step writes any more."""
        for entry in [entry for entry in self.entries if _step_of(entry.payload) == step]:
            self.withdraw(entry)

    def grant(self, machine: Machine) -> None:
        """Let steps go on whose entries are durable, or whose hooks have ended."""
        if not (self.entries or self._waits or self._unseen):
            return
        if self.entries:
            written = [entry for entry in self.entries if entry.fed is machine]
            self.entries = [entry for entry in self.entries if entry.fed is not machine]
            for entry in written:
                if not entry.written.done():
                    entry.written.set_result(None)
        self._unseen = False
        for step, hook, ended in self._waits:
            notes = machine.in_steps.get(step)
            found = notes.hooks.get(hook) if notes is not None else None
            if found is not None and found.ended is not None and not ended.done():
                ended.set_result(found.ended)

    def close(self) -> None:
        """The run is left: nobody writes any more."""
        self._closed = True
        for entry in self.entries:
            entry.written.cancel()
        self.entries.clear()
        for _, _, ended in self._waits:
            ended.cancel()


def _step_of(payload: Any) -> str:
    """The step that wrote the payload, as events name it."""
    if isinstance(payload, (HookCreated, HookExpired)):
        return payload.step
    return step_text(payload.step, payload.ordinal)
