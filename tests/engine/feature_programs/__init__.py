"""Programs that show one feature each; every storage runs them, and the crash matrices stop them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pyworkflow_core.storage import StorageBackend


@dataclass
class Program:
    """A program.

    Attributes:
        name: what the tests call it, and the idempotency key of its run.
        workflow: what is started.
        args: its arguments.
        outcome: status and result, crashes or not; None where a calm run on memory says it.
        act: does what the outside world does, given storage and run id; called again and again until
            the run has ended, in whatever state it is.
        in_numbers: whether many of it can run at once, in real time, and end the same.
    """

    name: str
    workflow: Any
    args: tuple[Any, ...] = ()
    outcome: Any = None
    act: Callable[[StorageBackend, str], Awaitable[None]] | None = None
    in_numbers: bool = True


def all_programs() -> dict[str, Program]:
    """Every program of this package, by name."""
    found: dict[str, Program] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for program in importlib.import_module(f"{__name__}.{module}").PROGRAMS:
            assert program.name not in found, f"two programs are called {program.name}"
            found[program.name] = program
    return found
