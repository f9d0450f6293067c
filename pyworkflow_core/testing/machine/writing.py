"""The text of a random program: its steps as lines, and the whole as a file that runs."""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..broken import NotChecked
from ..program import headline, write_program, write_target
from ..subject import Subject
from .steps import Call, Expr, Make, Ref

if TYPE_CHECKING:
    from .trimming import Failure

_INDENT = "    "
_SOURCES = {
    "pyworkflow_core.testing": ("raises", "same"),
    "pyworkflow_core.testing.appends": (
        "created",
        "after",
        "ahead",
        "completed",
        "noted",
        "resumed",
        "suspended",
    ),
    "pyworkflow_core.testing.looks": ("follow",),
    "pyworkflow_core.testing.machine.reading": ("listed", "answered"),
    "pyworkflow_core.storage": ("Committed", "Conflict", "LeaseChange", "RunQuery"),
    "pyworkflow_core.record": ("RunStatus",),
    "pyworkflow_core.errors": ("EventIdReused", "FeedPositionLost"),
}
"""Where a program imports its words from."""
_HOME = {name: source for source, names in _SOURCES.items() for name in names}
_WORDS = ("listed", "follow")


def show(value: Any) -> str:
    """The expression that makes `value`."""
    if isinstance(value, Ref):
        item = "" if value.item is None else f"[{show(value.item)}]"
        return f"{value.name}{item}" + (f".{value.attribute}" if value.attribute else "")
    if isinstance(value, Expr):
        return f"{value.function}({_arguments(value.args, value.options)})"
    if isinstance(value, str) and not isinstance(value, Enum):
        return _quote(value)
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, frozenset):
        return f"frozenset({show(sorted(value))})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Struct):
        return (
            f"{type(value).__name__}({', '.join(show(getattr(value, f)) for f in value.__struct_fields__)})"
        )
    return repr(value)


def show_call(call: Call) -> str:
    """The expression that makes the call and waits for it."""
    if call.method in _WORDS:
        return f"await {call.method}({_arguments((Ref(call.handle), *call.args), call.options)})"
    return f"await {call.handle}.{call.method}({_arguments(call.args, call.options)})"


def show_make(step: Make) -> str:
    """The line that makes an append."""
    return f"{step.name} = {show(step.value)}"


def write_machine_program(failure: Failure, subject: Subject, profile: str, about: str) -> str:
    """The program that shows a failure; the reason why there is none, if there is none.

    Args:
        failure: the failure.
        subject: on what.
        profile: name of the profile.
        about: names and versions, for people.
    """
    try:
        needed, setup, target = write_target(subject)
    except NotChecked as reason:
        return f"# no program: {reason}\n"
    opened = [f"{name} = await place.open()" for name in failure.handles]
    text = "\n".join(_INDENT + line for line in [*opened, *failure.lines])
    imports = {("pyworkflow_core.testing", "Place"), ("pyworkflow_core.testing", "prove")}
    imports |= needed | {(_HOME[word], word) for word in re.findall(r"\w+", text) if word in _HOME}
    call = f"prove(main, {target}, law={failure.law}, profile={profile!r})"
    body = f"async def main(place: Place) -> None:\n{text}\n\n\n{call}\n"
    return write_program(headline(failure.law, failure.said), about, imports | needed, setup, body)


def _arguments(args: tuple[Any, ...], options: dict[str, Any]) -> str:
    return ", ".join([*map(show, args), *(f"{key}={show(value)}" for key, value in options.items())])


def _quote(text: str) -> str:
    if not text.isprintable() or unicodedata.normalize("NFC", text) != text:
        return ascii(text)
    return repr(text) if '"' in text or "\\" in text or "'" in text else f'"{text}"'
