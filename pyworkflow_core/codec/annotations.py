"""Which classes an annotation names, directly or inside the fields of others.

Annotations are evaluated one by one, so that a name which only a type checker can see costs
that name alone, not the whole signature.
"""

from __future__ import annotations

import builtins
import dataclasses
import sys
import typing
from enum import Enum
from typing import Any, ForwardRef, Literal, NewType, TypeVar

from .shapes import is_pydantic, is_shaped
from .terms import type_name

if typing.TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FunctionType


def cells_of(function: FunctionType) -> dict[str, Any]:
    """The variables of enclosing functions that `function` uses, where they are set."""
    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not assigned as yet
            continue
    return cells


def annotations_of(owner: Any) -> dict[str, Any]:
    """The annotations that `owner` itself carries; names that cannot be resolved do no harm."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    if isinstance(owner, type):
        return dict(vars(owner).get("__annotations__") or {})
    return dict(getattr(owner, "__annotations__", None) or {})


class _Names(dict[str, Any]):
    """What an annotation can see. A name that is missing counts as `Any` and is noted."""

    def __init__(self, *layers: Mapping[str, Any]) -> None:
        super().__init__()
        self.layers = layers
        self.missing: list[str] = []

    def __missing__(self, name: str) -> Any:
        for layer in self.layers:
            if name in layer:
                return layer[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        self.missing.append(name)
        return Any


class Gatherer:
    """Walks annotations and keeps the classes that the codec can write.

    Attributes:
        types: the classes found, by their names in the log.
        unresolved: annotations, or names in them, that could not be resolved.
    """

    def __init__(self) -> None:
        self.types: dict[str, type] = {}
        self.unresolved: list[str] = []
        self._seen: dict[int, Any] = {}  # by id, and kept alive: annotations need not be hashable

    def visit(self, annotation: Any, *layers: Mapping[str, Any]) -> None:
        """Keep what `annotation` names; `layers` are the name spaces in which its text is read."""
        if isinstance(annotation, str):
            self._visit_text(annotation, layers)
            return
        if isinstance(annotation, ForwardRef):
            self._visit_forward(annotation, layers)
            return
        if isinstance(annotation, list):  # the parameters of a Callable
            for part in annotation:
                self.visit(part, *layers)
            return
        if id(annotation) in self._seen:
            return
        self._seen[id(annotation)] = annotation
        origin = typing.get_origin(annotation)
        if origin is Literal:
            for choice in typing.get_args(annotation):
                if isinstance(choice, Enum):
                    self.visit(type(choice), *layers)
        elif origin is not None:
            self.visit(origin, *layers)
            for part in typing.get_args(annotation):
                self.visit(part, *layers)
        elif isinstance(annotation, type):
            self._visit_class(annotation, layers)
        else:
            self._visit_form(annotation, layers)

    def _visit_text(self, text: str, layers: tuple[Mapping[str, Any], ...]) -> None:
        names = _Names(*layers)
        try:
            # What typing.get_type_hints does too: the text is the program's own.
            annotation = eval(text, {}, names)
        except Exception:
            self.unresolved.append(text)
            return
        self.unresolved.extend(names.missing)
        if not isinstance(annotation, str):
            self.visit(annotation, *layers)

    def _visit_forward(self, reference: ForwardRef, layers: tuple[Mapping[str, Any], ...]) -> None:
        module: Any = reference.__forward_module__
        if isinstance(module, str):
            module = sys.modules.get(module)
        own = (vars(module),) if module is not None else ()
        self._visit_text(reference.__forward_arg__, own + layers)

    def _visit_form(self, annotation: Any, layers: tuple[Mapping[str, Any], ...]) -> None:
        if isinstance(annotation, TypeVar):
            self.visit(annotation.__bound__, *layers)
            self.visit(list(annotation.__constraints__), *layers)
        elif isinstance(annotation, NewType):
            self.visit(annotation.__supertype__, *layers)
        elif isinstance(annotation, dataclasses.InitVar):
            self.visit(annotation.type, *layers)
        elif type(annotation).__name__ == "TypeAliasType":  # ``type X = …``, new in 3.12
            try:
                value = annotation.__value__
            except NameError as error:
                self.unresolved.append(str(error.name))
            else:
                self.visit(value, *layers)

    def _visit_class(self, cls: type, layers: tuple[Mapping[str, Any], ...]) -> None:
        if cls.__module__ == "builtins":
            return
        if issubclass(cls, BaseException):
            self.types.setdefault(type_name(cls), cls)
            return
        if is_shaped(cls):
            self.types.setdefault(type_name(cls), cls)
        elif not typing.is_typeddict(cls):
            return
        if is_pydantic(cls):
            # Here pydantic has put the arguments of a generic model in place.
            for field in getattr(cls, "__pydantic_fields__", {}).values():
                self.visit(field.annotation, *layers)
        for base in cls.__mro__[:-1]:
            module = sys.modules.get(base.__module__)
            own = ({base.__name__: base}, vars(base), vars(module) if module else {})
            for annotation in annotations_of(base).values():
                self.visit(annotation, *own, *layers)
        for base in getattr(cls, "__orig_bases__", ()):
            self.visit(base, *layers)
