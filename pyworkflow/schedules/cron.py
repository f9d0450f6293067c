"""Cron expressions, by the library `cronsim`, which is loaded when one is used.

Where clocks change, it does what Debian's cron does: what is due at a fixed time that does not
exist is due right after the gap, and what is due at a time that exists twice is due the first
time. Where the minute or the hour begins with a star, elapsed time counts, as if for a clock that
does not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from pyworkflow_core.errors import ConfigurationError, MissingDriverError
from pyworkflow_core.events import from_micros, to_micros

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def check_cron(expression: str) -> str:
    """The expression, with an alias such as ``@daily`` written out.

    Raises:
        ConfigurationError: it is none.
        MissingDriverError: the library is not installed.
    """
    if not isinstance(expression, str):
        raise ConfigurationError(f"cron is a text of five fields, not {expression!r}")
    text = _ALIASES.get(expression.strip().lower(), expression)
    if len(text.split()) != 5:
        raise ConfigurationError(
            f"cron {expression!r} has not five fields (minute, hour, day of month, month, day of week); "
            "for seconds use interval or calendar"
        )
    cronsim = _library()
    try:
        next(cronsim.CronSim(text, datetime(2024, 1, 1, tzinfo=UTC)))
    except cronsim.CronSimError as error:
        raise ConfigurationError(f"cron {expression!r}: {error}") from None
    except StopIteration:
        raise ConfigurationError(f"cron {expression!r} is never due") from None
    return text


def cron_times(expression: str, zone: ZoneInfo, after: int) -> Iterator[int]:
    """Due times later than `after`, in microseconds, in order; for the next 50 years at least."""
    before = after
    # A fixed time in an hour that clocks show twice is found from both; it is due the first time.
    for moment in _library().CronSim(expression, from_micros(after).astimezone(zone)):
        due = to_micros(moment)
        if due > before:
            yield due
            before = due


def _library() -> Any:
    try:
        import cronsim
    except ImportError:
        raise MissingDriverError(
            "a cron expression needs the library cronsim: pip install 'pyworkflow-core[schedules]'"
        ) from None
    return cronsim
