"""What workflow code awaits: calls of steps, sleeps and hooks.

A call gets its ordinal when it is made and becomes a command when it is first awaited (or
given to ``gather``, ``wait``, ``shield``, ``create_task``). It looks like a future to
asyncio, so that these take it as it is, without a task around it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator
from types import CodeType
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from ..codec import EMPTY_REACH, Reach
from ..errors import CancellationError
from ..payloads import (
    HookCreated,
    HookDisposed,
    Payload,
    SleepCancelled,
    SleepStarted,
    StepCancelled,
    StepCompleted,
    StepStarted,
)
from .fingerprint import MAX_INLINE_BYTES, fingerprint

if TYPE_CHECKING:
    from .loop import WorkflowFuture
    from .machine import Machine

CANCEL_REQUEST = "pyworkflow: a cancellation request was delivered to the run"

Site = tuple[CodeType, int]
"""Where a call was made: code object and index of the last instruction."""


def site_text(site: Site | None) -> str:
    """The call site as ``file.py:line``; empty where it is not known."""
    if site is None:
        return ""
    code, last = site
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= last < end and number is not None:
            line = number
            break
    return f"{code.co_filename.rpartition('/')[2]}:{line}"


class Call:
    """One command of the workflow, awaitable once or often.

    Attributes:
        name: the registered name of what is called.
        ordinal: the how-manieth call of that name.
        recorded: whether its command event is in the log.
        done: whether an answer was delivered, or nobody waits any more.
    """

    __slots__ = ("_callbacks", "done_", "future", "machine", "name", "order", "ordinal", "recorded", "site")

    KIND = "call"

    def __init__(self, machine: Machine, name: str, ordinal: int, site: Site | None) -> None:
        self.machine = machine
        self.name = name
        self.ordinal = ordinal
        self.site = site
        self.future: WorkflowFuture | None = None
        self.recorded = False
        self.done_ = False
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
        self.done_ = True
        if self.future is not None and not self.future.done():
            self.future.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Deliver an error to whoever waits."""
        self.done_ = True
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)

    def abandon(self) -> None:
        """Nobody waits any more: a timeout, a lost race, a cancellation."""
        if not self.done_:
            self.done_ = True
            self.machine.abandon(self)

    # ---- what workflow code and asyncio ask ----------------------------------------

    @property
    def _asyncio_future_blocking(self) -> bool:
        """Asyncio asks for this before it takes an object as a future; so the call begins."""
        self.issue()
        return False

    def issue(self) -> WorkflowFuture:
        """Become a command, the first time; the future that the answer comes to."""
        if self.future is None:
            future = self.machine.loop.create_future()
            future.call = self
            self.future = future
            del self.machine.unawaited[self.order]
            self.machine.pending.append((self, False))
        return self.future

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            return (yield from self.issue().__await__())
        except asyncio.CancelledError as error:
            if error.args == (CANCEL_REQUEST,):
                raise CancellationError(self.machine.cancel_reason) from None
            raise

    __iter__ = __await__

    def __hash__(self) -> int:
        return self.order

    def __eq__(self, other: object) -> bool:
        return self is other

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: contextvars.Context | None = None
    ) -> None:
        """As a future's; makes the call a command."""

        def tell(_: Any) -> None:
            callback(self)

        self.issue().add_done_callback(tell, context=context)
        self._callbacks = (*getattr(self, "_callbacks", ()), (callback, tell))

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        """As a future's."""
        mine = getattr(self, "_callbacks", ())
        self._callbacks = tuple(pair for pair in mine if pair[0] != callback)
        return sum(self.issue().remove_done_callback(tell) for known, tell in mine if known == callback)

    def get_loop(self) -> Any:
        """The workflow's loop."""
        return self.machine.loop

    def cancel(self, msg: Any | None = None) -> bool:
        """Stop waiting for the answer."""
        return self.issue().cancel(msg)

    def done(self) -> bool:
        """Whether the answer is there."""
        return self.future is not None and self.future.done()

    def cancelled(self) -> bool:
        """Whether waiting was given up."""
        return self.future is not None and self.future.cancelled()

    def result(self) -> Any:
        """The answer, as a future's."""
        return self.issue().result()

    def exception(self) -> BaseException | None:
        """The error, as a future's."""
        return self.issue().exception()

    def _make_cancelled_error(self) -> asyncio.CancelledError:
        return self.issue()._make_cancelled_error()  # type: ignore[attr-defined, no-any-return]

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


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
        value: the answer, where the fast path of replay gave it without a future.
    """

    __slots__ = ("args", "attempt", "definition", "failures", "print", "reach", "retry_at", "value")

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
        self.future = None
        self.recorded = self.done_ = False
        machine.orders = self.order = machine.orders + 1
        self.args = args
        self.print = args if len(args) <= MAX_INLINE_BYTES else fingerprint(args)
        self.definition = definition
        self.reach = reach
        self.attempt = self.failures = 0
        self.retry_at: int | None = None
        machine.unawaited[self.order] = self

    def __await__(self) -> Generator[Any, None, Any]:
        machine = self.machine
        # The fast path of replay: nothing else can run, and the next two events of the history
        # are this call and its answer. It is what the slow path would do, without the detour.
        pos = machine.pos
        if pos + 1 < machine.end and not machine.loop.ready and self.future is None and not machine.pending:
            history = machine.history
            started = history[pos].data
            if (
                started.__class__ is StepStarted
                and started.step == self.name
                and started.ordinal == self.ordinal
                and started.attempt == 1
                and bytes(started.args) == self.print
            ):
                envelope = history[pos + 1]
                completed = envelope.data
                if (
                    completed.__class__ is StepCompleted
                    and completed.step == self.name
                    and completed.ordinal == self.ordinal
                    and not asyncio.current_task(machine.loop)._must_cancel  # type: ignore[union-attr]
                ):
                    machine.pos = pos + 2
                    machine.now = max(machine.now, envelope.at)
                    self.recorded = self.done_ = True
                    del machine.unawaited[self.order]
                    machine.recoveries = 0
                    self.value = value = machine.decode(completed.result, reach=self.reach)
                    return value
        try:
            return (yield from self.issue().__await__())
        except asyncio.CancelledError as error:
            if error.args == (CANCEL_REQUEST,):
                raise CancellationError(machine.cancel_reason) from None
            raise

    __iter__ = __await__

    def issue(self) -> WorkflowFuture:
        """Become a command, the first time; the future that the answer comes to."""
        if self.future is None and self.done_:
            # The fast path answered it without a future, and somebody awaits it once more.
            self.future = self.machine.loop.create_future()
            self.future.set_result(self.value)
        return super().issue()

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
        super().__init__(machine, name, machine.next_ordinal(machine.sleep_ordinals, name), site)
        self.duration = duration
        self.wake_at = until if until is not None else 0

    def issue(self) -> WorkflowFuture:
        """Become a command; the sleep begins now, in workflow time."""
        if self.future is None and self.duration is not None:
            self.wake_at = self.machine.now + self.duration
        return super().issue()

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


class HookCall(Call):
    """A wait for an answer from outside.

    Attributes:
        timeout: microseconds until it expires; None for never.
        expires_at: when it does.
        token: the secret that lets somebody answer; the engine draws it when it records the hook.
        schema: name of the payload's type, for people.
        reach: types that the payload may hold.
        revive: turns the decoded payload into what the workflow gets.
        on_created: called with the token once the hook is durable.
        on_expired: the error that the workflow gets when the timeout fires.
    """

    __slots__ = ("expires_at", "on_created", "on_expired", "reach", "revive", "schema", "timeout", "token")

    KIND = "hook"

    def __init__(
        self,
        machine: Machine,
        name: str,
        *,
        timeout: int | None = None,
        schema: str = "",
        reach: Reach = EMPTY_REACH,
        revive: Callable[[Any], Any] | None = None,
        on_created: Callable[[str], Any] | None = None,
        on_expired: Callable[[str], BaseException] = TimeoutError,
        site: Site | None = None,
    ) -> None:
        super().__init__(machine, name, machine.next_ordinal(machine.hook_ordinals, name), site)
        self.timeout = timeout
        self.expires_at: int | None = None
        self.token = ""
        self.schema = schema
        self.reach = reach
        self.revive = revive
        self.on_created = on_created
        self.on_expired = on_expired

    def issue(self) -> WorkflowFuture:
        """Become a command; the timeout begins now, in workflow time."""
        if self.future is None and self.timeout is not None:
            self.expires_at = self.machine.now + self.timeout
        return super().issue()

    def started(self) -> Payload:
        """The command event's payload."""
        return HookCreated(
            self.name,
            self.ordinal,
            self.token or self.machine.draw_token(),
            self.expires_at,
            self.schema,
            site_text(self.site),
        )

    def cancelled_payload(self) -> Payload:
        """The payload that says that nobody waits any more."""
        return HookDisposed(self.name, self.ordinal)

    def mismatch(self, payload: Any) -> str:
        """What differs from a recorded command."""
        if (
            payload.__class__ is not HookCreated
            or payload.hook != self.name
            or payload.ordinal != self.ordinal
        ):
            return "step"
        return "" if payload.expires_at == self.expires_at else "arguments"
