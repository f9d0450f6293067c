"""Running one attempt of a step, outside the workflow's loop, and saying how it went."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from pyworkflow_core.codec import Codec
from pyworkflow_core.errors import LimitExceeded, UnserializableValueError
from pyworkflow_core.payloads import Payload, StepCompleted, StepFailed, StepRetrying
from pyworkflow_core.replay import StepCall
from pyworkflow_core.storage import Limits

from ..config import get_config
from ..definitions import StepDefinition
from ..errors import StepTimeoutError
from .attempt import current_attempt

_OVERHEAD = 1024  # what an event's body holds beside the result

Report = StepCompleted | StepFailed | StepRetrying


async def execute(
    call: StepCall, codec: Codec, now: Callable[[], int], rng: random.Random, limits: Limits
) -> Payload | None:
    """Run the step's current attempt.

    Returns:
        The event that says how it went; None if the drive cancelled it.
    """
    definition: StepDefinition[Any, Any] = call.definition
    try:
        args, kwargs = codec.decode_args(call.args, reach=call.reach)
        if definition.is_plain:
            value = await definition.func(*args, **kwargs)
        else:
            value = await _run(definition, args, kwargs)
        try:
            result = codec.encode(value, where="result", reach=call.reach)
        except UnserializableValueError as error:
            raise UnserializableValueError(f"step {call.name!r}: {error}", path=error.path) from None
        if limits.event_bytes is not None and len(result) + _OVERHEAD > limits.event_bytes:
            raise LimitExceeded(
                f"step {call.name!r} returned {len(result)} bytes and the storage takes {limits.event_bytes} "
                "an event; store the value elsewhere and return a reference"
            )
        return StepCompleted(call.name, call.ordinal, Raw(result))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return None
        return _failed(call, error, codec, now, rng, limits)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return failure(call, error, codec, now, rng, limits)


def failure(
    call: StepCall,
    error: BaseException,
    codec: Codec,
    now: Callable[[], int],
    rng: random.Random,
    limits: Limits,
) -> Report:
    """The event that says that the current attempt failed with `error`."""
    try:
        return _failed(call, error, codec, now, rng, limits)
    except Exception as unspeakable:
        # An error that cannot even be looked at. Without a report the run would wait for ever.
        instead = RuntimeError(
            f"step {call.name!r} raised {type(error).__qualname__}, which cannot be recorded: "
            f"{type(unspeakable).__name__}"
        )
        return StepFailed(call.name, call.ordinal, Raw(codec.encode_error(instead)), call.attempt)


async def _run(definition: StepDefinition[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    attempt = current_attempt.get()
    if definition.heartbeat_timeout is None or attempt is None:
        return await _in_time(definition, args, kwargs)
    async with attempt.notebook.watched(definition.heartbeat_timeout):
        return await _in_time(definition, args, kwargs)


async def _in_time(
    definition: StepDefinition[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if definition.timeout is None:
        return await _call(definition, args, kwargs)
    seconds = definition.timeout / 1e6
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await _call(definition, args, kwargs)
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise StepTimeoutError(
            f"step {definition.name!r} took longer than its timeout of {seconds:g} s"
        ) from error


async def _call(definition: StepDefinition[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if definition.is_async:
        return await definition.func(*args, **kwargs)
    context = contextvars.copy_context()
    work = functools.partial(context.run, _in_thread, definition.func, args, kwargs)
    return await asyncio.get_running_loop().run_in_executor(None, work)


def _in_thread(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return func(*args, **kwargs)
    except (StopIteration, GeneratorExit) as error:
        # As in a coroutine. A future refuses the one, and the other looks like the end of whoever
        # awaits it; in both cases the step would be waited for for ever.
        raise RuntimeError(f"the step raised {type(error).__name__}") from error


def _failed(
    call: StepCall,
    error: BaseException,
    codec: Codec,
    now: Callable[[], int],
    rng: random.Random,
    limits: Limits,
) -> Report:
    definition: StepDefinition[Any, Any] = call.definition
    failures = call.failures + 1
    policy = definition.policy
    if definition.uses_default_retries:
        policy = msgspec.structs.replace(policy, max_retries=get_config().default_retries)
    encoded = Raw(codec.encode_error(error, reach=call.reach))
    if limits.event_bytes is not None and len(encoded) + _OVERHEAD > limits.event_bytes:
        short = LimitExceeded(
            f"step {call.name!r} failed with {type(error).__qualname__}, whose record takes {len(encoded)} "
            f"bytes; the storage takes {limits.event_bytes} an event. It begins: {str(error)[:200]}"
        )
        encoded = Raw(codec.encode_error(short))
    try:
        delay = policy.after(error, failures, rng)
    except ValueError as wrong:  # retry_after is not a duration
        error.add_note(str(wrong))
        delay = policy.delay(failures, rng)
    if delay is None:
        return StepFailed(call.name, call.ordinal, encoded, call.attempt)
    return StepRetrying(call.name, call.ordinal, encoded, call.attempt, failures, now() + delay)
