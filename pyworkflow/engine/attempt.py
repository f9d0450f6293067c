"""One attempt of a step, and the transaction that it may share with its completion."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pyworkflow_core.errors import OutcomeUnknown
from pyworkflow_core.ids import derive_run_id
from pyworkflow_core.payloads import ChildWorkflowStarted, Payload, StepCompleted, WorkflowStarted
from pyworkflow_core.replay import StepCall, current_machine, incarnation_of
from pyworkflow_core.storage import Answer, Append, Committed, Conflict, StorageBackend, Unknown

from ..errors import StepTransactionError
from .engine import Engine
from .entries import Entries
from .notebook import Notebook
from .turn import Turn

_making = threading.Lock()


class _Undo(Exception):
    """Thrown into a transaction to undo it."""


@asynccontextmanager
async def step_transaction() -> AsyncIterator[Any]:
    """Write to your own tables in the transaction in which the step's completion is recorded.

    In an ``async def`` step, on a storage in a SQL database: what is written on the connection
    is there if, and only if, the log says that the step completed. The transaction commits
    when the step has returned; an error in the step, or in the block, undoes it, and a further
    attempt begins a new one. Until it ends nothing else is recorded for the run.

    Returns:
        A context manager; ``async with step_transaction() as connection`` gives SQLAlchemy's
        `AsyncConnection`.

    Raises:
        StepTransactionError: not in a step, in a step written ``def``, for the second time in one
            attempt, or on a storage that has no transactions.
        StorageUnavailable: the database cannot be reached.
    """
    attempt = current_attempt.get()
    if attempt is None or current_machine.get() is not None:
        raise StepTransactionError(
            "step_transaction() was called outside a step: it belongs into an async function decorated with "
            "@step, while a workflow runs that"
        )
    async with attempt.transaction() as connection:
        yield connection


class Attempt:
    """One attempt of a step.

    Args:
        call: the step's call.
        engine: what the process's runs share.
        ask: asks for a turn at the run's log.
        start_child: has a child recorded and created.
        entries: takes what the step wants in the run's log.

    Attributes:
        call: the step's call.
        engine: what the process's runs share.
        turn: the turn at the run's log that it asked for.
        stopped: whether nobody wants what it does any more.
        stop_reason: why, in words; None where a request to stop gave no reason.
    """

    turn: Turn | None = None
    stopped = False
    stop_reason: str | None = None
    _notebook: Notebook | None = None
    _children = 0
    _signals = 0
    _context: AbstractAsyncContextManager[Any] | None = None
    _connection: Any = None
    _left = False
    _over = False
    _answer: Answer | None = None

    def __init__(
        self,
        call: StepCall,
        engine: Engine,
        ask: Callable[[], Turn],
        start_child: Callable[[ChildWorkflowStarted], Awaitable[None]],
        entries: Entries,
    ) -> None:
        self.call = call
        self.engine = engine
        self._entries = entries
        self._began = call.attempt, asyncio.get_running_loop(), threading.get_ident()
        self._storage: StorageBackend = engine.storage
        self._ask = ask
        self._start_child = start_child

    @property
    def notebook(self) -> Notebook:
        """What the attempt records while it runs; most record nothing."""
        if self._notebook is None:
            with _making:  # threads of one step may ask at once
                if self._notebook is None:
                    self._notebook = Notebook(self.call, self.engine, self._entries, *self._began)
                    self._notebook.over = self._over
        return self._notebook

    def with_details(self, report: Payload | None) -> Payload | None:
        """The report of the attempt's end, with details of heartbeats that are not in the log yet."""
        return report if self._notebook is None else self._notebook.with_details(report)

    # ---- for the step ----------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """See `step_transaction`."""
        self._check()
        turn = self.turn = self._ask()
        try:
            await turn.wait()
            context: AbstractAsyncContextManager[Any] = self._storage.transaction()  # type: ignore[attr-defined]
            self._connection = await context.__aenter__()
            self._context = context
            yield self._connection
        except BaseException:
            await self._undo()
            turn.end()  # the step may go on for a while without it
            raise
        self._left = True

    async def start_child(self, start: WorkflowStarted, *, abandon: bool, at: str) -> str:
        """Start a child of the run; a further attempt of the step gets the same children again.

        Returns:
            The child's run id.
        """
        call = self.call
        self._children += 1
        step = f"{call.name}#{call.ordinal}"
        machine = call.machine
        run_id = derive_run_id(
            "child", machine.run_id, incarnation_of(machine, call.order), "step", step, str(self._children)
        )
        await self._start_child(ChildWorkflowStarted(start.workflow, 0, run_id, start, abandon, step, at))
        return run_id

    async def start_run(self, run_id: str, start: WorkflowStarted) -> None:
        """Create a run that is nobody's child; the step's run notes that it did, and lets it alone."""
        step = f"{self.call.name}#{self.call.ordinal}"
        await self._start_child(ChildWorkflowStarted(start.workflow, 0, run_id, start, True, step))

    def derive_id(self) -> str:
        """The id of the next signal that the step sends; a further attempt gets the same ones again."""
        self._signals += 1
        call = self.call
        machine, step = call.machine, f"{call.name}#{call.ordinal}"
        # Of the call: an attempt after the run was reopened is a further one, too.
        life = incarnation_of(machine, call.order)
        return derive_run_id("signal", machine.run_id, life, "step", step, str(self._signals))

    def _check(self) -> None:
        name = self.call.name
        if not self.call.definition.is_async:
            raise StepTransactionError(
                f"step {name!r} runs in a thread, where it cannot have a transaction: write it 'async def'"
            )
        if self._over:
            raise StepTransactionError(
                f"step {name!r} has ended, and a task that it left behind asks for a transaction: await such "
                "tasks in the step"
            )
        if self.turn is not None:
            raise StepTransactionError(
                f"step {name!r} has had the transaction of this attempt: one step_transaction() block holds "
                "all that commits with the step. Put it into that block, or into a step of its own."
            )
        if self.engine.transient:
            raise StepTransactionError(
                f"step {name!r} asks for a transaction with the log, and its run has none: it was started "
                "with durable=False"
            )
        if not self._storage.capabilities.transactions or not hasattr(self._storage, "transaction"):
            raise StepTransactionError(
                f"step {name!r} asks for a transaction, and {self._storage!r} has none to share: keep the "
                "runs in the database that holds your tables (sqlite:///…, postgresql://…, mysql://…)"
            )

    @property
    def has_its_turn(self) -> bool:
        """Whether nothing else is recorded until the step has ended: it is in its transaction."""
        return self.turn is not None and not self.turn.has_ended

    # ---- for the engine --------------------------------------------------------------

    def stop(self, reason: str | None) -> None:
        """Let the step learn that nobody wants it any more, also where it runs in a thread."""
        if not self.stopped:
            self.stop_reason = reason
            self.stopped = True

    async def finish(
        self, report: Payload | None, failed: Callable[[BaseException], Payload]
    ) -> Payload | None:
        """End the transaction as the step ended: commit it with the completion, or undo it.

        Args:
            report: how the step ended; None if it was cancelled.
            failed: makes the report of an error.

        Returns:
            What is still to be recorded; None if nothing is.
        """
        self._over = True
        if self._context is None:
            return report
        if not isinstance(report, StepCompleted):
            await self._undo()
            return report
        if not self._left:
            await self._undo()
            return failed(
                StepTransactionError(
                    f"step {self.call.name!r} returned while a task of its own was inside "
                    "step_transaction(): await that task in the step"
                )
            )
        try:
            await self._commit(report)
        except Exception as error:
            return failed(error)
        return None

    async def _commit(self, report: StepCompleted) -> None:
        """Make the append that the drive gives for `report`, and commit.

        Raises:
            Exception: the database refused, and nothing of the transaction is there.
        """
        assert self.turn is not None
        append = await self.turn.offer(report)
        if append is None:
            await self._undo()
            return
        # So it is if a cancellation comes in between.
        self._answer = Unknown(append.run_id, asyncio.CancelledError())
        try:
            self._answer = await self._append(append)
        except OutcomeUnknown as error:
            self._answer = Unknown(append.run_id, error)
        except Exception:
            self._answer = Conflict(append.run_id, append.expected)
            await self._undo()
            raise

    async def _append(self, append: Append) -> Answer:
        (answer,) = await self._storage.commit([append], within=self._connection)
        if not isinstance(answer, Committed):
            await self._undo()
            return answer
        context, self._context = self._context, None
        assert context is not None
        await context.__aexit__(None, None, None)
        return answer

    async def _undo(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            undo = _Undo()
            await context.__aexit__(_Undo, undo, undo.__traceback__)

    def close(self) -> None:
        """A thread that the step left behind may learn that the attempt is over."""
        self._over = True
        if self._notebook is not None:
            self._notebook.close()
        if not self.stopped:
            self.stop_reason = "its attempt is over: it ended, was cut off or took longer than its timeout"
            self.stopped = True

    async def undo(self) -> None:
        """Undo a transaction that was not ended."""
        if self._context is not None:
            await self._undo()

    def end_turn(self) -> None:
        """Let the drive go on. The last of all: its next look finds the step's report, or no such step."""
        if self.turn is not None:
            self.turn.end(self._answer)


current_attempt: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar(
    "pyworkflow_current_attempt", default=None
)
