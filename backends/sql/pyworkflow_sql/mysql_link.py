"""A connection of asyncmy, with few trips to the server.

The driver writes parameters into the statements' text. So whatever needs no answer is held
back, and goes with the next statement that does, or with the end of the transaction. The
server stops at the first statement that fails, which is reported for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy.pool import PoolProxiedConnection

from .connections import Link
from .scripts import Call
from .statements import Statement

T = TypeVar("T")
_TOGETHER = 1024 * 1024
_DUPLICATE_INDEX = 1061
_is_plain = re.compile(r"[A-Za-z0-9_.:-]*", re.ASCII).fullmatch


class MysqlLink(Link):
    """A connection of asyncmy.

    Args:
        pooled: the pool's connection.
    """

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        super().__init__(pooled)
        self._held: list[str] = []
        self._in_transaction = False

    def is_closed(self) -> bool:
        """Whether the driver knows already that the connection is gone."""
        return not self.driver.connected

    async def execute(self, call: Call) -> Any:
        """Rows, or how many were changed; None for a list of values, which is held back."""
        statement, values = call.statement, call.values
        if isinstance(values, list):
            for sql in self._write_many(statement, values):
                await self._hold(sql)
            if not self._in_transaction:
                await self._send()
            return None
        if statement.names:
            return await self._send(self._write(statement.sql, statement.bind(values)), statement)
        try:
            return await self._send(statement.sql, statement)
        except Exception as error:
            # This database has no CREATE INDEX IF NOT EXISTS, and cannot undo half a migration.
            if error.args[:1] == (_DUPLICATE_INDEX,):
                return []
            raise

    async def begin(self) -> None:
        """Begin a transaction, with the first statement."""
        self._in_transaction = True
        self._held = ["START TRANSACTION"]

    async def commit(self) -> None:
        """Commit it."""
        self._in_transaction = False
        await self._send("COMMIT")

    async def rollback(self) -> None:
        """Undo it."""
        self._in_transaction = False
        self._held = []
        await self._send("ROLLBACK")

    # ---- text ------------------------------------------------------------------------

    def _write(self, sql: str, values: Sequence[Any]) -> str:
        return sql % tuple([self._literal(v) for v in values])

    def _literal(self, value: Any) -> str:
        # Most values need no escaping, and the driver looks at each for longer than the server does.
        if value is None:
            return "NULL"
        if value.__class__ is int:
            return str(value)
        if value.__class__ is str:
            if _is_plain(value):
                return f"_binary'{value}'"
            value = value.encode()
        return str(self.driver.literal(value))

    def _write_many(self, statement: Statement, values: list[dict[str, Any]]) -> Iterator[str]:
        """Rows of one insertion in one statement, as far as it stays small; other statements one by one."""
        bound = [statement.bind(v) for v in values]
        head, mark, rest = statement.sql.partition(" VALUES ")
        if not mark:
            yield from (self._write(statement.sql, v) for v in bound)
            return
        end = rest.index(")") + 1
        row, tail = rest[:end], rest[end:]
        rows: list[str] = []
        size = 0
        for v in bound:
            text = self._write(row, v)
            if rows and size + len(text) > _TOGETHER:
                yield f"{head} VALUES {','.join(rows)}{tail}"
                rows, size = [], 0
            rows.append(text)
            size += len(text)
        yield f"{head} VALUES {','.join(rows)}{tail}"

    # ---- trips -----------------------------------------------------------------------

    async def _hold(self, sql: str) -> None:
        if self._held and sum(map(len, self._held)) + len(sql) > _TOGETHER:
            await self._send()
        self._held.append(sql)

    async def _send(self, sql: str = "", statement: Statement | None = None) -> Any:
        """Send what was held back, and `sql` behind it; the answer to the last of them."""
        held, self._held = self._held, []
        if sql and held and sum(map(len, held)) + len(sql) > _TOGETHER:
            await self._query("; ".join(held))
            held = []
        parts = [*held, sql] if sql else held
        rows, changed = await self._query("; ".join(parts)) if parts else ((), 0)
        return rows if statement is None or statement.returns else changed

    async def _query(self, sql: str) -> tuple[Sequence[Any], int]:
        async with self.driver.cursor() as cursor:
            await cursor.execute(sql)
            while await cursor.nextset():
                pass
            return (await cursor.fetchall() if cursor.description else ()), cursor.rowcount
