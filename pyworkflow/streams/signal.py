"""A signal of a stream: what people see of it, and how it travels in logs."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from pyworkflow_core.codec import Codec, default_codec
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.events import from_micros
from pyworkflow_core.ids import validate_id

RESERVED = "pyworkflow."
"""Signals whose type begins with this are between the parts of a stream."""
JOIN, WATCH, TERMINATE = f"{RESERVED}join", f"{RESERVED}watch", f"{RESERVED}terminate"
_AROUND = 4096  # what the events hold that a signal travels in, beside the payload
LAST, ENDED = f"{RESERVED}last", f"{RESERVED}ended"


class Signal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that was told to a stream.

    Attributes:
        stream_id: the stream's name.
        signal_type: what kind of thing it is.
        payload: plain data; a model that was emitted is its fields here.
        signal_id: the same id again is not heard again.
        published_at: when it was emitted; of a delayed one, when it was to be.
        sequence: its place in the stream; None for the emitter, who does not know it.
        source_run_id: the run that emitted it; None if it came from elsewhere.
        stream_run_id: which run of the stream it is for.
        metadata: labels of the emitter.
    """

    stream_id: str
    signal_type: str
    payload: Any = None
    signal_id: str
    published_at: datetime
    sequence: int | None = None
    source_run_id: str | None = None
    stream_run_id: str | None = None
    metadata: dict[str, Any] = {}

    @property
    def value(self) -> Any:
        """The payload as the type that the stream step names for it; the payload where it names none.

        Raises:
            ValueError: it does not fit the type.
        """
        from .definitions import schema_for

        return schema_for(self.stream_id, self.signal_type).revive(self.payload)


default_codec.register(Signal, name="pyworkflow.Signal")


class Wire(Struct, frozen=True, omit_defaults=True):
    """A signal's payload in the logs, around what the emitter gave.

    Attributes:
        body: the encoded payload and metadata; whoever forwards it does not look inside.
        at: when it was emitted, or is to be heard, in microseconds.
        id: the emitter's id for it.
        by: the run that emitted it.
        number: its place in the stream.
        delayed: whether the stream is to hear it at that time only.
    """

    body: Raw
    at: int
    id: str = ""
    by: str = ""
    number: int = 0
    delayed: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Wire).decode


def pack(wire: Wire) -> Raw:
    """The wire as a payload of an event."""
    return Raw(_encode(wire))


def unpack(payload: Raw) -> Wire:
    """What `pack` wrote."""
    return _decode(payload)


def body_of(codec: Codec, payload: Any, metadata: dict[str, Any] | None) -> Raw:
    """The encoded payload and metadata.

    Raises:
        UnserializableValueError: one of them cannot be recorded.
    """
    body = {"payload": payload, "metadata": metadata} if metadata else {"payload": payload}
    return Raw(codec.encode(body, where="signal"))


def check_size(body: Raw, most: int | None, stream: str, kind: str) -> None:
    """Refuse what would not fit into every event that holds it on its way, ids and all.

    Raises:
        LimitExceeded: it is too large.
    """
    if most is not None and len(body) + _AROUND > most:
        raise LimitExceeded(
            f"stream {stream!r}: a signal {kind!r} of {len(body)} bytes; at most {most - _AROUND} fit. Keep "
            "large values elsewhere and emit a reference to them."
        )


def signal_of(codec: Codec, stream_id: str, stream_run_id: str | None, kind: str, wire: Wire) -> Signal:
    """The signal as people see it."""
    body = codec.decode(wire.body)
    return Signal(
        stream_id=stream_id,
        signal_type=kind,
        payload=body["payload"],
        signal_id=wire.id,
        published_at=from_micros(wire.at),
        sequence=wire.number or None,
        source_run_id=wire.by or None,
        stream_run_id=stream_run_id,
        metadata=body.get("metadata", {}),
    )


def plain(value: Any) -> Any:
    """A model, Struct or dataclass as plain data; anything else as it is."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump()
    if isinstance(value, Struct) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return msgspec.to_builtins(value)
    return value


def check_type(signal_type: str) -> str:
    """The type of a signal, if a user may give it that.

    Raises:
        ValueError: it is empty, too long, no text, or reserved.
    """
    if validate_id(signal_type, "signal type").startswith(RESERVED):
        raise ValueError(f"signal type {signal_type!r}: types that begin with {RESERVED!r} are reserved")
    return signal_type
