"""How a workflow function ended."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct

from .requests import is_cancellation


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


def outcome_of(root: asyncio.Task[Any], returned: list[Any], *, cancelled: bool) -> Outcome:
    """The outcome of the function whose task has ended.

    Args:
        root: the task.
        returned: the one value that the function returned; empty if it raised.
        cancelled: whether a cancellation request was delivered to it.
    """
    if cancelled and returned:
        return Outcome(value=returned[0])  # a request that came as it returned never reached the code
    if root.cancelled():
        try:
            root.result()
        except asyncio.CancelledError as stopped:
            return Outcome(error=stopped, cancelled=cancelled)
    error = root.exception()
    if cancelled and is_cancellation(error):
        return Outcome(error=asyncio.CancelledError(), cancelled=True)
    return Outcome(error=error) if error is not None else Outcome(value=root.result())
