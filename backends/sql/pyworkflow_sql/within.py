"""Scripts in a transaction of the user's own, on whatever SQLAlchemy calls a connection or session.

SQLAlchemy's layer for asyncio, and the ORM that it brings along, are loaded when somebody comes with
such an object: a worker on SQLite needs neither, and is 8 MiB smaller without.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pyworkflow_core.errors import StorageUnavailable

from .scripts import Script

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

    Within = AsyncConnection | AsyncSession | Connection | Session
else:
    Within = Any

T = TypeVar("T")


def check_within(within: object) -> Within:
    """What was given as ``within``, if it can be used.

    Raises:
        TypeError: it is no connection or session of SQLAlchemy.
    """
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

    if isinstance(within, AsyncConnection | AsyncSession | Connection | Session):
        return within
    raise TypeError(
        f"within={type(within).__name__}: give an AsyncConnection, AsyncSession, Connection or Session "
        "of SQLAlchemy, with the transaction in which the append shall be made"
    )


async def run_within(within: Within, script: Script[T]) -> T:
    """Execute what the script asks for, in the transaction that `within` is in, or begins by that.

    Raises:
        DBAPIError: the database refused a statement.
    """
    answer: Any = None
    try:
        while True:
            call = script.send(answer)
            # With no rows to write SQLAlchemy would execute a list once, without parameters.
            result: Any = within.execute(call.statement.core, call.values)
            if inspect.isawaitable(result):
                result = await result
            answer = [tuple(row) for row in result] if call.statement.returns else result.rowcount
    except StopIteration as stop:
        return cast("T", stop.value)


async def driver_of(within: Within) -> Any:
    """The driver's own connection."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

    found: Any = within
    if isinstance(within, AsyncSession | Session):
        found = within.connection()
        if inspect.isawaitable(found):
            found = await found
    if isinstance(found, AsyncConnection):
        return (await found.get_raw_connection()).driver_connection
    return found.connection.driver_connection


def failed(error: SQLAlchemyError) -> StorageUnavailable:
    """The typed error for a failure in the user's transaction, which must be begun again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return StorageUnavailable(
        f"the append cannot be made within the transaction: {cause}. Roll it back, and begin it again."
    )
