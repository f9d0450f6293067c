"""Sagas: steps that undo what was done, when a run fails or is asked to stop."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from types import TracebackType
from typing import Any, ParamSpec

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError, UnserializableValueError
from pyworkflow_core.replay import Call, Machine, StepCall, current_machine
from pyworkflow_core.replay.calls import Site, site_text
from pyworkflow_core.replay.requests import is_cancellation

from .definitions import StepDefinition
from .errors import CompensationError, StepOutsideWorkflowError

P = ParamSpec("P")


class Compensation(Struct, frozen=True):
    """A step that was registered, and its arguments as they were then, encoded."""

    step: StepDefinition[Any, Any]
    args: bytes
    site: Site


class Undoing:
    """What the sagas of a run are undoing now: nothing may cut it off.

    Attributes:
        tasks: the tasks that do it.
        calls: the steps that they wait for.
    """

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []
        self.calls: list[Call] = []


class Saga:
    """What was registered to be undone: by a run, or within one ``async with saga()`` block of it.

    Args:
        machine: the run.
        outer: the saga around this one; None for the run's own.
    """

    def __init__(self, machine: Machine, outer: Saga | None = None) -> None:
        self._machine = machine
        self._outer = outer
        self._registered: list[Compensation] = []
        self._under_way = outer is None
        self._was_entered = False
        self.undoing: Undoing = Undoing() if outer is None else outer.undoing

    # ---- for workflow code -----------------------------------------------------------

    def compensate(self, step: StepDefinition[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Register a step that undoes something; see the function `compensate`."""
        frame = sys._getframe(1)
        self.register(step, args, kwargs, (frame.f_code, frame.f_lasti))

    def confirm(self) -> None:
        """What was done so far stands: forget what was registered here."""
        self._registered.clear()

    async def __aenter__(self) -> Saga:
        if self._was_entered:
            raise CompensationError("a saga() is for one 'async with' block: call saga() again for another")
        self._was_entered = self._under_way = True
        current_saga.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        current_saga.set(self._outer)
        self._under_way = False
        if error is None:
            self.confirm()
        elif self.must_undo(error):
            self._machine.shields += 1
            try:
                instead = await self.undo(error)
            finally:
                self._machine.shields -= 1
            self._machine.deliver_cancellation()
            if instead is not None:
                raise instead from error

    # ---- for the engine --------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether anything is registered here, or in a saga around this one."""
        return bool(self._registered) or (self._outer is not None and self._outer.is_open)

    def register(self, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any], site: Site) -> None:
        """Keep a step and its arguments, as they are now.

        Raises:
            ConfigurationError: it is no step.
            TypeError: the arguments do not fit it.
            UnserializableValueError: an argument cannot be written to the log.
            CompensationError: the block that this belongs to has not begun, or has ended.
        """
        if isinstance(step, Call):
            raise ConfigurationError(
                f"compensate() takes a step and its arguments, not a call: write compensate({step.name}, …)"
            )
        if not isinstance(step, StepDefinition):
            raise ConfigurationError(
                f"compensate() takes a function decorated with @step, not {step!r}: only steps are durable"
            )
        if not self._under_way:
            raise CompensationError(
                f"step {step.name!r} was registered to compensate (at {site_text(site)}) in a saga() that is "
                "not under way: use it with 'async with', and let tasks that are begun in the block end there"
            )
        step._bind(args, kwargs)
        try:
            encoded = self._machine.codec.encode_args(args, kwargs, where=step.name, reach=step.reach)
        except UnserializableValueError:
            step._refuse_calls(args, kwargs)
            raise
        self._registered.append(Compensation(step, encoded, site))

    def must_undo(self, error: BaseException) -> bool:
        """Whether `error` ends what was done here, and not only this process's part of it."""
        # A run that leaves memory is closed by GeneratorExit; it has not failed.
        leaves = isinstance(error, (GeneratorExit, KeyboardInterrupt)) or self._machine.loop.dead
        return bool(self._registered) and not leaves

    async def undo(self, error: BaseException) -> CompensationError | None:
        """Run what was registered, the last first; the caller keeps requests to stop away meanwhile.

        What fails is noted on `error`, and the others are run nevertheless.

        Returns:
            The error to raise instead, where `error` is a cancellation and something failed.
        """
        undoing = asyncio.get_running_loop().create_task(self._undo(error), name="compensations")
        self.undoing.tasks.append(undoing)
        while not undoing.done():
            try:
                # Not even a timeout or a task group around it may leave this half done.
                await asyncio.shield(undoing)
            except asyncio.CancelledError:
                continue
        if not undoing.result() or not is_cancellation(error):
            return None
        instead = CompensationError(
            f"run {self._machine.run_id!r} was to be cancelled, and not all that it had done could be "
            "undone; the notes say what was not"
        )
        for note in getattr(error, "__notes__", ()):
            instead.add_note(note)
        return instead

    async def _undo(self, error: BaseException) -> bool:
        failed = False
        while self._registered:
            last = self._registered.pop()
            call = StepCall(
                self._machine,
                last.step.name,
                last.args,
                definition=last.step,
                reach=last.step.reach,
                site=last.site,
            )
            self.undoing.calls.append(call)
            try:
                await call
            except (Exception, asyncio.CancelledError) as problem:
                why = f"{type(problem).__name__}: {problem}"[:500]
                error.add_note(f"not compensated: {call.describe()}: {why}")
                failed = True
            finally:
                self.undoing.calls.remove(call)
        return failed


current_saga: contextvars.ContextVar[Saga | None] = contextvars.ContextVar("pyworkflow saga", default=None)


def compensate(step: StepDefinition[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Register a step that undoes something, for the case that the run does not succeed.

    If the workflow function raises, or is cancelled, the steps that were registered are run, the
    last first, before the run ends. Each is an ordinary step: recorded, and tried again as its
    own policy says. One that fails for good is noted on the run's error, and the others run.
    When the function returns, nothing is undone. In an ``async with saga()`` block, the step
    belongs to the block.

    Args:
        step: a function decorated with ``@step``.
        *args: its positional arguments; they are kept as they are now.
        **kwargs: its keyword arguments.

    Raises:
        ConfigurationError: it is no step.
        TypeError: the arguments do not fit it.
        UnserializableValueError: an argument cannot be written to the log.
        StepOutsideWorkflowError: no workflow runs here.
    """
    frame = sys._getframe(1)
    _saga_here("compensate()").register(step, args, kwargs, (frame.f_code, frame.f_lasti))


def saga() -> Saga:
    """A part of a workflow that succeeds or is undone by itself; use it with ``async with``.

    If the block is left by an error or a cancellation, what was registered in it is undone, the
    last first, and the error goes on. If it comes to its end, or `Saga.confirm` is called, what
    was done stands, whatever happens to the run later.

    Raises:
        StepOutsideWorkflowError: no workflow runs here.
    """
    outer = _saga_here("saga()")
    machine = current_machine.get()
    assert machine is not None
    return Saga(machine, outer)


def _saga_here(what: str) -> Saga:
    found = current_saga.get()
    if found is None or current_machine.get() is None:
        raise StepOutsideWorkflowError(
            f"{what} was called outside a workflow: it belongs into a function decorated with @workflow"
        )
    return found
