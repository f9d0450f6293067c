"""``@workflow`` and ``@step``: what an application writes, and the registry of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from pyworkflow_core.codec import Reach, reach_of_function
from pyworkflow_core.errors import ConfigurationError, UnserializableValueError
from pyworkflow_core.ids import validate_id
from pyworkflow_core.replay import Call, StepCall, current_machine

from .durability import Durability, durability_of
from .durations import Duration, to_duration
from .errors import StepNotAwaitedError, StepOutsideWorkflowError, WorkflowNotRegisteredError
from .retry import RetryDelay, RetryPolicy, retry_policy
from .versions import missing_version, newest, version_text

if TYPE_CHECKING:
    from .context import StepContext

P = ParamSpec("P")
R = TypeVar("R")

_workflows: dict[str, dict[str | None, WorkflowDefinition[Any, Any]]] = {}
SYSTEM = "pyworkflow."
"""Names of the engine's own workflows begin with this; listings leave their runs out."""
_SYSTEM_HOMES = {
    "pyworkflow.schedule": "pyworkflow.schedules.code",
    "pyworkflow.stream": "pyworkflow.streams.hub",
    "pyworkflow.stream_run": "pyworkflow.streams.running",
}
"""The module that defines each; every process can drive them."""


class StepDefinition(Generic[P, R]):
    """A step: a function whose result is recorded, so that it runs once.

    Attributes:
        func: the plain function.
        name: the name in the log.
        policy: when it is tried again.
        uses_default_retries: whether `configure(default_retries=…)` says how often.
        timeout: microseconds that one attempt may take; None for no limit.
        heartbeat_timeout: microseconds that may pass between heartbeats; None for any number.
        metadata: labels of the application.
        durability: when it is written that it began and completed; None for as its workflow says.
        reach: the types that its annotations name.
    """

    def __init__(
        self,
        func: Callable[P, Any],
        *,
        name: str | None = None,
        max_retries: int | None = None,
        retry_delay: RetryDelay = "exponential",
        timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        metadata: Mapping[str, Any] | None = None,
        durability: Durability | None = None,
    ) -> None:
        _check_function(func, "step")
        self.func = func
        self.name = validate_id(name if name is not None else func.__name__, "step name")
        what = f"step {self.name!r}"
        self.policy: RetryPolicy = retry_policy(3 if max_retries is None else max_retries, retry_delay, what)
        self.uses_default_retries = max_retries is None
        self.timeout = None if timeout is None else _duration(timeout, f"{what}: timeout")
        self.heartbeat_timeout = (
            None if heartbeat_timeout is None else _duration(heartbeat_timeout, f"{what}: heartbeat_timeout")
        )
        if self.heartbeat_timeout == 0:
            raise ConfigurationError(f"{what}: heartbeat_timeout must be more than nothing")
        self.metadata: Mapping[str, Any] = MappingProxyType(dict(metadata or {}))
        self.durability = None if durability is None else durability_of(durability, what)
        self.is_async = inspect.iscoroutinefunction(func)
        # An executed step awaits its function and nothing else.
        self.is_plain = self.is_async and self.timeout is None and self.heartbeat_timeout is None
        self._reach: Reach | None = None
        self._signature = inspect.signature(func)
        self._simple = _simple_arity(self._signature)
        self.__doc__ = func.__doc__
        self.__name__ = func.__name__
        self.__qualname__ = func.__qualname__
        self.__module__ = func.__module__
        self.__wrapped__ = func

    @property
    def reach(self) -> Reach:
        """The types that its annotations name; worked out on first use."""
        if self._reach is None:
            self._reach = reach_of_function(self.func)
        return self._reach

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the step from a workflow; await what this returns."""
        machine = current_machine.get()
        if machine is None:
            _refuse_outside(f"step {self.name!r}", f"{self.__name__}.func(…)")
        simple = self._simple
        if simple is None or kwargs or not simple[0] <= len(args) <= simple[1]:
            self._bind(args, kwargs)
        reach = self._reach or self.reach
        frame = sys._getframe(1)
        try:
            encoded = machine.codec.encode_args(args, kwargs, where=self.name, reach=reach)
        except UnserializableValueError:
            self._refuse_calls(args, kwargs)
            raise
        return StepCall(  # type: ignore[return-value] # awaitable, and taken by create_task as it is
            machine, self.name, encoded, definition=self, reach=reach, site=(frame.f_code, frame.f_lasti)
        )

    def _refuse_calls(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Call):
                raise StepNotAwaitedError(
                    f"step {self.name!r} was given the {value.describe()}, not its result: write 'await' in "
                    "front of that call"
                )

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"step {self.name!r}: {error}; it takes {self.__name__}{self._signature}"
            ) from None

    def __repr__(self) -> str:
        return f"<step {self.name!r}>"


class WorkflowDefinition(Generic[P, R]):
    """A workflow: an async function that is replayed from its log.

    Attributes:
        func: the plain function.
        name: the name in the log.
        version: version of the definition; runs keep the one that they started on.
        max_duration: microseconds after which a run is ended; None for no limit.
        tags: labels, recorded with each run.
        max_recovery_attempts: times a run is taken up after a crash without progress.
        retention: microseconds for which its runs are kept after their end; None for ever.
        context_class: the class of its step context; None for any.
        durability: when it is written what steps did that do not say so themselves.
        reach: the types that its annotations name.
    """

    def __init__(
        self,
        func: Callable[P, Awaitable[R]],
        *,
        name: str | None = None,
        durable: bool | None = None,
        max_duration: Duration | None = None,
        tags: list[str] | tuple[str, ...] | None = None,
        recover_on_worker_loss: bool = True,
        max_recovery_attempts: int = 3,
        context_class: type[StepContext] | None = None,
        version: str | int | None = None,
        retention: Duration | None = None,
        durability: Durability = "sync",
    ) -> None:
        _check_function(func, "workflow")
        if not inspect.iscoroutinefunction(func):
            raise ConfigurationError(
                f"workflow {func.__name__!r} must be written 'async def'; put blocking work into a @step"
            )
        self.func = func
        self.name = validate_id(name if name is not None else func.__name__, "workflow name")
        what = f"workflow {self.name!r}"
        self.durable = durable
        self.durability = durability_of(durability, what)
        self.version = version_text(version, what)
        self.context_class = context_class
        if context_class is not None:
            from .context import check_context_class

            check_context_class(context_class, what)
        self.max_duration = None if max_duration is None else _duration(max_duration, f"{what}: max_duration")
        self.retention = None if retention is None else _duration(retention, f"{what}: retention")
        self.tags = _tags(tags, what)
        if max_recovery_attempts < 0:
            raise ConfigurationError(f"{what}: max_recovery_attempts must be 0 or more")
        self.max_recovery_attempts = max_recovery_attempts if recover_on_worker_loss else 0
        self._reach: Reach | None = None
        self._signature = inspect.signature(func)
        self.__doc__ = func.__doc__
        self.__name__ = func.__name__
        self.__qualname__ = func.__qualname__
        self.__module__ = func.__module__
        self.__wrapped__ = func

    @property
    def reach(self) -> Reach:
        """The types that its annotations name; worked out on first use."""
        if self._reach is None:
            self._reach = reach_of_function(self.func)
        return self._reach

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the function's signature.

        Raises:
            TypeError: they do not fit; the message shows the signature.
        """
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"workflow {self.name!r}: {error}; it takes {self.__name__}{self._signature}"
            ) from None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        """Refused: a workflow is started, so that it has a log."""
        if current_machine.get() is not None:
            raise StepOutsideWorkflowError(
                f"workflow {self.name!r} was called inside a workflow: write 'await start_child_workflow("
                f"{self.__name__}, …)' to run it as a child, or make what it does a plain async function "
                "that both call."
            )
        raise StepOutsideWorkflowError(
            f"workflow {self.name!r} was called like a function: write 'await start({self.__name__}, …)' to "
            f"run it durably, or call {self.__name__}.func(…) in a test"
        )

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"


@overload
def step(func: Callable[P, Coroutine[Any, Any, R]], /) -> StepDefinition[P, R]: ...
@overload
def step(func: Callable[P, R], /) -> StepDefinition[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    max_retries: int | None = None,
    retry_delay: RetryDelay = "exponential",
    timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    metadata: Mapping[str, Any] | None = None,
    durability: Durability | None = None,
) -> _StepDecorator: ...
def step(func: Any = None, /, **options: Any) -> Any:
    """Make a function a step, with or without parentheses.

    The first call of a step executes it and records what it returned; a replay answers from
    the log. ``async def`` runs on the event loop, ``def`` in a thread.

    Args:
        func: the function.
        **options: as the decorator's: `name` (default: the function's), `max_retries`
            (default 3), `retry_delay` (``"exponential"``, ``"fixed"``, a duration, a list),
            `timeout` of one attempt, `heartbeat_timeout` between two heartbeats of one, `metadata`,
            `durability` (default: its workflow's).

    Raises:
        ConfigurationError: an option is wrong.
    """
    if func is not None:
        return StepDefinition(func, **options)
    return lambda f: StepDefinition(f, **options)


class _StepDecorator:  # the type of `step(...)`, for type checkers
    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]], /) -> StepDefinition[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> StepDefinition[P, R]: ...
    def __call__(self, func: Any, /) -> Any:
        raise NotImplementedError


@overload
def workflow(func: Callable[P, Coroutine[Any, Any, R]], /) -> WorkflowDefinition[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    durable: bool | None = None,
    max_duration: Duration | None = None,
    tags: list[str] | tuple[str, ...] | None = None,
    recover_on_worker_loss: bool = True,
    max_recovery_attempts: int = 3,
    context_class: type[StepContext] | None = None,
    version: str | int | None = None,
    retention: Duration | None = None,
    durability: Durability = "sync",
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], WorkflowDefinition[P, R]]: ...
def workflow(func: Any = None, /, **options: Any) -> Any:
    """Make an async function a workflow, with or without parentheses.

    Args:
        func: the function.
        **options: `name` (default: the function's), `max_duration`, `tags`,
            `recover_on_worker_loss` (default true), `max_recovery_attempts` (default 3),
            `version` (runs keep the one that they started on), `context_class` (a class derived
            from `StepContext`), `durable`, `retention` after which workers delete ended runs,
            `durability` of what its steps did: ``"sync"``, ``"pipelined"`` or ``"exit"``.

    Raises:
        ConfigurationError: an option is wrong, or the name belongs to another function.
    """
    if func is not None:
        return _register(WorkflowDefinition(func, **options))
    return lambda f: _register(WorkflowDefinition(f, **options))


def get_workflow(name: str) -> WorkflowDefinition[Any, Any]:
    """The newest version of the workflow registered under `name`.

    Raises:
        WorkflowNotRegisteredError: this process has not imported it.
    """
    if name in _SYSTEM_HOMES:
        import_module(_SYSTEM_HOMES[name])
    versions = _workflows.get(name)
    if not versions:
        have = ", ".join(sorted(name for name in _workflows if not name.startswith(SYSTEM))[:20]) or "none"
        raise WorkflowNotRegisteredError(
            f"workflow {name!r} is not defined in this process; import the module that defines it. "
            f"Defined here: {have}."
        )
    return versions[newest(versions)]


def get_workflow_version(name: str, version: str | None) -> WorkflowDefinition[Any, Any]:
    """The workflow's definition for runs that started on this version.

    Raises:
        WorkflowNotRegisteredError: this process does not have the workflow, or this version of it.
    """
    versions = _workflows.get(name)
    found = get_workflow(name) if versions is None else versions.get(version)
    if found is None:
        raise missing_version(name, version, versions or {})
    return found


def find_workflow(name: str, version: str | None) -> WorkflowDefinition[Any, Any] | None:
    """This version of the workflow, or if it is not there the newest; None if there is none at all."""
    versions = _workflows.get(name, {})
    return versions.get(version) or (versions[newest(versions)] if versions else None)


def list_workflows() -> Mapping[str, WorkflowDefinition[Any, Any]]:
    """Every workflow defined in this process, by name; of several versions the newest."""
    return MappingProxyType({name: versions[newest(versions)] for name, versions in _workflows.items()})


def _register(definition: WorkflowDefinition[Any, Any]) -> WorkflowDefinition[Any, Any]:
    """Keep the workflow under its name, by which a log finds its code again."""
    if definition.name.startswith(SYSTEM) and not definition.func.__module__.startswith(SYSTEM):
        raise ConfigurationError(f"the name {definition.name!r} is pyworkflow's own; choose another")
    versions = _workflows.setdefault(definition.name, {})
    old = versions.get(definition.version)
    if old is not None and not _same_function(old.func, definition.func):
        raise ConfigurationError(
            f"workflow {definition.name!r} is defined twice: {_place(old.func)} and "
            f"{_place(definition.func)}. Give one of them another name, @workflow(name=…), or another "
            "version, @workflow(version=…)."
        )
    versions[definition.version] = definition
    return definition


def _same_function(a: Callable[..., Any], b: Callable[..., Any]) -> bool:
    """Whether `b` may take the place of `a`: a reload, a notebook cell, a function inside a test."""
    if (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__):
        return True
    return "<locals>" in a.__qualname__ + b.__qualname__ or "__main__" in {a.__module__, b.__module__}


def _place(func: Callable[..., Any]) -> str:
    return f"{func.__module__}.{func.__qualname__}"


def _check_function(func: Any, kind: str) -> None:
    if isinstance(func, (StepDefinition, WorkflowDefinition)):
        raise ConfigurationError(f"{func!r} cannot be a {kind} as well")
    if not inspect.isroutine(func):
        raise ConfigurationError(f"@{kind} decorates a function, not {type(func).__name__} {func!r}")
    if inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
        raise ConfigurationError(f"@{kind} {func.__name__!r} is a generator; return a list instead")


def _duration(value: Duration, what: str) -> int:
    try:
        return to_duration(value, what)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _tags(tags: list[str] | tuple[str, ...] | None, what: str) -> tuple[str, ...]:
    found = tuple(tags or ())
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in found):
        raise ConfigurationError(f"{what}: tags is a list of texts, not {tags!r}")
    return found


def _simple_arity(signature: inspect.Signature) -> tuple[int, int] | None:
    """Fewest and most positional arguments, where nothing but their number needs a check."""
    needed = most = 0
    for parameter in signature.parameters.values():
        if parameter.kind not in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            return None
        most += 1
        needed += parameter.default is parameter.empty
    return needed, most


def _refuse_outside(what: str, instead: str) -> NoReturn:
    raise StepOutsideWorkflowError(
        f"{what} was called outside a workflow: call it from a function decorated with @workflow that runs "
        f"through start(), or call {instead} for a plain call without a log"
    )
