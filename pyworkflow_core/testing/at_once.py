"""Calls made at once, whose failure is raised as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .broken import LawBroken


async def at_once(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """What the calls return. A failure cancels the others and is raised, a broken law first of all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failed:
        broken = [error for error in failed.exceptions if isinstance(error, LawBroken)]
        raise (broken or failed.exceptions)[0] from None
    return [task.result() for task in tasks]
