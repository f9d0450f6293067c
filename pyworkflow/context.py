"""The step context: values that a workflow sets once and all of its steps can see."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, overload

import msgspec
from msgspec import Raw

from pyworkflow_core.carried import CarriedContext
from pyworkflow_core.codec import Codec, Reach, reach_of_type
from pyworkflow_core.errors import CodecError, ConfigurationError, LimitExceeded
from pyworkflow_core.replay import Machine, current_machine

from .definitions import find_workflow
from .deterministic import writing_machine
from .engine.attempt import current_attempt
from .errors import StepContextError, StepOutsideWorkflowError

C = TypeVar("C", bound="StepContext")

_OVERHEAD = 1024  # what an event holds beside the value
_classes: dict[str, type[StepContext]] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class StepContext:
    """Immutable, typed values that the steps of a run share. Derive a class with annotated fields.

    ::

        class OrderContext(StepContext):
            tenant: str
            region: str = "eu"

    Raises:
        TypeError: a value does not fit its annotation, or there is no such field.
    """

    _reach: ClassVar[Reach]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        cls._reach = reach_of_type(cls)
        _classes[_name_of(cls)] = cls

    def __post_init__(self) -> None:
        check_values(self)

    def with_updates(self, **changes: Any) -> Self:
        """The same values with some of them changed; this object stays as it is.

        Raises:
            TypeError: a value does not fit its annotation, or there is no such field.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                have = ", ".join(names) or "no fields"
                raise TypeError(f"{type(self).__name__} has no field {name!r}; it has {have}")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The values by the names of their fields."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def set_step_context(context: StepContext) -> Awaitable[None]:
    """Set the context for every step that begins from here on. It is recorded, as one event.

    It takes effect at once; what it returns may be awaited, and need not be. A run that continues
    as new takes its context along. Children begin without one.

    Args:
        context: an object of a class derived from `StepContext`.

    Raises:
        StepOutsideWorkflowError: no workflow runs here; steps can only read the context.
        TypeError: it is no `StepContext`, or not of the workflow's `context_class`.
        UnserializableValueError: a value cannot be recorded.
        LimitExceeded: the storage does not take so large an event.
    """
    if current_machine.get() is None and current_attempt.get() is not None:
        raise StepOutsideWorkflowError(
            "set_step_context() was called in a step, which can only read the context: return the value, and "
            "set the context in the workflow"
        )
    machine = writing_machine("set_step_context()")
    expected = _class_of(machine)
    if not isinstance(context, expected or StepContext):
        what = "the context" if expected is None else f"the context of workflow {_workflow_of(machine)!r}"
        raise TypeError(
            f"{what} is an object of {(expected or StepContext).__name__}, not {type(context).__name__}"
        )
    check_values(context)
    encoded = machine.codec.encode(context.to_dict(), where="context", reach=type(context)._reach)
    check_size(machine, encoded, "the step context")
    frame = sys._getframe(1)
    machine.notebook.set_context(_name_of(type(context)), Raw(encoded), (frame.f_code, frame.f_lasti))
    return _Done()


@overload
def get_step_context() -> Any: ...
@overload
def get_step_context(of: type[C]) -> C: ...
def get_step_context(of: type[StepContext] = StepContext) -> Any:
    """The step context: in a workflow the one set last, in a step the one set when it was called.

    Args:
        of: the class that it is expected to have, for type checkers and as a check.

    Raises:
        StepContextError: none is set, or it is of another class.
        StepOutsideWorkflowError: neither a workflow nor a step runs here.
    """
    machine, kept = _kept("get_step_context()")
    if kept is None:
        raise StepContextError(
            f"run {machine.run_id!r} has no step context: call set_step_context(…) in the workflow first, or "
            "ask has_step_context()"
        )
    found = _revive(machine, kept)
    if not isinstance(found, of):
        raise StepContextError(f"the step context is of {type(found).__name__}, not of {of.__name__}")
    return found


def has_step_context() -> bool:
    """Whether there is a step context here. False outside of workflows and steps."""
    if current_machine.get() is None and current_attempt.get() is None:
        return False
    return _kept("has_step_context()")[1] is not None


def check_values(context: StepContext) -> None:
    """Refuse values that do not fit the annotations of their fields.

    Raises:
        TypeError: one does not.
    """
    try:
        hints = typing.get_type_hints(type(context))
    except Exception:  # a name that only a type checker can see
        return
    for field in dataclasses.fields(context):
        value = getattr(context, field.name)
        try:
            msgspec.convert(value, hints[field.name])
        except msgspec.ValidationError as error:
            raise TypeError(f"{type(context).__name__}.{field.name}: {error}") from None
        except TypeError:  # an annotation that cannot be checked
            continue


def check_size(machine: Machine, encoded: bytes, what: str) -> None:
    """Refuse a value that the storage would refuse as an event.

    Raises:
        LimitExceeded: it is too large.
    """
    most = machine.event_bytes
    if most is not None and len(encoded) + _OVERHEAD > most:
        raise LimitExceeded(
            f"{what} takes {len(encoded)} bytes and the storage takes {most} an event; store the values "
            "elsewhere and keep a reference"
        )


def values_of(codec: Codec, kept: CarriedContext, expected: type[StepContext] | None) -> Mapping[str, Any]:
    """The values of a recorded context, for whoever looks at a run. Unknown types come as `Opaque`."""
    cls = _classes.get(kept.context) or expected
    if cls is not None:
        try:
            return typing.cast("Mapping[str, Any]", codec.decode(kept.value, reach=cls._reach))
        except CodecError:  # today's types no longer fit it
            pass
    return typing.cast("Mapping[str, Any]", codec.decode_lenient(kept.value))


def _kept(what: str) -> tuple[Machine, CarriedContext | None]:
    machine = current_machine.get()
    if machine is not None:
        return machine, machine.notebook.context
    attempt = current_attempt.get()
    if attempt is None:
        raise StepOutsideWorkflowError(
            f"{what} was called outside a workflow and its steps: there is no context here"
        )
    return attempt.call.machine, attempt.call.context


def _revive(machine: Machine, kept: CarriedContext) -> StepContext:
    cls, expected = _classes.get(kept.context), _class_of(machine)
    if expected is not None and (cls is None or not issubclass(cls, expected)):
        cls = expected
    if cls is None:
        raise StepContextError(
            f"run {machine.run_id!r} has a step context of class {kept.context!r}, which this process does "
            "not know: import it, or name its successor with @workflow(context_class=…)"
        )
    values = machine.codec.decode(kept.value, reach=cls._reach)
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in values.items() if name in known})


def _workflow_of(machine: Machine) -> str:
    return machine.started.workflow if machine.started is not None else ""


def _class_of(machine: Machine) -> type[StepContext] | None:
    started = machine.started
    definition = None if started is None else find_workflow(started.workflow, started.workflow_version)
    return None if definition is None else definition.context_class


def check_context_class(cls: Any, what: str) -> None:
    """Refuse a `context_class` that is none.

    Raises:
        ConfigurationError: it is no class derived from `StepContext`.
    """
    if not (isinstance(cls, type) and issubclass(cls, StepContext)):
        raise ConfigurationError(f"{what}: context_class is a class derived from StepContext, not {cls!r}")


def _name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


class _Done:
    """Something to await that is done already."""

    def __await__(self) -> typing.Generator[Any, None, None]:
        return
        yield
