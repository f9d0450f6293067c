"""What workflow code awaits beside steps: `sleep`, `hook`, `shield`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from pyworkflow_core.codec import EMPTY_REACH, Reach, reach_of_type
from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.events import to_micros
from pyworkflow_core.ids import validate_id
from pyworkflow_core.replay import HookCall, Machine, Shield, SleepCall, current_machine

from .durations import Duration, to_duration
from .engine.tokens import check_own_token
from .errors import HookExpiredError, HookTokenInUseError, StepOutsideWorkflowError
from .schemas import Schema, remember_schema, schema_name, to_schema

T = TypeVar("T")

OnCreated = Callable[[str], Awaitable[None] | None]
OnReceived = Callable[[Any], Any]


def sleep(duration: Duration | datetime, name: str | None = None) -> Coroutine[Any, Any, None]:
    """Sleep durably: the run may leave memory, and goes on when the time has come.

    Args:
        duration: how long (``"5s"``, ``"2h"``, seconds, a `timedelta`), or a moment as a `datetime`.
        name: what the log calls it; ``sleep`` unless given.

    Raises:
        ValueError: the duration is not one.
        StepOutsideWorkflowError: no workflow runs here.
    """
    machine = _machine("sleep()", "asyncio.sleep(…)")
    frame = sys._getframe(1)
    label = validate_id(name if name is not None else "sleep", "name of a sleep")
    site = (frame.f_code, frame.f_lasti)
    if isinstance(duration, datetime):
        call = SleepCall(machine, label, until=to_micros(duration), site=site)
    else:
        call = SleepCall(machine, label, duration=to_duration(duration), site=site)
    return cast("Coroutine[Any, Any, None]", call)


def hook(
    name: str,
    *,
    timeout: Duration | None = None,
    on_created: OnCreated | None = None,
    payload_schema: Schema[Any] | None = None,
    on_received: OnReceived | None = None,
    token: str | None = None,
) -> Coroutine[Any, Any, Any]:
    """Wait for an answer from outside, which `resume_hook` gives.

    Args:
        name: what the log calls it.
        timeout: how long to wait; then the workflow gets `HookExpiredError`.
        on_created: called with the token once the hook is durable; again if a crash left
            open whether it had been.
        payload_schema: a dataclass, msgspec Struct, pydantic model or other type that the
            answer must fit.
        on_received: called in the workflow with the answer; what it returns, unless None,
            takes the answer's place.
        token: a token of your own, at most 64 bytes, such as an order's number; one that nobody
            can guess is drawn unless given.

    Raises:
        HookExpiredError: no answer came in time (from the await).
        HookTokenInUseError: another open hook has the token (from the await).
        ValueError: the token or the timeout is none.
    """
    machine = _machine("hook()", "step_hook(…), inside a step")
    frame = sys._getframe(1)
    site = (frame.f_code, frame.f_lasti)
    return cast(
        "Coroutine[Any, Any, Any]",
        _hook_call(machine, name, timeout, on_created, payload_schema, on_received, token, site),
    )


class TypedHook(Generic[T]):
    """A hook with a name and a payload type; call it in a workflow, and await that."""

    def __init__(self, name: str, schema: Schema[T]) -> None:
        self.name = validate_id(name, "hook name")
        self.schema = schema

    def __call__(
        self,
        *,
        timeout: Duration | None = None,
        on_created: OnCreated | None = None,
        on_received: OnReceived | None = None,
        token: str | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Wait for the answer, as `hook` does."""
        machine = _machine(f"hook {self.name!r}", "step_hook(…), inside a step")
        frame = sys._getframe(1)
        site = (frame.f_code, frame.f_lasti)
        return cast(
            "Coroutine[Any, Any, T]",
            _hook_call(machine, self.name, timeout, on_created, self.schema, on_received, token, site),
        )

    def __repr__(self) -> str:
        return f"<hook {self.name!r} of {schema_name(self.schema)}>"


_typed_hooks: dict[str, TypedHook[Any]] = {}


def define_hook(name: str, schema: Schema[T]) -> TypedHook[T]:
    """Define a hook whose answers must fit `schema`; `resume_hook` checks them before it records one.

    Raises:
        ConfigurationError: the name is taken by a hook of another type.
    """
    old = _typed_hooks.get(name)
    if old is not None and schema_name(old.schema) != schema_name(schema):
        raise ConfigurationError(
            f"hook {name!r} is defined for {schema_name(old.schema)} and for {schema_name(schema)}"
        )
    typed = TypedHook(name, schema)
    _typed_hooks[name] = typed
    return typed


def get_typed_hook(name: str) -> TypedHook[Any] | None:
    """The hook that `define_hook` made under this name."""
    return _typed_hooks.get(name)


def shield() -> Shield:
    """Keep a cancellation request out of a block; use it with ``async with``."""
    return Shield(_machine("shield()", "nothing"))


def _hook_call(
    machine: Machine,
    name: str,
    timeout: Duration | None,
    on_created: OnCreated | None,
    schema: Schema[Any] | None,
    on_received: OnReceived | None,
    token: str | None,
    site: Any,
) -> HookCall:
    if on_received is not None and inspect.iscoroutinefunction(on_received):
        raise ConfigurationError(
            f"hook {name!r}: on_received runs in the workflow and must be a plain function"
        )

    def revive(payload: Any) -> Any:
        value = payload if schema is None else fit(payload, schema, name)
        if on_received is not None:
            changed = on_received(value)
            return value if changed is None else changed
        return value

    reach: Reach = EMPTY_REACH if schema is None else reach_of_type(schema)
    return HookCall(
        machine,
        validate_id(name, "hook name"),
        timeout=None if timeout is None else to_duration(timeout, "timeout"),
        schema="" if schema is None else remember_schema(schema),
        reach=reach,
        revive=revive,
        on_created=on_created,
        on_expired=HookExpiredError,
        on_refused=HookTokenInUseError,
        token="" if token is None else check_own_token(token),
        site=site,
    )


def fit(payload: Any, schema: Any, name: str) -> Any:
    """The recorded answer of a hook as an instance of `schema`.

    Raises:
        ValueError: it does not fit.
    """
    try:
        return to_schema(payload, schema)
    except ValueError as error:
        error.add_note(
            f"hook {name!r}: this answer is in the log, since whoever gave it did not know the hook's type. "
            "Let that process import the module of the workflow, and it is refused there."
        )
        raise


def _machine(what: str, instead: str) -> Machine:
    machine = current_machine.get()
    if machine is None:
        advice = "" if instead == "nothing" else f"; elsewhere use {instead}"
        raise StepOutsideWorkflowError(
            f"{what} was called outside a workflow: it belongs into a function decorated with "
            f"@workflow{advice}"
        )
    return machine
