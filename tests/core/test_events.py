"""Event bodies: exact round trips, types that this version does not know, old and new versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from pyworkflow_core import events
from pyworkflow_core.carried import Carried, CarriedChild, CarriedHook
from pyworkflow_core.codec import default_codec
from pyworkflow_core.errors import MalformedValueError
from pyworkflow_core.events import (
    Event,
    UnknownPayload,
    application_payload,
    decode_bodies,
    decode_body,
    encode_body,
    from_micros,
    register_upcaster,
    to_micros,
)
from pyworkflow_core.payloads import (
    PAYLOAD_CLASSES,
    EventType,
    Payload,
    Slot,
    StepCompleted,
    StepStarted,
    WorkflowStarted,
)
from pyworkflow_core.payloads.schedules import ScheduledRun

AT = 1_763_820_000_123_456


def sample(cls: type[Payload]) -> Payload:
    """A payload with every field filled."""
    values: dict[Any, Any] = {
        str: "text",
        int: 7,
        Raw: Raw(b'{"a":[1,"x"]}'),
        str | None: "text",
        int | None: 9,
        tuple[str, ...]: ("a", "b"),
        tuple[int, ...]: (1, 2),
        tuple[ScheduledRun, ...]: (ScheduledRun("run_1", 3), ScheduledRun("run_2", 4, "failed")),
        dict[str, str]: {"tenant": "acme"},
        bool: True,
        tuple[int, ...]: (1, 2),
        tuple[tuple[int, int], ...]: ((1, 2), (3, 4)),
        tuple[Slot, ...]: (Slot("run_1", 1), Slot("run_2", 2, 3, "key")),
        WorkflowStarted: WorkflowStarted("flow", Raw(b"[[1],{}]")),
        Carried | None: Carried(
            (CarriedHook("ask", 1, "secret"), CarriedHook("ask", 2, "other", Raw(b'"yes"'))),
            (
                CarriedChild("flow", "run_1"),
                CarriedChild("flow", "run_2", True, Raw(b"7"), status="completed"),
            ),
            (None, "user"),
        ),
    }
    return cls(**{field.name: values[field.type] for field in msgspec.structs.fields(cls)})


@pytest.mark.parametrize("cls", PAYLOAD_CLASSES, ids=lambda cls: cls.TYPE.value)
def test_a_payload_of_each_type_comes_back_as_it_went(cls: type[Payload]) -> None:
    for payload in (sample(cls), _fewest(cls)):
        body = encode_body(payload, AT)
        assert b"\n" not in body
        envelope = decode_body(body)
        assert (envelope.data, envelope.at, envelope.version) == (payload, AT, cls.VERSION)
        assert type(envelope.data) is cls


def _fewest(cls: type[Payload]) -> Payload:
    needed = [f for f in msgspec.structs.fields(cls) if f.required]
    values: dict[Any, Any] = {int: 7, str: "text", WorkflowStarted: WorkflowStarted("flow")}
    return cls(**{f.name: values[f.type] for f in needed})


def test_each_event_type_has_exactly_one_payload_class() -> None:
    assert sorted(cls.TYPE for cls in PAYLOAD_CLASSES) == sorted(EventType)


def test_many_bodies_decode_to_the_same_as_one_by_one() -> None:
    bodies = [encode_body(sample(cls), AT + n) for n, cls in enumerate(PAYLOAD_CLASSES)]
    assert decode_bodies(bodies) == [decode_body(body) for body in bodies]
    strange = [*bodies, b'["time_travelled",1,5,{"to":1955}]']
    assert decode_bodies(strange) == [decode_body(body) for body in strange]
    assert decode_bodies([]) == []


def test_a_type_of_a_newer_release_is_kept_with_its_data() -> None:
    body = b'["time_travelled",3,5,{"to":1955}]'
    envelope = decode_body(body)
    assert envelope.version == 3
    assert envelope.data == UnknownPayload("time_travelled", Raw(b'{"to":1955}'))
    assert encode_body(envelope.data, 5, version=3) == body
    event = Event("run", 1, "id", body)
    assert event.type == "time_travelled"
    assert event.data == {"to": 1955}


def test_a_newer_version_of_a_known_type_is_kept_and_not_misread() -> None:
    envelope = decode_body(b'["step_completed",2,5,{"step":"charge","result":1}]')
    assert envelope.version == 2
    assert isinstance(envelope.data, UnknownPayload)


def test_a_field_that_this_version_does_not_know_does_no_harm() -> None:
    payload = decode_body(b'["step_completed",1,5,{"step":"charge","colour":"red"}]').data
    assert payload == StepCompleted("charge")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'["step_completed"]',
        b'["step_completed",1,5,{}]',
        b'["step_completed",1,"x",{"step":"a"}]',
        b'["step_completed",1,5,{"step":7}]',
        b'["step_completed",1,5,{"step":"a"}',
        b"\xff",
        b"null",
    ],
)
def test_what_is_no_event_body_is_called_unreadable(body: bytes) -> None:
    with pytest.raises(MalformedValueError):
        decode_body(body)


@pytest.fixture
def a_second_version(monkeypatch: pytest.MonkeyPatch) -> type[Payload]:
    """A known type whose class has gone on to version 3."""

    class Renamed(StepStarted, frozen=True):
        TYPE = EventType.STEP_STARTED
        VERSION = 3

    monkeypatch.setitem(events._CLASS_OF, "step_started", Renamed)
    monkeypatch.setattr(events, "_decode_known", msgspec.json.Decoder(events._envelope_class(Renamed)).decode)
    monkeypatch.setattr(events, "_upcasters", dict(events._upcasters))
    return Renamed


def test_old_data_is_lifted_one_version_at_a_time(a_second_version: type[Payload]) -> None:
    register_upcaster("step_started", 1, lambda data: {**data, "step": data["step"].upper()})
    register_upcaster("step_started", 2, lambda data: {**data, "step": data["step"] + "!"})
    envelope = decode_body(b'["step_started",1,5,{"step":"charge","args":[[1],{}]}]')
    assert type(envelope.data) is a_second_version
    assert (envelope.version, envelope.data.step, bytes(envelope.data.args)) == (3, "CHARGE!", b"[[1],{}]")


def test_old_data_that_nothing_lifts_is_an_error_that_says_what_is_missing(
    a_second_version: type[Payload],
) -> None:
    register_upcaster("step_started", 1, lambda data: data)
    with pytest.raises(MalformedValueError, match=r"register_upcaster\('step_started', 2, …\) is missing"):
        decode_body(b'["step_started",1,5,{"step":"charge"}]')


def test_an_application_adds_types_of_its_own() -> None:
    data = {"order": 7, "$": "looks like a tag", "when": datetime(2026, 3, 1, tzinfo=UTC), "tags": ("a",)}
    payload = application_payload("shop.order_audited", data, default_codec)
    event = Event("run", 1, "id", encode_body(payload, AT))
    assert event.type == "shop.order_audited"
    assert dict(event.data) == data
    assert event.version == 1


@pytest.mark.parametrize("name", ["audited", "", ".", "shop.", ".x", "shop.a b", "shop.a\nb"])
def test_an_application_type_needs_a_namespace_and_no_white_space(name: str) -> None:
    with pytest.raises(ValueError, match=r"namespace\.name"):
        application_payload(name, {}, default_codec)


def test_an_event_shows_type_time_and_data_with_its_defaults() -> None:
    event = Event("run", 3, "id", encode_body(StepStarted("charge", args=Raw(b'[["A-1"],{}]')), AT))
    assert event.type is EventType.STEP_STARTED
    assert event.timestamp == datetime.fromtimestamp(AT / 1e6, UTC).replace(microsecond=123456)
    assert (event.time, event.sequence) == (AT, 3)
    assert list(event.data) == ["step", "ordinal", "args", "attempt", "at"]
    assert event.data["ordinal"] == 1
    assert event.data["args"] == [["A-1"], {}]
    assert repr(event) == "Event('run', 3, 'step_started', 'id')"


def test_an_event_cannot_be_changed() -> None:
    event = Event("run", 1, "id", encode_body(StepCompleted("charge"), AT))
    with pytest.raises(AttributeError):
        event.sequence = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        event.data["step"] = "x"  # type: ignore[index]


def test_bodies_are_short_json_that_people_can_read() -> None:
    body = encode_body(StepCompleted("charge", 2, Raw(b'{"ok":true}')), 5)
    assert body == b'["step_completed",1,5,{"step":"charge","ordinal":2,"result":{"ok":true}}]'
    assert json.loads(body)[3]["result"] == {"ok": True}


def test_microseconds_survive_the_way_to_a_moment_and_back() -> None:
    for micros in (0, 1, AT, -1, 253_402_300_799_999_999):
        assert to_micros(from_micros(micros)) == micros
