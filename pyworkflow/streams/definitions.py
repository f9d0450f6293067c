"""``@stream_workflow`` and ``@stream_step``, and the registry of both."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NoReturn, overload

from msgspec import Struct

from pyworkflow_core.codec import reach_of_function
from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.ids import validate_id

from ..definitions import StepDefinition, WorkflowDefinition, _place, _register, _same_function
from ..durations import Duration
from ..errors import StepOutsideWorkflowError
from ..retry import RetryDelay
from ..schemas import to_schema
from .signal import Signal, check_type
from .step_context import current_handling, handle

OnSignal = Callable[..., Any]
OnFailure = Literal["fail", "skip", "terminate"]
SUBSCRIBER = "pyworkflow.stream_step"

_streams: dict[str, StreamDefinition] = {}
_steps: dict[str, dict[str, StreamStepDefinition]] = {}


class StreamDefinition:
    """A stream: a named log of signals, and a function that runs once as a run of it begins.

    Attributes:
        name: what `emit` calls it.
        func: the plain function.
        queue: whose workers run it; None for the queue of whoever begins it.
        metadata: labels of the application.
    """

    def __init__(
        self, func: Callable[[], Awaitable[Any]], name: str, queue: str | None, metadata: Any
    ) -> None:
        self.name = name
        self.func = func
        self.queue = queue
        self.metadata: Mapping[str, Any] = MappingProxyType(metadata)
        self.__name__ = func.__name__
        self.__doc__ = func.__doc__

    @property
    def steps(self) -> Mapping[str, StreamStepDefinition]:
        """The steps of the stream that are defined in this process."""
        return steps_of(self.name)

    def __call__(self) -> NoReturn:
        """Refused: a stream runs through `run_stream_workflow`."""
        raise StepOutsideWorkflowError(
            f"stream {self.name!r} was called like a function: write 'await run_stream_workflow("
            f"{self.__name__}, stream_run_id=…)', or call {self.__name__}.func() in a test"
        )

    def __repr__(self) -> str:
        return f"<stream {self.name!r}>"


class StreamStepDefinition:
    """A long-lived step that is run for each signal that it subscribes to.

    Attributes:
        stream: the stream's name.
        name: the step's.
        func: the plain function.
        signals: the types that it takes.
        schemas: what payloads of a type must fit.
        on_signal: looks at each signal first; None to run for all.
        on_failure: what happens when a signal has failed for good.
        step: runs the function for one signal.
        workflow: the workflow whose runs consume the stream for this step.
    """

    def __init__(
        self,
        func: Callable[[], Awaitable[Any]],
        stream: str,
        signals: Sequence[str] | Mapping[str, Any],
        on_signal: OnSignal | None,
        name: str | None,
        on_failure: OnFailure,
        max_recovery_attempts: int,
        options: dict[str, Any],
    ) -> None:
        _check(func, "stream_step")
        self.stream = validate_id(stream, "stream")
        self.name = validate_id(func.__name__ if name is None else name, "name of a stream step")
        what = f"stream step {self.name!r}"
        if "/" in self.name:  # or the names of two workflows could be the same
            raise ConfigurationError(f"{what}: the name of a stream step has no '/'")
        if isinstance(signals, str) or not signals:
            raise ConfigurationError(f"{what}: signals is a list of types, or a mapping of types to schemas")
        try:
            self.signals = tuple(check_type(kind) for kind in signals)
        except ValueError as error:
            raise ConfigurationError(f"{what}: {error}") from None
        self.schemas: Mapping[str, Any] = MappingProxyType(
            dict(signals) if isinstance(signals, Mapping) else {}
        )
        if on_failure not in {"fail", "skip", "terminate"}:
            raise ConfigurationError(
                f"{what}: on_failure is 'fail', 'skip' or 'terminate', not {on_failure!r}"
            )
        self.on_signal = on_signal
        self.on_failure = on_failure
        self.func = func
        self.__name__ = func.__name__
        self.__doc__ = func.__doc__

        async def run_step(
            signal: Signal | None, checkpoint: Any, stream_run_id: str | None
        ) -> dict[str, Any]:
            return await handle(self, signal, checkpoint, stream_run_id)

        async def subscriber(stream_run_id: str | None, state: dict[str, Any]) -> dict[str, Any]:
            from .subscriber import consume

            return await consume(self, stream_run_id, state)

        self.step: StepDefinition[Any, dict[str, Any]] = StepDefinition(run_step, name=self.name, **options)
        self.step._reach = reach_of_function(func)
        self.workflow: WorkflowDefinition[Any, Any] = WorkflowDefinition(
            subscriber,
            name=subscriber_name(self.stream, self.name),
            max_recovery_attempts=max_recovery_attempts,
        )

    def __call__(self) -> NoReturn:
        """Refused: signals run it."""
        raise StepOutsideWorkflowError(
            f"stream step {self.name!r} was called like a function: it runs for the signals of stream "
            f"{self.stream!r}; emit one, or call {self.__name__}.func() in a test"
        )

    def __repr__(self) -> str:
        return f"<stream step {self.name!r} of {self.stream!r}>"


@overload
def stream_workflow(name: Callable[[], Coroutine[Any, Any, Any]], /) -> StreamDefinition: ...
@overload
def stream_workflow(
    name: str | None = None, *, queue: str | None = None, **metadata: Any
) -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], StreamDefinition]: ...
def stream_workflow(name: Any = None, *, queue: str | None = None, **metadata: Any) -> Any:
    """Define a stream: a named log of signals, to which steps subscribe.

    The function runs once for each `run_stream_workflow`, in the code of the workflow that calls
    it, and mostly emits the first signals.

    Args:
        name: what `emit` and the steps call it; the function's name unless given.
        queue: whose workers run it and its steps; that of whoever begins it unless given.
        **metadata: labels of the application.

    Raises:
        ConfigurationError: the name belongs to another function.
    """
    if callable(name):
        return stream_workflow()(name)

    def decorate(func: Callable[[], Awaitable[Any]]) -> StreamDefinition:
        _check(func, "stream_workflow")
        own = validate_id(func.__name__ if name is None else name, "stream")
        old = _streams.get(own)
        if old is not None and not _same_function(old.func, func):
            raise ConfigurationError(
                f"stream {own!r} is defined twice: {_place(old.func)} and {_place(func)}"
            )
        chosen = None if queue is None else validate_id(queue, "queue")
        _streams[own] = StreamDefinition(func, own, chosen, metadata)
        return _streams[own]

    return decorate


def stream_step(
    stream: str | StreamDefinition,
    signals: Sequence[str] | Mapping[str, Any],
    on_signal: OnSignal | None = None,
    name: str | None = None,
    *,
    max_retries: int | None = None,
    retry_delay: RetryDelay = "exponential",
    timeout: Duration | None = None,
    on_failure: OnFailure = "fail",
    max_recovery_attempts: int = 3,
) -> Callable[[Callable[[], Awaitable[Any]]], StreamStepDefinition]:
    """Make an ``async def`` function a step that runs for each signal it subscribes to.

    It runs once as the stream begins, when `get_current_signal` gives None, and then for one
    signal after the other, in the order of the stream, until it calls `terminate`.

    Args:
        stream: the stream's name, or the stream.
        signals: the types that it takes; a mapping names what their payloads must fit: a
            pydantic model, a msgspec Struct, a dataclass or another type.
        on_signal: looks at each signal first. With two parameters, the signal and a
            `StreamStepContext`, it calls ``await ctx.resume()`` to run the step; with one it
            is a filter and says true.
        name: the step's name; the function's unless given.
        max_retries: tries after the first for each signal.
        retry_delay: as for ``@step``.
        timeout: of one attempt.
        on_failure: what happens when a signal has failed for good. ``fail``: the step has
            failed, the others go on; ``skip``: it goes on with the next signal; ``terminate``:
            it has failed, and the stream ends.
        max_recovery_attempts: how often it is taken up after its process died without a signal done
            since; then the step has failed, whatever `on_failure` says. It counts where the process that
            drives the stream defines the step, too; otherwise it is 3.

    Raises:
        ConfigurationError: an argument is wrong, or the name belongs to another step.
    """
    options = {"max_retries": max_retries, "retry_delay": retry_delay, "timeout": timeout}

    def decorate(func: Callable[[], Awaitable[Any]]) -> StreamStepDefinition:
        of = stream.name if isinstance(stream, StreamDefinition) else stream
        made = StreamStepDefinition(
            func, of, signals, on_signal, name, on_failure, max_recovery_attempts, options
        )
        steps = _steps.setdefault(made.stream, {})
        old = steps.get(made.name)
        if old is not None and not _same_function(old.func, func):
            raise ConfigurationError(
                f"step {made.name!r} of stream {made.stream!r} is defined twice: {_place(old.func)} and "
                f"{_place(func)}. Give one of them another name."
            )
        steps[made.name] = made
        _register(made.workflow)
        return made

    return decorate


def name_of(stream: str | StreamDefinition) -> str:
    """The stream's name."""
    return stream.name if isinstance(stream, StreamDefinition) else validate_id(stream, "stream")


def get_stream(name: str) -> StreamDefinition | None:
    """The stream that this process defines under this name."""
    return _streams.get(name)


def steps_of(stream: str) -> Mapping[str, StreamStepDefinition]:
    """The steps of a stream that are defined in this process, by name."""
    return MappingProxyType(_steps.get(stream, {}))


def known_streams() -> list[str]:
    """Names of the streams that this process knows."""
    return sorted({*_streams, *_steps})


def subscriber_name(stream: str, step: str) -> str:
    """The workflow whose runs consume a stream for a step."""
    return validate_id(f"{SUBSCRIBER}/{stream}/{step}", "name of a stream and its step")


class SignalSchema(Struct, frozen=True):
    """What payloads of one type of signals must fit.

    Attributes:
        schemas: the types, of each step that names one.
    """

    schemas: tuple[Any, ...]

    def check(self, payload: Any) -> None:
        """Refuse a payload that does not fit.

        Raises:
            ValueError: it does not.
        """
        for schema in self.schemas:
            to_schema(payload, schema)

    def revive(self, payload: Any) -> Any:
        """The payload as the first of the types.

        Raises:
            ValueError: it does not fit.
        """
        return to_schema(payload, self.schemas[0]) if self.schemas else payload


def schema_for(stream: str, signal_type: str) -> SignalSchema:
    """What this process knows of the payloads of a type; in a stream step, what that step says."""
    handling = current_handling.get()
    steps = steps_of(stream)
    asked = steps.values() if handling is None or handling.step.stream != stream else (handling.step,)
    return SignalSchema(tuple(s.schemas[signal_type] for s in asked if signal_type in s.schemas))


def _check(func: Any, kind: str) -> None:
    if not inspect.iscoroutinefunction(func):
        raise ConfigurationError(f"@{kind} decorates an async function, not {func!r}")
    needed = [
        p.name
        for p in inspect.signature(func).parameters.values()
        if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}
    ]
    if needed:
        instead = "; get_current_signal() gives the signal" if kind == "stream_step" else ""
        raise ConfigurationError(
            f"@{kind} {func.__name__!r} takes no arguments, and has {', '.join(needed)}{instead}"
        )
