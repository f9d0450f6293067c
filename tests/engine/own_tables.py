"""A table of the user's own beside the runs, and storages that come between a step and its commit."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from storage_wrappers import Wrapper

from pyworkflow import start, step, step_transaction, workflow
from pyworkflow_core.errors import OutcomeUnknown
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Answer, Append, Conflict, StorageBackend

T = TypeVar("T")
Body = Callable[[Any, int], Awaitable[object]]
DATABASES = ("sqlite", "postgresql", "mariadb")


class OwnTable:
    """A fresh namespace of a database, and a table with numbers.

    Attributes:
        kind: the name of the database.
        url: of the namespace.
        name: of the table.
    """

    def __init__(self, kind: str, request: pytest.FixtureRequest, folder: Path) -> None:
        self.kind = kind
        namespace = f"t_{secrets.token_hex(5)}"
        base = f"sqlite:///{folder / 'runs.db'}" if kind == "sqlite" else request.getfixturevalue(kind).url
        self.url = f"{base}?namespace={namespace}"
        self.name = f"own_{namespace}"

    async def make(self, storage: Any, columns: str = "n INTEGER") -> None:
        """Make the table."""
        async with storage.transaction() as connection:
            await connection.execute(text(f"CREATE TABLE {self.name} ({columns})"))

    async def drop(self, storage: Any) -> None:
        """Remove the table and the runs."""
        async with storage.transaction() as connection:
            await connection.execute(text(f"DROP TABLE IF EXISTS {self.name}"))
        await storage.drop()

    async def write(self, connection: Any, n: int) -> None:
        """Write one number on a step's connection."""
        await connection.execute(text(f"INSERT INTO {self.name} (n) VALUES (:n)"), {"n": n})

    async def read(self, storage: Any) -> list[int]:
        """The numbers that are there, in their order."""
        async with storage.transaction() as connection:
            found = await connection.execute(text(f"SELECT n FROM {self.name} ORDER BY n"))
            return [row[0] for row in found]

    def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What `work` returns of a handle, with the table made before and all removed afterwards."""

        async def main() -> T:
            async with open_storage(self.url) as storage:
                await self.make(storage)
                try:
                    return await work(storage)
                finally:
                    await self.drop(storage)

        return asyncio.run(main())


class Payments:
    """A workflow of steps that write a number each, and how often they ran."""

    def __init__(self, own: OwnTable, **options: Any) -> None:
        self.ran: list[int] = []

        async def nothing(connection: Any, turn: int) -> None:
            pass

        self.within: Body = nothing
        self.after: Body = nothing
        options = {"max_retries": 2, "retry_delay": 0.001, **options}

        @step(name="own.pay", **options)
        async def pay(n: int) -> int:
            self.ran.append(n)
            async with step_transaction() as connection:
                await own.write(connection, n)
                await self.within(connection, len(self.ran))
            await self.after(connection, len(self.ran))
            return n

        @step(name="own.plain")
        async def plain(n: int) -> int:
            await asyncio.sleep(0.001 * n)
            return n

        @workflow(name="own.pay_all")
        async def pay_all(numbers: list[int], others: int) -> int:
            paid = await asyncio.gather(*map(pay, numbers), *map(plain, range(others)))
            return sum(paid)

        self.pay, self.pay_all = pay, pay_all

    async def start(self, storage: StorageBackend, numbers: tuple[int, ...] = (1,), others: int = 0) -> str:
        return await start(self.pay_all, list(numbers), others, storage=storage, wait=True)


class Between(Wrapper):
    """Does something of a test's own around the transactions of steps.

    Attributes:
        inner: the storage behind.
        begun: transactions that were begun.
    """

    def __init__(self, inner: StorageBackend) -> None:
        super().__init__(inner)
        self.begun = 0

    async def before_append(self, append: Append) -> Answer | None:
        """Called before an append in a transaction; an answer takes its place."""
        return None

    async def before_begin(self) -> None:
        """Called before a transaction begins."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        if within is not None and (answer := await self.before_append(appends[0])) is not None:
            return [answer]
        return await self.inner.commit(appends, within=within)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """The inner storage's."""
        self.begun += 1
        await self.before_begin()
        async with self.inner.transaction() as connection:  # type: ignore[attr-defined]
            yield connection


class LostCommit(Between):
    """Loses the answer to the first commit, which is made or not."""

    def __init__(self, inner: StorageBackend, *, made: bool) -> None:
        super().__init__(inner)
        self._made = made

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """As the inner storage's, but for the first."""
        if self.begun:
            async with super().transaction() as connection:
                yield connection
            return
        try:
            async with super().transaction() as connection:
                yield connection
                if not self._made:
                    raise ConnectionResetError
        except ConnectionResetError:
            pass
        raise OutcomeUnknown("the connection broke")


class Rival(Between):
    """Lets somebody else append to the run just before the first append in a transaction."""

    def __init__(self, inner: StorageBackend, append: Callable[[str], Awaitable[object]], kind: str) -> None:
        super().__init__(inner)
        self._append = append
        self._kind = kind
        self.conflicts = 0

    async def before_append(self, append: Append) -> Answer | None:
        if self.conflicts:
            return None
        self.conflicts += 1
        if self._kind == "sqlite":  # nobody else can write while the transaction is open
            return Conflict(append.run_id, append.expected)
        await self._append(append.run_id)
        return None
