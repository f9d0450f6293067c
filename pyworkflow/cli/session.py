"""What every command shares: the options `--storage` and `--json`, and the way to the storage."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from .completion import complete_storage

if TYPE_CHECKING:
    from pyworkflow_core.storage import StorageBackend

F = TypeVar("F", bound=Callable[..., Any])

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Where the runs are. Default: PYWORKFLOW_STORAGE, then file:.pyworkflow.",
        autocompletion=complete_storage,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_COMMON = {"storage": StorageOption, "as_json": JsonOption, "debug": DebugOption}


@dataclass(frozen=True)
class Session:
    """How a command was called.

    Attributes:
        url: the storage that was asked for; None for the configured one.
        as_json: whether to print JSON and nothing else.
    """

    url: str | None = None
    as_json: bool = False

    def storage(self) -> StorageBackend:
        """The storage backend, not opened yet."""
        from ..config import get_storage

        return get_storage(self.url)

    @property
    def chosen(self) -> StorageBackend | str:
        """The storage that was asked for, or the configured one: a URL, or a backend."""
        from ..config import get_config

        return self.url or get_config().storage

    @property
    def storage_name(self) -> str:
        """The storage for people, without secrets."""
        from pyworkflow_core.plugins import redact

        chosen = self.chosen
        if not isinstance(chosen, str):
            return type(chosen).__name__
        relative = chosen.startswith("file:") and not chosen.startswith("file:/")
        return f"{redact(chosen)} (in {os.getcwd()})" if relative else redact(chosen)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[StorageBackend]:
        """The storage backend, open for a while."""
        from .progress import shown_progress

        storage = self.storage()
        with shown_progress(storage):
            async with storage:
                yield storage


def run(work: Coroutine[Any, Any, int | None]) -> int:
    """Run a command's coroutine, and return its exit code."""
    import asyncio

    return asyncio.run(work) or 0


def command(
    group: typer.Typer, name: str, *, storage: Any = StorageOption, json: bool = True
) -> Callable[[F], F]:
    """Make a function a command of `group`, with the common options after its own.

    The function takes a `Session`, then its own parameters by name, and returns an exit code
    or None for 0.

    Args:
        group: where the command belongs.
        name: what it is called.
        storage: its option `--storage`; None if it has none.
        json: whether it has `--json`.
    """
    left_out = {option for option, there in (("storage", storage), ("as_json", json)) if not there}
    common = _COMMON | {"storage": storage}

    def register(function: F) -> F:
        def invoke(context: typer.Context, **given: Any) -> None:
            outer = context.find_root().obj or {}
            url = given.pop("storage", None) or outer.get("storage")
            as_json = given.pop("as_json", False) or outer.get("as_json", False)
            given.pop("debug")
            code = function(Session(url, as_json), **given)
            if code:
                raise typer.Exit(code)

        hints = get_type_hints(function, include_extras=True)
        only = inspect.Parameter.KEYWORD_ONLY
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = [inspect.Parameter("context", only, annotation=typer.Context)]
        parameters += [p.replace(kind=only, annotation=hints[p.name]) for p in own]
        for option, annotation in common.items():
            if option not in left_out:
                default = None if option == "storage" else False
                parameters.append(inspect.Parameter(option, only, default=default, annotation=annotation))
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {p.name: p.annotation for p in parameters}
        invoke.__doc__ = function.__doc__
        group.command(name)(invoke)
        return function

    return register
