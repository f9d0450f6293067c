"""A failed check as a program that runs as it stands."""

from __future__ import annotations

import inspect
import platform
import textwrap
from collections.abc import Callable
from typing import Any

from ..plugins import redact
from .child import describe_subject
from .laws.table import LAWS
from .subject import Subject, UrlSubject, subject_of

_KEYS = ("module", "file", "name")
URL_VARIABLE = "PYWORKFLOW_CONFORMANCE_URL"


def headline(law: int, said: str) -> str:
    """The first line of a failure: the law, its topic and what happened."""
    return f"LAW {law} ({LAWS[law].topic}): {said}"


def program_of_check(
    function: Callable[..., Any], law: int, said: str, subject: Subject, profile: str, seed: int, about: str
) -> str:
    """A program that makes one directed check again.

    Args:
        function: the check.
        law: its law.
        said: what happened.
        subject: on what.
        profile: name of the profile.
        seed: the seed of the run.
        about: names and versions, for people.
    """
    source = textwrap.dedent(inspect.getsource(function))
    source = source[source.index("async def") :]
    imports = {("pyworkflow_core.testing", "prove")} | set(names_used(function))
    needed, setup, target = write_target(subject)
    call = f"prove({function.__name__}, {target}, law={law}, profile={profile!r}, seed={seed})"
    return write_program(headline(law, said), about, imports | needed, setup, f"{source}\n\n{call}\n")


def write_program(title: str, about: str, imports: set[tuple[str, str]], setup: list[str], body: str) -> str:
    """Put a program together.

    Args:
        title: what it shows.
        about: names and versions, for people.
        imports: module and name of what it uses.
        setup: lines between the imports and the body.
        body: the rest.
    """
    quoted = title.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    by_module: dict[str, list[str]] = {}
    for module, name in sorted(imports):
        by_module.setdefault(module, []).append(name)
    # A bare module is imported as it is.
    lines = [f"import {m}" for m, names in by_module.items() if "" in names]
    for module, names in by_module.items():
        if wanted := [n for n in names if n]:
            lines.append(f"from {module} import {', '.join(wanted)}")
    head = [f'"""{quoted}', "", about, '"""', "", "from __future__ import annotations", ""]
    return "\n".join([*head, *lines, "", *setup, "", body])


def names_used(function: Callable[..., Any]) -> list[tuple[str, str]]:
    """Module and name of every global that the function uses, so that a program can import them."""
    found: list[tuple[str, str]] = []
    for name in sorted(_global_names(function.__code__)):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        if inspect.ismodule(value):
            found.append((value.__name__, ""))
        elif getattr(value, "__module__", "").startswith("pyworkflow_core") and hasattr(
            value, "__qualname__"
        ):
            found.append((value.__module__, name))
        else:
            found.append((function.__module__, name))
    return found


def _global_names(code: Any) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if inspect.iscode(constant):
            names |= _global_names(constant)
    return names


def write_target(subject: Subject) -> tuple[set[tuple[str, str]], list[str], str]:
    """What a program has to import, the lines that it needs first, and the expression of the subject."""
    if isinstance(subject, UrlSubject) and type(subject_of(subject.template)) is type(subject):
        if redact(subject.template) == subject.template:
            return set(), [], repr(subject.template)
        line = f'url = os.environ["{URL_VARIABLE}"]  # {redact(subject.template)}'
        return {("os", "")}, [line, ""], "url"
    described = describe_subject(subject)
    keys = _KEYS if described["template"] is None else (*_KEYS, "template")
    where = ", ".join(repr(described[key]) for key in keys)
    return {("pyworkflow_core.testing", "load_subject")}, [], f"load_subject({where})"


def about_python() -> str:
    """The Python that runs, for people."""
    return f"{platform.python_implementation()} {platform.python_version()}"
