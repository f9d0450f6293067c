"""Values of the standard library that JSON lacks: how each is written as a tag and read back.

A writer takes the value and returns the tag object; a reader takes the tag object and returns
the value. Readers may raise anything that is wrong with hostile input (`ValueError`,
`TypeError`, `KeyError`, …): the codec reports that as malformed data.
"""

from __future__ import annotations

import base64
import math
import os
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from .terms import MARK, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

Tag = dict[str, Any]
_Moment = TypeVar("_Moment", datetime, time)

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

# A path of the other system family cannot exist here; its pure form says the same.
_PATHS: dict[str, Callable[[str], Any]] = {
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
    "PosixPath": PosixPath if os.name == "posix" else PurePosixPath,
    "WindowsPath": WindowsPath if os.name == "nt" else PureWindowsPath,
}


def write_int(value: int) -> Tag:
    """Tag an integer beyond 64 bits; hexadecimal, as CPython bounds the length of decimal text."""
    return {MARK: "int", "v": hex(value)}


def write_float(value: float) -> Tag:
    """Tag nan and the infinities, which JSON has no numbers for."""
    return {MARK: "float", "v": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}


def _write_zone(zone: tzinfo, tag: Tag) -> tzinfo | None:
    """Add what text cannot say of `zone` to `tag`; answer the zone that the text is to show."""
    if type(zone) is ZoneInfo:
        if not zone.key:
            raise Refusal("a ZoneInfo without a key cannot be written; make it with ZoneInfo('Area/City')")
        tag["z"] = zone.key
        return None
    if type(zone) is timezone:
        named: tuple[Any, ...] = zone.__getinitargs__()  # type: ignore[attr-defined]
        if len(named) > 1:
            tag["n"] = named[1]
        return zone
    raise Refusal(
        f"a time zone of type {type(zone).__module__}.{type(zone).__qualname__} cannot be written; "
        "use zoneinfo.ZoneInfo or datetime.timezone"
    )


def _write_moment(value: datetime | time, kind: str) -> Tag:
    tag: Tag = {MARK: kind, "v": ""}
    zone = value.tzinfo
    shown = value if zone is None else value.replace(tzinfo=_write_zone(zone, tag))
    tag["v"] = shown.isoformat()
    if value.fold:
        tag["f"] = 1
    return tag


def _read_moment(tag: Tag, parse: Callable[[str], _Moment]) -> _Moment:
    value = parse(tag["v"])
    if "z" in tag:
        value = value.replace(tzinfo=ZoneInfo(tag["z"]))
    elif "n" in tag:
        offset = value.utcoffset()
        if offset is None:
            raise ValueError("a named time zone without an offset")
        value = value.replace(tzinfo=timezone(offset, tag["n"]))
    return value.replace(fold=1) if tag.get("f") == 1 else value


def _write_timedelta(value: timedelta) -> Tag:
    return {MARK: "timedelta", "v": [value.days, value.seconds, value.microseconds]}


def _read_timedelta(tag: Tag) -> timedelta:
    days, seconds, microseconds = tag["v"]
    return timedelta(days, seconds, microseconds)


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


def _write_complex(value: complex) -> Tag:
    return {MARK: "complex", "v": [repr(value.real), repr(value.imag)]}


def _read_complex(tag: Tag) -> complex:
    real, imag = tag["v"]
    return complex(float(real), float(imag))


def _text(tag: Tag) -> str:
    value = tag["v"]
    if type(value) is not str:
        raise TypeError(f"{tag[MARK]} holds {type(value).__name__}, not text")
    return value


def _write_path(value: PurePosixPath | PureWindowsPath) -> Tag:
    return {MARK: "path", "v": [type(value).__name__, str(value)]}


def _read_path(tag: Tag) -> Any:
    kind, text = tag["v"]
    return _PATHS[kind](text)


SCALAR_WRITERS: dict[type, Callable[[Any], Tag]] = {
    datetime: lambda value: _write_moment(value, "datetime"),
    date: lambda value: {MARK: "date", "v": value.isoformat()},
    time: lambda value: _write_moment(value, "time"),
    timedelta: _write_timedelta,
    Decimal: lambda value: {MARK: "decimal", "v": str(value)},
    UUID: lambda value: {MARK: "uuid", "v": str(value)},
    bytes: lambda value: {MARK: "bytes", "v": _base64(value)},
    bytearray: lambda value: {MARK: "bytearray", "v": _base64(value)},
    complex: _write_complex,
    PurePosixPath: _write_path,
    PureWindowsPath: _write_path,
    PosixPath: _write_path,
    WindowsPath: _write_path,
}
"""Writers by exact type: a subclass may say more than its base can."""

SCALAR_READERS: dict[str, Callable[[Tag], Any]] = {
    "int": lambda tag: int(_text(tag), 16),
    "float": lambda tag: _FLOATS[tag["v"]],
    "datetime": lambda tag: _read_moment(tag, datetime.fromisoformat),
    "date": lambda tag: date.fromisoformat(tag["v"]),
    "time": lambda tag: _read_moment(tag, time.fromisoformat),
    "timedelta": _read_timedelta,
    "decimal": lambda tag: Decimal(_text(tag)),
    "uuid": lambda tag: UUID(tag["v"]),
    "bytes": lambda tag: base64.b64decode(tag["v"], validate=True),
    "bytearray": lambda tag: bytearray(base64.b64decode(tag["v"], validate=True)),
    "complex": _read_complex,
    "path": _read_path,
}
"""Readers by the name after the marker."""
