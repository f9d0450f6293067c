"""What a run was told and its code has not taken yet: signals, in the order of the log."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..carried import CarriedSignal
from ..events import Envelope
from ..payloads import SignalReceived
from .calls import CANCEL_REQUEST
from .requests import request_to_stop

if TYPE_CHECKING:
    from .machine import Machine

REMEMBERED = 256
"""How many ids of signals a run hands on to the one that continues it."""


class Inbox:
    """Signals that came for a run.

    Attributes:
        untaken: those that the code has not taken, oldest first.
        heard: how many came, those among them that had come before.
        is_awaited: whether code waits for the next one.
    """

    def __init__(self) -> None:
        self.untaken: deque[SignalReceived] = deque()
        self.heard = 0
        self._known: dict[str, None] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def is_awaited(self) -> bool:
        """Whether code waits for the next signal."""
        return any(not waiter.done() for waiter in self._waiters)

    def put(self, signal: SignalReceived) -> bool:
        """Take a signal in; False if it was there before."""
        self.heard += 1
        name = known_as(signal.signal_id)
        if name in self._known:
            return False
        self._known[name] = None
        self.untaken.append(signal)
        self._wake_one()
        return True

    async def get(self, machine: Machine) -> SignalReceived:
        """Wait for the next signal, and take it."""
        while not self.untaken:
            waiter = machine.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError as error:
                if self.untaken and not waiter.cancelled():
                    self._wake_one()  # it was for this one, which leaves it to the next
                if error.args == (CANCEL_REQUEST,):
                    raise request_to_stop(machine) from None
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self.untaken.popleft()

    def carry(self, signals: Iterable[CarriedSignal], known: Iterable[str]) -> None:
        """Take over what the predecessor had."""
        self._known.update(dict.fromkeys(known))
        self.untaken.extend(SignalReceived(s.signal, s.signal_id, s.payload, s.sender) for s in signals)

    def carried(self) -> tuple[tuple[CarriedSignal, ...], tuple[str, ...]]:
        """What a successor takes over: signals not taken, and by which ids it knows what came before."""
        signals = tuple(CarriedSignal(s.signal, s.signal_id, s.payload, s.sender) for s in self.untaken)
        return signals, tuple(self._known)[-REMEMBERED:]

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def known_as(signal_id: str) -> str:
    """What a run remembers of a signal's id."""
    return hashlib.blake2b(signal_id.encode(), digest_size=8).hexdigest()


def on_signal_received(machine: Machine, envelope: Envelope[SignalReceived]) -> None:
    """Something was told to the run."""
    if machine.inbox.put(envelope.data):
        machine.advance(envelope.at)
        machine.drain()
