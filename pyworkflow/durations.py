"""Durations and moments as people write them."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta

Duration = str | int | float | timedelta
"""``"5s"``, ``"10m"``, ``"2h"``, ``"3d"``, ``"1w"``, seconds as a number, or a `timedelta`."""

_UNITS = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.ASCII)
_LONGEST = 10_000 * 365 * _UNITS["d"]


def to_duration(value: Duration, what: str = "duration") -> int:
    """The duration in microseconds.

    Args:
        value: text of one or more numbers with a unit (``"1h30m"``), seconds, or a `timedelta`.
        what: the noun for the error message.

    Raises:
        ValueError: it is negative, not finite, or not a duration at all.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, timedelta)):
        raise ValueError(
            f"{what} {value!r} is not a duration: write '5s', a number of seconds or a timedelta"
        )
    if isinstance(value, timedelta):
        micros = value // timedelta(microseconds=1)
    elif isinstance(value, str):
        micros = _parse(value, what)
    else:
        if not math.isfinite(value):
            raise ValueError(f"{what} {value!r} is not finite")
        micros = round(value * 1_000_000)
    if micros < 0:
        raise ValueError(f"{what} {value!r} is negative")
    if micros > _LONGEST:
        raise ValueError(f"{what} {value!r} is over 10,000 years")
    return micros


def _parse(text: str, what: str) -> int:
    stripped = text.strip()
    parts = _PART.findall(stripped)
    if not parts or _PART.sub("", stripped).strip():
        raise ValueError(
            f"{what} {text!r} is not a duration: write a number and a unit, such as '500ms', '5s', '10m', "
            "'2h', '3d', '1w' or '1h30m'"
        )
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def is_moment(value: object) -> bool:
    """Whether `value` names a moment, not a duration."""
    return isinstance(value, datetime)
