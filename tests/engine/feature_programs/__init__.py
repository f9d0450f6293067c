"""Programs that show one feature each; every storage runs them, and the crash matrices stop them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pyworkflow_core.storage import StorageBackend


@dataclass
class Program:
    name: str
    workflow: Any
    args: tuple[Any, ...] = ()
    outcome: Any = None
    act: Callable[[StorageBackend, str], Awaitable[None]] | None = None
