"""Running a drive and the steps that it begins without a task for each step.

Most steps of a busy run are short, and a task costs more than many of them. So a step begins in
the task that drives the run. If it ends without waiting for anything, the drive goes on in that
task, and nothing else happened. If it waits, the task becomes the step's own for good, and the
drive goes on in a new one: a step sees one task from its beginning to its end, and can be
cancelled, can use ``asyncio.timeout`` and ``TaskGroup``, as in any other task. (CPython 3.12
knows eager tasks, which are the same thing from the other side.)
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Coroutine, Generator
from typing import Any

Key = tuple[str, int]

_IN_A_ROW = 32
"""Steps that may end in the drive's task before others on the event loop have a turn."""


class Job:
    """A step that is to begin.

    Args:
        coro: executes it.
        tasks: where the task that it begins in is put, before it does.
        key: under what.
        name: what that task is called if the step keeps it.

    Attributes:
        waits: whether the step waited for something, and so has a task of its own.
    """

    __slots__ = ("context", "coro", "key", "name", "tasks", "waits")

    def __init__(
        self,
        coro: Coroutine[Any, Any, None],
        tasks: dict[Key, asyncio.Task[None] | None],
        key: Key,
        name: str,
    ) -> None:
        self.coro = coro
        self.tasks = tasks
        self.key = key
        self.name = name
        self.context = contextvars.copy_context()
        self.waits = False

    @types.coroutine
    def begin(self) -> Generator[Job, None, None]:
        """Begin it, from a drive that a `Pump` runs; goes on when the step has ended or waits."""
        yield self

    def begin_in_a_task(self) -> None:
        """Begin it in a task of its own."""
        self.waits = True
        task = asyncio.get_running_loop().create_task(self.coro, name=self.name, context=self.context)
        self.tasks[self.key] = task


class Pump:
    """Runs one drive, in a task that a step may take from it.

    Args:
        drive: the drive's coroutine; it may await `Job.begin`.
    """

    def __init__(self, drive: Coroutine[Any, Any, None]) -> None:
        self._drive = drive
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._raise: BaseException | None = None
        self._task = self._new_task()

    async def wait(self) -> None:
        """Wait until the drive has ended; a cancellation of the caller is passed on to it.

        Raises:
            BaseException: what the drive raised.
        """
        cancelled: asyncio.CancelledError | None = None
        while not self._ended.done():
            try:
                await asyncio.shield(self._ended)
            except asyncio.CancelledError as error:
                if self._ended.cancelled():
                    break
                # As a loop ends, every task is cancelled: this one and the drive's, which is told once.
                if cancelled is not None or not self._task.cancelling():
                    self._task.cancel(*error.args)
                cancelled = error
            except BaseException:
                break
        if cancelled is not None:
            if not self._ended.cancelled():
                self._ended.exception()  # it is known; the cancellation goes before
            raise cancelled
        self._ended.result()

    def _new_task(self) -> asyncio.Task[None]:
        task = self._loop.create_task(self._run(), context=self._context)
        task.add_done_callback(self._look_after)
        return task

    def _look_after(self, task: asyncio.Task[None]) -> None:
        """Go on with the drive if its task was cancelled before its first turn."""
        if task is self._task and not self._ended.done():
            self._raise = asyncio.CancelledError()
            self._task = self._new_task()

    def _end(self, error: BaseException | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            self._ended.cancel()
        else:
            self._ended.set_exception(error)

    async def _run(self) -> None:
        job = await self._until_a_step_waits()
        if job is not None:
            await job

    @types.coroutine
    def _until_a_step_waits(self) -> Generator[Any, None, Any]:
        """Run the drive, and steps, until the drive has ended or a step waits; the rest of that step."""
        drive, in_a_row = self._drive, 0
        error, self._raise = self._raise, None
        while True:
            try:
                what = drive.send(None) if error is None else drive.throw(error)
            except StopIteration:
                self._end(None)
                return None
            except (KeyboardInterrupt, SystemExit) as end:
                self._end(end)
                raise
            except BaseException as end:
                self._end(end)
                return None
            error = None
            if what.__class__ is not Job:
                in_a_row = 0
                try:
                    yield what
                except BaseException as thrown:
                    error = thrown
                continue
            task = self._task
            what.tasks[what.key] = task
            try:
                waits_for = what.context.run(what.coro.send, None)
            except StopIteration:
                if task.cancelling():
                    # The step asked for its task to be cancelled: that is not meant for the drive.
                    self._task = self._new_task()
                    return None
                in_a_row += 1
                if in_a_row >= _IN_A_ROW:
                    in_a_row = 0
                    try:
                        yield None
                    except BaseException as thrown:
                        error = thrown
                continue
            except BaseException:
                self._task = self._new_task()
                raise
            task.set_name(what.name)
            what.waits = True
            self._task = self._new_task()
            return _rest(what, waits_for)


@types.coroutine
def _rest(job: Job, waits_for: Any) -> Generator[Any, None, None]:
    """The rest of a step that waits for something, in its own context."""
    run, coro = job.context.run, job.coro
    while True:
        try:
            yield waits_for
        except BaseException as thrown:
            error: BaseException | None = thrown
        else:
            error = None
        try:
            waits_for = run(coro.send, None) if error is None else run(coro.throw, error)
        except StopIteration:
            return
