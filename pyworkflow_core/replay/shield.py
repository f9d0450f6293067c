"""Shielding a part of a workflow from cancellation."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .machine import Machine


class Shield:
    """``async with shield():`` - a cancellation request waits until the block is left.

    While any task of the run is inside such a block, a request is kept; it is delivered at
    the first pyworkflow await after the last block.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def __aenter__(self) -> None:
        self._machine.shields += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._machine.shields -= 1
        self._machine.deliver_cancellation()
