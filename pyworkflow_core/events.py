"""Events: the immutable records that a run's log is made of.

An `Event` is its position (`run_id`, `sequence`), its `event_id` and a `body`: UTF-8 JSON
text ``["type",version,time,{data}]`` without line breaks. A backend stores the body as it
is and never looks into it. Everything else is read out of the body when asked for.

Types that this version does not know are kept: `payload` is then `UnknownPayload`.
Applications add types of their own, with a dot in the name (``shop.order_audited``).
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from .codec import Codec, default_codec
from .errors import MalformedValueError
from .payloads import PAYLOAD_CLASSES, EventType, Payload

P = TypeVar("P", bound="Payload | UnknownPayload")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_APPLICATION_TYPE = re.compile(r"[^\s\x00-\x1f]+\.[^\s\x00-\x1f]+")

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
_upcasters: dict[tuple[str, int], Upcaster] = {}


class UnknownPayload(Struct, frozen=True, gc=False):
    """Data of a type that this version does not know, or of an application's own type.

    Attributes:
        type: the event's type as recorded.
        data: the data as recorded: a JSON object.
    """

    type: str
    data: Raw


class Envelope(Struct, Generic[P], frozen=True, gc=False):
    """What a body says.

    Attributes:
        version: schema version of the payload.
        at: when it happened, in microseconds since 1970 in UTC.
        data: the typed payload.
    """

    version: int
    at: int
    data: P


def _envelope_class(cls: type[Payload]) -> type[Struct]:
    return msgspec.defstruct(
        cls.__name__ + "Body",
        # Another version fails to decode here, and is looked at more closely.
        [("version", Literal[cls.VERSION]), ("at", int), ("data", cls)],
        tag=str(cls.TYPE),
        array_like=True,
        frozen=True,
        gc=False,
    )


class _AnyBody(Struct, array_like=True, frozen=True):
    type: str
    version: int
    at: int
    data: Raw


_BODY_OF: dict[type[Payload], type[Any]] = {cls: _envelope_class(cls) for cls in PAYLOAD_CLASSES}
_CLASS_OF: dict[str, type[Payload]] = {str(cls.TYPE): cls for cls in PAYLOAD_CLASSES}
_known: Any = functools.reduce(operator.or_, cast("Any", _BODY_OF.values()))
_decode_known = msgspec.json.Decoder(cast("Any", _known)).decode
_decode_known_list = msgspec.json.Decoder(cast("Any", list[_known])).decode
_decode_any = msgspec.json.Decoder(_AnyBody).decode
_encode = msgspec.json.Encoder().encode


def _defaults(cls: type[Payload]) -> dict[str, Any]:
    fields = msgspec.structs.fields(cls)
    return {f.name: f.default for f in fields if f.default is not msgspec.NODEFAULT and f.type is not Raw}


_DEFAULTS: dict[type[Payload], dict[str, Any]] = {cls: _defaults(cls) for cls in PAYLOAD_CLASSES}


def register_upcaster(event_type: str, from_version: int, upcast: Upcaster) -> None:
    """Register how data of an old schema version becomes data of the next one.

    Args:
        event_type: the type whose payload class raised its `VERSION`.
        from_version: the version that `upcast` takes.
        upcast: takes the decoded data as a dictionary and returns that of the next version.
    """
    _upcasters[event_type, from_version] = upcast


def encode_body(payload: Payload | UnknownPayload, at: int, *, version: int | None = None) -> bytes:
    """Encode a payload and its time (microseconds since 1970) as an event body."""
    if isinstance(payload, UnknownPayload):
        return _encode(_AnyBody(payload.type, version or 1, at, payload.data))
    cls = payload.__class__
    return _encode(_BODY_OF[cls](version or cls.VERSION, at, payload))


def application_payload(event_type: str, data: Mapping[str, Any], codec: Codec) -> UnknownPayload:
    """Build the payload of an application's own event type.

    Args:
        event_type: a name with a dot in it, such as ``shop.order_audited``.
        data: a mapping with text keys, of values that `codec` can write.
        codec: writes the values.

    Raises:
        ValueError: the name has no dot, or holds white space.
        UnserializableValueError: a value cannot be written.
    """
    if not _APPLICATION_TYPE.fullmatch(event_type):
        raise ValueError(
            f"event type {event_type!r}: an application's own type is written 'namespace.name', "
            "without white space"
        )
    for key in data:
        if type(key) is not str:
            raise ValueError(f"event type {event_type!r}: key {key!r} is not text")
    return UnknownPayload(event_type, Raw(codec.encode(dict(data), where="data")))


def decode_body(body: bytes) -> Envelope[Any]:
    """Decode one event body.

    Raises:
        MalformedValueError: it is not what `encode_body` writes.
    """
    try:
        return cast("Envelope[Any]", _decode_known(body))
    except msgspec.MsgspecError:
        return _decode_other(body)


def decode_bodies(bodies: Iterable[bytes]) -> list[Envelope[Any]]:
    """Decode many event bodies in one pass; the fast way to read a whole log."""
    many = list(bodies)
    try:
        envelopes = _decode_known_list(b"[" + b",".join(many) + b"]")
    except msgspec.MsgspecError:
        return [decode_body(body) for body in many]
    if len(envelopes) != len(many):
        return [decode_body(body) for body in many]
    return cast("list[Envelope[Any]]", envelopes)


def _decode_other(body: bytes) -> Envelope[Any]:
    """An unknown type, an old version to lift, a newer one to keep, or rubbish."""
    try:
        raw = _decode_any(body)
    except msgspec.MsgspecError as error:
        raise MalformedValueError(f"event body {body[:80]!r}… is not readable: {error}") from error
    cls = _CLASS_OF.get(raw.type)
    if cls is None or raw.version > cls.VERSION:
        return Envelope(raw.version, raw.at, UnknownPayload(raw.type, raw.data))
    try:
        data = msgspec.json.decode(raw.data)
        for version in range(raw.version, cls.VERSION):
            upcast = _upcasters.get((raw.type, version))
            if upcast is None:
                raise MalformedValueError(
                    f"event {raw.type!r} has version {raw.version}, and nothing lifts version "
                    f"{version}; register_upcaster({raw.type!r}, {version}, …) is missing"
                )
            data = upcast(data)
        payload = msgspec.json.decode(msgspec.json.encode(data), type=cls)
    except msgspec.MsgspecError as error:
        raise MalformedValueError(f"event body {body[:80]!r}… is not readable: {error}") from error
    return Envelope(cls.VERSION, raw.at, payload)


class Event(Struct, frozen=True, gc=False):
    """One immutable entry of a run's log.

    Attributes:
        run_id: the run whose log it is in.
        sequence: its place there: 1, 2, 3, … with no gap.
        event_id: unique within the run; resubmitting the same id settles a lost answer.
        body: type, version, time and data, encoded.
    """

    run_id: str
    sequence: int
    event_id: str
    body: bytes

    @property
    def envelope(self) -> Envelope[Any]:
        """Version, time and typed payload in one."""
        return decode_body(self.body)

    @property
    def payload(self) -> Payload | UnknownPayload:
        """The typed payload; `UnknownPayload` for a type that this version does not know."""
        return cast("Payload | UnknownPayload", decode_body(self.body).data)

    @property
    def type(self) -> str:
        """The event's type: a member of `EventType`, or text for any other type."""
        name = _decode_any(self.body).type
        try:
            return EventType(name)
        except ValueError:
            return name

    @property
    def version(self) -> int:
        """Schema version of the data as recorded."""
        return _decode_any(self.body).version

    @property
    def time(self) -> int:
        """When it happened, in microseconds since 1970 in UTC."""
        return _decode_any(self.body).at

    @property
    def timestamp(self) -> datetime:
        """When it happened, as an aware `datetime` in UTC with microseconds."""
        return from_micros(_decode_any(self.body).at)

    @property
    def data(self) -> Mapping[str, Any]:
        """What happened, as a read-only mapping of plain and revived values."""
        return event_data(self, default_codec)

    def __repr__(self) -> str:
        return f"Event({self.run_id!r}, {self.sequence}, {str(self.type)!r}, {self.event_id!r})"


def event_data(event: Event, codec: Codec) -> Mapping[str, Any]:
    """The data of `event`, decoded with `codec`.

    Fields that were left out of the body because they have their default value are there again.
    Values of types that `codec` cannot revive come as `Opaque` values, so that any log can be read.
    """
    raw = _decode_any(event.body)
    recorded = codec.decode_lenient(bytes(raw.data))
    cls = _CLASS_OF.get(raw.type)
    if cls is None or raw.version != cls.VERSION:
        return MappingProxyType(recorded)
    full = {**_DEFAULTS[cls], **recorded}
    known = {name: full.pop(name) for name in cls.__struct_fields__ if name in full}
    return MappingProxyType({**known, **full})


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware `datetime`; a naive one is taken as local time."""
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The aware `datetime` in UTC that is `micros` microseconds after 1970; the last there is if none is."""
    return _EPOCH + timedelta(microseconds=min(micros, _LATEST))
