"""Durations as people write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta

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
        ValueError: it is negative, not finite, too long, or not a duration at all.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, timedelta)):
        raise ValueError(
            f"{what} {value!r} is not a duration: write '5s', a number of seconds or a timedelta"
        )
    try:
        micros = _to_micros(value, what)
    except OverflowError:  # a number that a float cannot hold
        micros = -1 if isinstance(value, (int, float)) and value < 0 else _LONGEST + 1
    if micros < 0:
        raise ValueError(f"{what} {_short(value)} is negative")
    if micros > _LONGEST:
        raise ValueError(f"{what} {_short(value)} is over 10,000 years")
    return micros


def _to_micros(value: Duration, what: str) -> int:
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, str):
        return _parse(value, what)
    if not math.isfinite(value):
        raise ValueError(f"{what} {value!r} is not finite")
    return round(value * 1_000_000)


def _short(value: Duration) -> str:
    """For people; Python refuses to write out an integer of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return "of thousands of digits"
    return text if len(text) <= 80 else text[:80] + "…"


def _parse(text: str, what: str) -> int:
    stripped = text.strip()
    parts = _PART.findall(stripped)
    if not parts or _PART.sub("", stripped).strip():
        raise ValueError(
            f"{what} {text!r} is not a duration: write a number and a unit, such as '500ms', '5s', '10m', "
            "'2h', '3d', '1w' or '1h30m'"
        )
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))
