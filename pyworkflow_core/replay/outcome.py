"""How a workflow function ended."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct


class Outcome(Struct, frozen=True):
    """How the workflow function ended.

    Attributes:
        value: what it returned.
        error: what it raised; None if it returned.
        cancelled: whether it ended because a cancellation request was delivered.
    """

    value: Any = None
    error: BaseException | None = None
    cancelled: bool = False


def outcome_of(root: asyncio.Task[Any], *, cancelled: bool) -> Outcome:
    """The outcome of the function whose task has ended.

    Args:
        root: the task.
        cancelled: whether a cancellation request was delivered to it.
    """
    if root.cancelled():
        try:
            root.result()
        except asyncio.CancelledError as stopped:
            return Outcome(error=stopped, cancelled=cancelled)
    error = root.exception()
    return Outcome(error=error) if error is not None else Outcome(value=root.result())
