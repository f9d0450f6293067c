"""What runs tell each other, and what they are told."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw

from ..carried import NO_RAW
from .base import EventType, Payload


class SignalReceived(Payload, frozen=True, gc=False, omit_defaults=True):
    """Something was told to the run. Whoever tells it once more, under the same id, is not heard.

    Attributes:
        signal: what kind of thing it is.
        signal_id: id that the sender gave it.
        payload: the encoded value.
        sender: run id of the run that sent it; empty if it came from elsewhere.
    """

    TYPE: ClassVar[EventType] = EventType.SIGNAL_RECEIVED

    signal: str
    signal_id: str
    payload: Raw = NO_RAW
    sender: str = ""


class SignalSent(Payload, frozen=True, gc=False, omit_defaults=True):
    """The workflow tells another run something, once this event is durable.

    Attributes:
        run_id: the other run.
        signal: what kind of thing it is.
        signal_id: its id, derived from this run and the call.
        payload: the encoded value.
    """

    TYPE: ClassVar[EventType] = EventType.SIGNAL_SENT

    run_id: str
    signal: str
    signal_id: str
    payload: Raw = NO_RAW
