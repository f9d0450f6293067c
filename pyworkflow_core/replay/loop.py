"""The deterministic event loop that workflow code runs on.

It is an `asyncio.AbstractEventLoop` with a first-in, first-out ready queue and timers whose
due times follow from the workflow's own clock. It never waits: `drain` runs what is ready
and returns. Tasks and futures hash by their run and the order of their creation, so that sets of
them iterate alike in every process (by address, ``asyncio.wait``'s pending set would not).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, NoReturn
from zlib import crc32

from msgspec import Struct

if TYPE_CHECKING:
    from .calls import Call
    from .machine import Machine

_PRUNE_AT = 64
_CLOSINGS = 100
_LONGEST_CHAIN = 1000

# Coroutines that swallow everything and go on. They are kept, because the garbage collector
# would run them in any thread.
_unclosable: list[Any] = []


current_machine: contextvars.ContextVar[Machine | None] = contextvars.ContextVar(
    "pyworkflow machine", default=None
)
"""The machine whose code runs: set for the tasks of a workflow, and nowhere else."""


class WorkflowFuture(asyncio.Future[Any]):
    """A future that hashes by run and creation order."""

    __slots__ = ("order",)
    order: int

    def __hash__(self) -> int:
        return self.order

    def __eq__(self, other: object) -> bool:
        return self is other


class WorkflowTask(asyncio.Task[Any]):
    """A task that hashes by run and creation order."""

    order: int

    def __hash__(self) -> int:
        return self.order

    def __eq__(self, other: object) -> bool:
        return self is other

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel, and let the fast path of replay know that there are cancellations."""
        loop = self.get_loop()
        assert isinstance(loop, WorkflowLoop)
        loop.cancels = True
        return super().cancel(msg)


class HookTask(WorkflowTask):
    """A task around the call of a hook: the answer is taken when somebody asks the task for it."""

    hook: Any

    def __await__(self) -> Generator[Any, None, Any]:
        value = yield from super().__await__()
        self.hook.take()
        return value

    def result(self) -> Any:
        """The answer; it counts as taken."""
        value = super().result()
        self.hook.take()
        return value


class Handle(Struct):
    """A callback in the ready queue."""

    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: contextvars.Context
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Do not run it."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.is_cancelled


class Timer(asyncio.TimerHandle):
    """A timer of asyncio's own: ``sleep``, ``timeout``, ``wait_for``, ``call_later``."""

    __slots__ = ("due", "ordinal")
    due: int
    ordinal: int


class WorkflowLoop(asyncio.AbstractEventLoop):
    """Runs the coroutines of one run.

    Attributes:
        machine: the machine that owns the loop.
        ready: callbacks to run, oldest first.
        problems: what asyncio reported to the loop's exception handler.
        dead: whether the run was dropped; every command is refused then.
        cancels: whether any task was ever cancelled.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.ready: deque[Handle] = deque()
        self.problems: list[dict[str, Any]] = []
        self.dead = False
        self.cancels = False
        # So that tasks of many runs differ: asyncio keeps those of all loops in one set.
        self._salt = crc32(machine.run_id.encode(errors="surrogatepass")) << 20
        self._created = 0
        self._tasks: list[WorkflowTask] = []
        self._prune_at = _PRUNE_AT
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._hooks = self._generators.append, self._finalize

    # ---- the part of the interface that workflow code may use ----------------------

    def get_debug(self) -> bool:
        """Always false: debug mode would add work that differs between runs."""
        return False

    def is_running(self) -> bool:
        """True while the run lives."""
        return not self.dead

    def is_closed(self) -> bool:
        """True once the run was dropped."""
        return self.dead

    def time(self) -> float:
        """The workflow's own time: seconds since 1970 of the event delivered last."""
        return self.machine.now / 1e6

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        """Run the callback after those that are ready already."""
        handle = Handle(callback, args, context if context is not None else contextvars.copy_context())
        self.ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run the callback `delay` seconds of workflow time from now; the timer is durable."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run the callback at a moment of workflow time; the timer is durable."""
        self.refuse_if_dead()
        timer = Timer(when, callback, args, self, context)
        timer.due = round(when * 1e6)
        timer.ordinal = 0
        if timer.due <= self.machine.now:
            self.call_soon(self._run_timer, timer, context=context)
        else:
            self.machine.add_timer(timer)
        return timer

    def _run_timer(self, timer: Timer) -> None:
        if not timer.cancelled():
            timer._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, Timer) and not self.dead:
            self.machine.timers.pop(handle.ordinal, None)

    def create_future(self) -> WorkflowFuture:
        """A future of this loop."""
        self.refuse_if_dead()
        future = WorkflowFuture(loop=self)
        self._created += 1
        future.order = self._salt + self._created
        return future

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any] | Call,
        *,
        name: object = None,
        context: contextvars.Context | None = None,
        **_: Any,
    ) -> WorkflowTask:
        """Run a coroutine, or a step that was called, as a task of the workflow."""
        self.refuse_if_dead(coro)
        _refuse_as_completed(coro)
        cls: type[WorkflowTask] = WorkflowTask
        if not isinstance(coro, (Coroutine, Generator)):
            hook: Any = coro
            cls = getattr(hook, "TASK", cls)
            coro = _await(hook)
        self._created = order = self._created + 1
        # The hash is needed while __init__ runs: asyncio puts the task into a set.
        task = cls.__new__(cls)
        task.order = self._salt + order
        if isinstance(task, HookTask):
            task.hook = hook
            hook.in_a_task = True
        task.__init__(coro, loop=self, name=str(name) if name else f"workflow-task-{order}", context=context)  # type: ignore[misc]
        tasks = self._tasks
        tasks.append(task)
        if len(tasks) >= self._prune_at:
            self._tasks = [t for t in tasks if not t.done()]
            self._prune_at = 2 * len(self._tasks) + _PRUNE_AT
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what asyncio reports, for the engine's log; a dropped run reports nothing."""
        if not self.dead:
            self.problems.append(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Same as `call_exception_handler`."""
        self.call_exception_handler(context)

    # ---- driving -------------------------------------------------------------------

    def drain(self) -> None:
        """Run what is ready until nothing is. The caller holds `entered`."""
        ready = self.ready
        while ready:
            handle = ready.popleft()
            if handle.is_cancelled:
                continue
            try:
                handle.context.run(handle.callback, *handle.args)
            except KeyboardInterrupt:
                raise
            except SystemExit:
                continue  # its task keeps it; it ends that, not the process and its other runs
            except BaseException as error:
                self.call_exception_handler({"message": "a callback raised", "exception": error})

    def tasks(self) -> list[WorkflowTask]:
        """The run's tasks that have not ended, in the order of their creation."""
        return [task for task in self._tasks if not task.done()]

    def enter(self) -> tuple[Any, ...]:
        """Make this the thread's running loop; `leave` takes what it returns.

        The host's current task is put aside meanwhile: from CPython 3.14 on a thread has one
        current task, and refuses a nested one.
        """
        host = events._get_running_loop()
        task = asyncio.current_task(host) if host is not None else None
        if task is not None and host is not None:
            asyncio.tasks._leave_task(host, task)
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(*self._hooks)
        return host, task, hooks

    def leave(self, entered: tuple[Any, ...]) -> None:
        """Undo `enter`."""
        host, task, hooks = entered
        sys.set_asyncgen_hooks(*hooks)
        events._set_running_loop(host)
        if task is not None:
            asyncio.tasks._enter_task(host, task)

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self.dead:
            self.create_task(generator.aclose())

    def evict(self) -> None:
        """Drop the run: close its coroutines in creation order, refusing every command.

        Left to the garbage collector, ``finally:`` blocks would run in whichever thread it
        happens to collect in.
        """
        if self.dead:
            return
        entered = self.enter()
        try:
            self.dead = True
            self.ready.clear()
            for task in sorted(self._tasks, key=lambda t: t.order):
                if not task.done():
                    _close(task.get_coro())
        finally:
            self._tasks.clear()
            self._generators.clear()
            self.ready.clear()
            self.leave(entered)

    def refuse_if_dead(self, coro: Any = None) -> None:
        """Refuse a command of a run that was dropped, and close `coro`."""
        if self.dead:
            if coro is not None:
                _close(coro)
            raise RuntimeError("the run was suspended and left memory: no command can be issued from here")

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> NoReturn:
        """Refused: threads are not reproducible."""
        if isinstance(func, functools.partial) and func.args:
            func = func.args[0]  # asyncio.to_thread wraps what it was given
        raise RuntimeError(
            f"workflow code cannot run {getattr(func, '__name__', func)!r} in a thread, because a replay "
            "would not reproduce it: make it a @step"
        )

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, **_: Any) -> NoReturn:  # type: ignore[override]
        """Refused: workflow code runs in one thread."""
        raise RuntimeError("workflow code runs in one thread: do work that calls back from others in a @step")


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(self: WorkflowLoop, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            f"workflow code called the event loop's {name}(): input and output are not reproducible; "
            "do them in a @step"
        )

    refuse.__name__ = name
    refuse.__doc__ = "Refused: input and output belong into a step."
    return refuse


for _name in dir(asyncio.AbstractEventLoop):
    if not _name.startswith("_") and _name not in WorkflowLoop.__dict__:
        setattr(WorkflowLoop, _name, _refused(_name))
del _name


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _close(coro: Any) -> None:
    # Whatever the clean-up of a dropped run raises goes nowhere. One that awaits something all
    # the same is closed again, with those that it awaited, until it has come to its end.
    chain: list[Any] = []
    while hasattr(coro, "close") and len(chain) < _LONGEST_CHAIN:
        chain.append(coro)
        coro = getattr(coro, "cr_await", None)
    _unclosable.extend(each for each in chain if not _ends(each))


def _ends(coro: Any) -> bool:
    for _ in range(_CLOSINGS):
        try:
            coro.close()
        except BaseException:
            if getattr(coro, "cr_frame", None) is None:
                return True
        else:
            return True
    return False


def _refuse_as_completed(coro: Any) -> None:
    """`as_completed` puts coroutines into a set, which orders them by address."""
    frame = sys._getframe(2)
    for _ in range(3):
        code = frame.f_code
        if code.co_filename != asyncio.tasks.__file__:
            return
        if "as_completed" in code.co_qualname or "_AsCompletedIterator" in code.co_qualname:
            _close(coro)
            raise RuntimeError(
                "asyncio.as_completed over coroutines starts them in an order that differs between "
                "processes: make tasks first, as in as_completed([create_task(c) for c in coros])"
            )
        if frame.f_back is None:
            return
        frame = frame.f_back
