"""What workflow code awaits: calls of steps, sleeps and hooks.

A call gets its ordinal when it is made and becomes a command when it is first awaited (or
given to ``gather``, ``wait``, ``shield``, ``create_task``). It looks like a future to
asyncio, so that these take it as it is, without a task around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import CodeType
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from ..codec import EMPTY_REACH, Reach
from ..errors import CodecError
from ..payloads import (
    Payload,
    SleepCancelled,
    SleepStarted,
    StepCancelled,
    StepCompleted,
    StepStarted,
)
from .fingerprint import MAX_INLINE_BYTES, fingerprint
from .requests import request_to_stop

if TYPE_CHECKING:
    from .machine import Machine

CANCEL_REQUEST = "pyworkflow: a cancellation request was delivered to the run"

Site = tuple[CodeType, int]
"""Where a call was made: code object and index of the last instruction."""


# By identity: a code object's own hash reads all of it.
_sites: dict[tuple[int, int], tuple[CodeType, str]] = {}
_MOST_SITES = 10_000


def site_text(site: Site | None) -> str:
    """The call site as ``file.py:line``; empty where it is not known."""
    if site is None:
        return ""
    code, last = site
    known = _sites.get((id(code), last))
    if known is not None and known[0] is code:
        return known[1]
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= last < end and number is not None:
            line = number
            break
    text = f"{code.co_filename.rpartition('/')[2]}:{line}"
    if len(_sites) > _MOST_SITES:
        _sites.clear()
    _sites[id(code), last] = (code, text)
    return text


class Call(asyncio.Future[Any]):
    """One command of the workflow, awaitable once or often.

    It is a future whose ``__init__`` runs only when it becomes a command: a replayed step is
    mostly answered before that, and then costs no more than an object.

    Attributes:
        machine: the machine it belongs to.
        name: the registered name of what is called.
        ordinal: the how-manieth call of that name.
        order: the how-manieth call of the run.
        site: where the code called it.
        begun: whether it became a command.
        recorded: whether its command event is in the log.
        settled: whether an answer was delivered, or nobody waits any more.
    """

    __slots__ = ("begun", "machine", "name", "order", "ordinal", "recorded", "settled", "site")

    KIND = "call"
    weight = 0  # bytes that its command's event takes beyond the usual
    is_done_at_once = False  # whether the code goes on without waiting for an answer

    def __init__(self, machine: Machine, name: str, ordinal: int, site: Site | None) -> None:
        self.machine = machine
        self.name = name
        self.ordinal = ordinal
        self.site = site
        self.begun = self.recorded = self.settled = False
        machine.orders = self.order = machine.orders + 1
        machine.unawaited[self.order] = self

    # ---- what the machine asks -----------------------------------------------------

    def started(self) -> Payload:
        """The command event's payload."""
        raise NotImplementedError

    def cancelled_payload(self) -> Payload:
        """The payload that says that nobody waits any more."""
        raise NotImplementedError

    def mismatch(self, payload: Any) -> str:
        """``""`` if the recorded command is this one, else what differs: ``arguments`` or ``step``."""
        raise NotImplementedError

    def describe(self) -> str:
        """For people: kind, name, ordinal and call site."""
        at = site_text(self.site)
        return f"{self.KIND} {self.name!r} #{self.ordinal}" + (f" (called at {at})" if at else "")

    def answer(self, value: Any) -> None:
        """Deliver a result to whoever waits."""
        self.settled = True
        if not self.done():
            self.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Deliver an error to whoever waits."""
        self.settled = True
        if isinstance(error, StopIteration):  # which no future takes, and no coroutine may raise
            error, stop = RuntimeError(f"{self.describe()} raised {type(error).__name__}"), error
            error.__cause__ = stop
        if not self.done():
            self.set_exception(error)

    # ---- what workflow code and asyncio ask ----------------------------------------

    @property
    def _asyncio_future_blocking(self) -> bool:
        """What asyncio asks for before it takes an object as a future; so the call begins."""
        if not self.begun:
            self.issue()
        return _get_blocking(self)  # type: ignore[no-any-return]

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, value: bool) -> None:
        _set_blocking(self, value)

    def issue(self) -> None:
        """Become a command, the first time."""
        if not self.begun:
            machine = self.machine
            machine.loop.refuse_if_dead()
            self.begun = True
            _init_future(self, loop=machine.loop)
            del machine.unawaited[self.order]
            machine.pending.append((self, False))

    def __await__(self) -> Generator[Any, None, Any]:
        self.issue()
        try:
            return (yield from _await_future(self))
        except asyncio.CancelledError as error:
            if error.args == (CANCEL_REQUEST,):
                raise request_to_stop(self.machine) from None
            raise

    __iter__ = __await__

    def __hash__(self) -> int:
        return self.order

    def __eq__(self, other: object) -> bool:
        return self is other

    def add_done_callback(self, *args: Any, **kwargs: Any) -> None:
        """As a future's; makes the call a command (``asyncio.wait`` asks for nothing before)."""
        if not self.begun:
            self.issue()
        _add_callback(self, *args, **kwargs)

    def get_loop(self) -> Any:
        """The workflow's loop."""
        return self.machine.loop

    def cancel(self, msg: Any | None = None) -> bool:
        """Stop waiting for the answer; the machine records that."""
        self.issue()
        cancelled = super().cancel(msg)
        if cancelled and not self.settled:
            self.settled = True
            self.machine.abandon(self)
        return cancelled

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


_init_future: Any = asyncio.Future.__init__
_add_callback: Any = asyncio.Future.add_done_callback
_await_future: Any = asyncio.Future.__await__
_get_blocking: Any = asyncio.Future.__dict__["_asyncio_future_blocking"].__get__
_set_blocking: Any = asyncio.Future.__dict__["_asyncio_future_blocking"].__set__


class StepCall(Call):
    """A call of a step.

    Attributes:
        definition: the front door's step definition; the machine does not look into it.
        args: the encoded arguments, ``[args, kwargs]``.
        print: their fingerprint.
        reach: types that its result may hold.
        attempt: the attempt begun last; 0 before the first.
        failures: attempts that failed; those lost to a crash are not among them.
        retry_at: when the next attempt is due; None while one runs, or none was needed.
        context: the step context as it was when the call became a command.
        value: the answer, where the fast path of replay gave it without a future.
    """

    __slots__ = (
        "args",
        "attempt",
        "context",
        "definition",
        "failures",
        "print",
        "reach",
        "retry_at",
        "value",
    )

    KIND = "step"

    def __init__(
        self,
        machine: Machine,
        name: str,
        args: bytes,
        *,
        definition: Any = None,
        reach: Reach = EMPTY_REACH,
        site: Site | None = None,
    ) -> None:
        # Written out, not delegated: this runs once for every replayed step.
        self.machine = machine
        self.name = name
        ordinals = machine.step_ordinals
        ordinals[name] = self.ordinal = ordinals.get(name, 0) + 1
        self.site = site
        self.begun = self.recorded = self.settled = False
        machine.orders = order = machine.orders + 1
        self.order = order
        machine.unawaited[order] = self
        self.args = args
        self.print = args if len(args) <= MAX_INLINE_BYTES else fingerprint(args)
        self.definition = definition
        self.reach = reach
        self.attempt = self.failures = 0
        self.retry_at: int | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        machine = self.machine
        # The fast path of replay: nothing else can run, and the next two events of the history
        # are this call and its answer. It is what the slow path would do, without the detour.
        pos = machine.pos
        if pos + 1 < machine.end and not self.begun and not machine.loop.ready and not machine.pending:
            history = machine.history
            started = history[pos].data
            if (
                started.__class__ is StepStarted
                and started.ordinal == self.ordinal
                and started.step == self.name
                and started.attempt == 1
                and bytes(started.args) == self.print
            ):
                envelope = history[pos + 1]
                completed = envelope.data
                if (
                    completed.__class__ is StepCompleted
                    and completed.ordinal == self.ordinal
                    and completed.step == self.name
                    and not (machine.loop.cancels and _cancel_is_pending(machine))
                ):
                    try:
                        self.value = value = machine.decode(completed.result, reach=self.reach)
                    except CodecError:
                        pass  # the slow path fails likewise, where it is the replay's failure
                    else:
                        machine.pos = pos + 2
                        if envelope.at > machine.now:
                            machine.now = envelope.at
                        self.recorded = self.settled = True
                        del machine.unawaited[self.order]
                        machine.recoveries = 0
                        self.__class__ = _AnsweredStep
                        return value
        if not self.begun:
            self.issue()
        try:
            return (yield from _await_future(self))
        except asyncio.CancelledError as error:
            if error.args == (CANCEL_REQUEST,):
                raise request_to_stop(machine) from None
            raise

    __iter__ = __await__

    def issue(self) -> None:
        """Become a command, the first time."""
        if not self.begun and self.settled:
            # The fast path answered it without a future, and somebody awaits it once more.
            self.begun = True
            _init_future(self, loop=self.machine.loop)
            self.set_result(self.value)
        elif not self.begun:
            machine = self.machine
            loop = machine.loop
            if loop.dead:
                loop.refuse_if_dead()
            self.context = machine.notebook.context
            self.begun = True
            _init_future(self, loop=loop)
            del machine.unawaited[self.order]
            machine.pending.append((self, False))
            self.__class__ = _BegunStep

    def started(self) -> Payload:
        """The command event's payload."""
        return StepStarted(self.name, self.ordinal, Raw(self.print), 1, site_text(self.site))

    def cancelled_payload(self) -> Payload:
        """The payload that says that nobody waits any more."""
        return StepCancelled(self.name, self.ordinal)

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command."""
        if (
            payload.__class__ is not StepStarted
            or payload.step != self.name
            or payload.ordinal != self.ordinal
        ):
            return "step"
        return "" if bytes(payload.args) == self.print else "arguments"

    def describe(self) -> str:
        """For people: name, ordinal, arguments and call site."""
        at = site_text(self.site)
        args = self.print.decode(errors="replace")
        return f"step {self.name!r} #{self.ordinal} with {args[:200]}" + (f" (called at {at})" if at else "")


def count_call(ordinals: dict[str, int], name: str) -> int:
    """The how-manieth call of `name` this is."""
    ordinals[name] = ordinal = ordinals.get(name, 0) + 1
    return ordinal


class _BegunStep(StepCall):
    """A step that is a command: asyncio's questions go straight to the future that it is."""

    __slots__ = ()

    _asyncio_future_blocking = asyncio.Future.__dict__["_asyncio_future_blocking"]
    add_done_callback = asyncio.Future.add_done_callback
    get_loop = asyncio.Future.get_loop

    def issue(self) -> None:
        """Nothing: it has become a command."""


class _AnsweredStep(StepCall):
    """A step that the fast path answered; it becomes the future that it is otherwise when asked."""

    __slots__ = ()

    def done(self) -> bool:
        """True."""
        return True

    def result(self) -> Any:
        """The answer."""
        return self.value

    def exception(self) -> None:
        """None: only answers take the fast path."""


def _cancel_is_pending(machine: Machine) -> bool:
    """Whether the task that runs now is about to be cancelled at its next suspension."""
    task = asyncio.current_task(machine.loop)
    return task is not None and bool(task._must_cancel)  # type: ignore[attr-defined]


class SleepCall(Call):
    """A durable sleep.

    Attributes:
        duration: microseconds; None where a moment was given.
        wake_at: when it ends.
    """

    __slots__ = ("duration", "wake_at")

    KIND = "sleep"

    def __init__(
        self,
        machine: Machine,
        name: str,
        *,
        duration: int | None = None,
        until: int | None = None,
        site: Site | None = None,
    ) -> None:
        super().__init__(machine, name, count_call(machine.sleep_ordinals, name), site)
        self.duration = duration
        self.wake_at = until if until is not None else 0

    def issue(self) -> None:
        """Become a command; the sleep begins now, in workflow time."""
        if not self.begun and self.duration is not None:
            self.wake_at = self.machine.now + self.duration
        super().issue()

    def started(self) -> Payload:
        """The command event's payload."""
        return SleepStarted(self.name, self.ordinal, self.duration, self.wake_at, site_text(self.site))

    def cancelled_payload(self) -> Payload:
        """The payload that says that nobody waits any more."""
        return SleepCancelled(self.name, self.ordinal)

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command."""
        if (
            payload.__class__ is not SleepStarted
            or payload.sleep != self.name
            or payload.ordinal != self.ordinal
        ):
            return "step"
        return "" if (payload.duration, payload.wake_at) == (self.duration, self.wake_at) else "arguments"

    def describe(self) -> str:
        """For people."""
        length = f"until {self.wake_at}" if self.duration is None else f"of {self.duration / 1e6:g} s"
        at = site_text(self.site)
        return f"sleep {self.name!r} #{self.ordinal} {length}" + (f" (called at {at})" if at else "")
