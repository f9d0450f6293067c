"""The time that checks live in: it stands still until a check moves it."""

from __future__ import annotations

START = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z in microseconds: a moment that looks like one in a stored row."""


class Clock:
    """A clock in microseconds since 1970 that only `advance` moves."""

    def __init__(self, now: int = START) -> None:
        self._now = now

    def now(self) -> int:
        """The present moment, in microseconds since 1970."""
        return self._now

    def advance(self, by: int) -> None:
        """Let `by` microseconds pass."""
        self._now += by
