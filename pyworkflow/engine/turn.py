"""A step's turn at the log of its run: what the step and the drive say to each other.

While a step has its turn the drive appends nothing. A transaction may lock the whole database
(SQLite's does), and a drive that waits for that lock could not record the end of the step that
holds it. And what the drive knows of the run stays true until the step has ended.
"""

from __future__ import annotations

import asyncio

from pyworkflow_core.payloads import StepCompleted
from pyworkflow_core.storage import Answer, Append


class Turn:
    """From the moment in which a step asks for it, until the step has ended or has undone its transaction.

    The step's task calls `wait`, `offer` and `end`; the drive calls `give`, `commit` and `refuse`.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._given: asyncio.Future[None] = loop.create_future()
        self._offered: asyncio.Future[StepCompleted | None] = loop.create_future()
        self._append: asyncio.Future[Append | None] = loop.create_future()
        self._answer: asyncio.Future[Answer | None] = loop.create_future()

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self._answer.done()

    async def wait(self) -> None:
        """Wait for the turn."""
        await self._given

    async def offer(self, report: StepCompleted) -> Append | None:
        """The append that has to be made within the transaction; None if the transaction is to be undone."""
        if not self._offered.done():
            self._offered.set_result(report)
        return await self._append

    def end(self, answer: Answer | None = None) -> None:
        """Say what became of the append, or that there was none. Done once; idempotent."""
        for future in (self._offered, self._answer):
            if not future.done():
                future.set_result(None if future is self._offered else answer)  # type: ignore[arg-type]

    async def give(self) -> StepCompleted | None:
        """Let the step begin, and wait for what it wants to record; None if that is nothing."""
        if not self._given.done():
            self._given.set_result(None)
        return await self._offered

    async def commit(self, append: Append) -> Answer | None:
        """Let the step make the append within its transaction; None if it came to nothing."""
        if not self._append.done():
            self._append.set_result(append)
        return await self._answer

    async def refuse(self) -> None:
        """Let the step undo its transaction, and wait until that is done."""
        self.cut_off()
        await self._answer

    def cut_off(self) -> None:
        """Nobody will make an append any more."""
        if not self._append.done():
            self._append.set_result(None)
