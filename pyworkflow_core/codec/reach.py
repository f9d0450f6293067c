"""Reaches: the types that a function's annotations name, and the exceptions it can know.

Stored data revives a type only if it was registered, or if the code that the data belongs to
names it. A `Reach` is that second set. It is resolved on first use, when the module that
defines the function is complete, and it never imports anything.
"""

from __future__ import annotations

import functools
import inspect
import sys
from types import FunctionType, MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from .annotations import Gatherer, annotations_of, cells_of
from .terms import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Reach:
    """The types that may be revived besides the registered ones. Immutable, compared by identity.

    Args:
        types: types by their names in the log (see `reach_of_function`, which gathers them).
        scopes: module globals, and other variables, whose exceptions may be revived: the
            exception classes bound there, and those of every package that is bound there or
            that a class or function bound there comes from.
        annotations: resolves more types when first needed.

    Attributes:
        walkers: for codecs, which keep here what they learned about the types.
    """

    __slots__ = ("__weakref__", "_annotations", "_scopes", "_types", "_unresolved", "walkers")

    def __init__(
        self,
        types: Mapping[str, type] = _NOTHING,
        *,
        scopes: Iterable[Callable[[], Mapping[str, Any]]] = (),
        annotations: Callable[[Gatherer], None] | None = None,
    ) -> None:
        self._types: Mapping[str, type] = MappingProxyType(dict(types))
        self._scopes = tuple(scopes)
        self._annotations = annotations
        self._unresolved: tuple[str, ...] = ()
        self.walkers: dict[Any, Any] = {}

    @property
    def types(self) -> Mapping[str, type]:
        """The types that annotations name, by their names in the log."""
        annotations = self._annotations  # another thread may be resolving them as well
        if annotations is not None:
            gatherer = Gatherer()
            annotations(gatherer)
            self._types = MappingProxyType({**gatherer.types, **self._types})
            self._unresolved = tuple(dict.fromkeys(gatherer.unresolved))
            self._annotations = None
        return self._types

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Annotations, or names in them, that could not be resolved; for error messages."""
        return self._unresolved if self.types is not None else ()

    def __or__(self, other: Reach) -> Reach:
        def both(gatherer: Gatherer) -> None:
            gatherer.types.update({**other.types, **self.types})
            gatherer.unresolved.extend([*self.unresolved, *other.unresolved])

        return Reach(scopes=self._scopes + other._scopes, annotations=both)

    def __repr__(self) -> str:
        return f"<Reach of {', '.join(self.types) or 'nothing'}>"

    def find_exception(self, name: str) -> type[BaseException] | None:
        """The exception class of that name, if the code of this reach can know it.

        It must be annotated, bound in one of the scopes, or live in a package that the scopes
        name. Only module and class dictionaries are looked into, so no code runs.
        """
        annotated = self.types.get(name)
        if annotated is not None:
            return annotated if issubclass(annotated, BaseException) else None
        roots: set[str] = set()
        for scope in self._scopes:
            for bound in list(scope().values()):
                if isinstance(bound, type) and issubclass(bound, BaseException) and type_name(bound) == name:
                    return bound
                if isinstance(bound, ModuleType):
                    roots.add(bound.__name__.partition(".")[0])
                elif isinstance(bound, type | FunctionType) and isinstance(bound.__module__, str):
                    roots.add(bound.__module__.partition(".")[0])
        return _find_loaded(name) if name.partition(".")[0] in roots else None


def _find_loaded(name: str) -> type[BaseException] | None:
    parts = name.split(".")
    for split in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:split]))
        if module is None:
            continue
        # vars, not getattr: a module's __getattr__ may import, a metaclass's may do anything.
        found: Any = module
        for part in parts[split:]:
            found = vars(found).get(part) if isinstance(found, type | ModuleType) else None
        if isinstance(found, type) and issubclass(found, BaseException) and type_name(found) == name:
            return found
    return None


def reach_of_function(func: Callable[..., Any]) -> Reach:
    """The reach of a step or workflow: what its parameters and its return value are annotated with.

    Fields of dataclasses, Structs, pydantic models, NamedTuples and TypedDicts are followed, as
    are generics, unions, `Annotated`, type variables, aliases and annotations given as text.
    """
    function = _unwrap(func)
    if function is None:
        return Reach()

    def gather(gatherer: Gatherer) -> None:
        cells = cells_of(function)
        for annotation in annotations_of(function).values():
            gatherer.visit(annotation, cells, function.__globals__)

    def own_module() -> Mapping[str, Any]:
        module = sys.modules.get(function.__module__)
        return {function.__module__: module} if module is not None else {}

    return Reach(
        scopes=(lambda: function.__globals__, functools.partial(cells_of, function), own_module),
        annotations=gather,
    )


def _unwrap(func: Any) -> FunctionType | None:
    while isinstance(func, functools.partial):
        func = func.func
    func = inspect.unwrap(func)
    func = getattr(func, "__func__", func)
    if not isinstance(func, FunctionType):
        func = inspect.unwrap(vars(type(func)).get("__call__", func))
    return func if isinstance(func, FunctionType) else None


def reach_of_type(annotation: Any) -> Reach:
    """The reach of one annotation, such as the payload type of a hook."""
    return Reach(annotations=lambda gatherer: gatherer.visit(annotation))


EMPTY_REACH = Reach()
"""Reaches nothing: only plain and registered types are written and revived."""
