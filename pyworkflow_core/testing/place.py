"""The place where one check works: a fresh namespace, its handles, its clock, its processes."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from random import Random
from types import TracebackType
from typing import Any, Self

from ..storage import StorageBackend
from .child import Child, describe_subject
from .clock import Clock
from .profiles import PROFILES, Profile
from .subject import Subject


class Place:
    """A fresh namespace of a subject. Everything that is opened here is closed at the end, and dropped.

    Args:
        subject: what is looked at.
        profile: how thoroughly.
        seed: makes `random`.
        namespace: an existing namespace; a fresh one if None.

    Attributes:
        subject: the subject.
        profile: how thoroughly to look.
        namespace: the namespace of `open`.
        clock: the time of backends whose ``clock`` is the caller's.
        random: the only source of choices.
    """

    def __init__(
        self,
        subject: Subject,
        profile: Profile = PROFILES["quick"],
        seed: int = 0,
        namespace: str | None = None,
    ) -> None:
        self.subject = subject
        self.profile = profile
        self.clock = Clock()
        self.random = Random(seed)
        self._namespaces: list[str] = []
        self._own = namespace is None
        self.namespace = self.another_namespace() if namespace is None else namespace
        self._open: list[tuple[StorageBackend, AbstractAsyncContextManager[StorageBackend]]] = []
        self._children: list[Child] = []
        self._server_clock = False

    # ---- handles --------------------------------------------------------------------

    async def open(self, namespace: str | None = None) -> StorageBackend:
        """A new handle on this place's namespace, or on another one."""
        return await self.enter(self.subject.open(namespace or self.namespace, self.clock))

    async def open_many(self, count: int) -> list[StorageBackend]:
        """So many new handles on this place's namespace."""
        return [await self.open() for _ in range(count)]

    async def enter(self, opened: AbstractAsyncContextManager[StorageBackend]) -> StorageBackend:
        """Enter a context manager of a handle, which is left at the end."""
        store = await opened.__aenter__()
        self._open.append((store, opened))
        self._server_clock = store.capabilities.clock == "server"
        return store

    async def close(self, store: StorageBackend) -> None:
        """Close a handle that `open` or `enter` gave."""
        for index, (handle, opened) in enumerate(self._open):
            if handle is store:
                del self._open[index]
                await opened.__aexit__(None, None, None)
                return

    async def reopen(self, store: StorageBackend) -> StorageBackend:
        """Close a handle, and open another on the same namespace."""
        await self.close(store)
        return await self.open()

    def another_namespace(self, like: str = "") -> str:
        """The name of a namespace that nobody else uses; it is dropped at the end.

        Args:
            like: begins with this: a namespace whose name is almost another's.
        """
        name = f"{like}_{secrets.token_hex(2)}" if like else f"laws_{secrets.token_hex(6)}"
        self._namespaces.append(name)
        return name

    # ---- time -----------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The present moment as the backend will judge it, in microseconds."""
        return time.time_ns() // 1000 if self._server_clock else self.clock.now()

    @property
    def unit(self) -> int:
        """A short while in microseconds: what a lease is a few of."""
        return 300_000 if self._server_clock else 1_000_000

    async def pass_time(self, by: int) -> None:
        """Let `by` microseconds pass: on the clock of the caller, or really."""
        if self._server_clock:
            await asyncio.sleep(by / 1e6)
        else:
            self.clock.advance(by)

    # ---- other processes ------------------------------------------------------------

    async def spawn(self, function: Callable[..., Awaitable[None]], **arguments: Any) -> Child:
        """Run a module-level function in another process, on a place of the same namespace.

        Args:
            function: an async function of a `ChildPlace`.
            **arguments: further arguments, of what JSON has.

        Raises:
            NotChecked: another process cannot make the subject.
        """
        spec = {
            "subject": describe_subject(self.subject),
            "namespace": self.namespace,
            "now": self.clock.now(),
            "seed": self.random.randrange(2**32),
            "function": [function.__module__, function.__qualname__],
            "arguments": arguments,
        }
        child = await Child.start(spec)
        self._children.append(child)
        return child

    # ---- the end --------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        problems: list[Exception] = []
        for child in self._children:
            await child.end()
        while self._open:
            _, opened = self._open.pop()
            await _try(opened.__aexit__(None, None, None), problems)
        if self._own:
            for namespace in self._namespaces:
                await _try(self.subject.drop(namespace), problems)
        if problems and error is None:
            raise problems[0]


async def _try(call: Awaitable[Any], problems: list[Exception]) -> None:
    try:
        await call
    except Exception as error:
        problems.append(error)
