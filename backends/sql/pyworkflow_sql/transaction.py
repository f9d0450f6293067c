"""A transaction for a step: what its user writes, and the step's completion, commit together.

The connection comes from SQLAlchemy as its users know it. The transaction is ended here and
nowhere else: a commit of the user's own would part what belongs together, and is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pyworkflow_core.errors import OutcomeUnknown

Begin = Callable[[AsyncConnection], Awaitable[None]]
_INSTEAD = "Use connection.begin_nested() for a part that may be undone."
_NOT_YET = f"this transaction commits when the step has returned, together with its completion. {_INSTEAD}"
_ENDED = f"the step has ended its transaction by itself, which step_transaction() does. {_INSTEAD}"


@asynccontextmanager
async def open_transaction(
    engine: AsyncEngine,
    *,
    unreachable: Callable[[Exception], Exception],
    is_lost: Callable[[BaseException], bool],
    begin: Begin | None = None,
) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction, which commits at the end and is rolled back on an error.

    Args:
        engine: where the connection comes from.
        unreachable: makes the typed error for a failure to connect.
        is_lost: whether an error of the driver leaves open what became of a commit.
        begin: what else begins a transaction there.

    Raises:
        OutcomeUnknown: the connection broke during the commit, which may have been made.
        DBAPIError: the database refused to commit, and nothing was written.
    """
    try:
        connection = await _connect(engine)
    except Exception as error:
        raise unreachable(error) from error
    try:
        transaction = await connection.begin()
        allow_commit = _keep_open(connection)
        try:
            if begin is not None:
                await begin(connection)
            yield connection
            if not transaction.is_active:
                raise InvalidRequestError(_ENDED)
        except BaseException:
            # Where this fails, too, the connection is in disorder, and the database rolls back.
            with contextlib.suppress(Exception):
                await transaction.rollback()
            raise
        allow_commit()
        try:
            await transaction.commit()
        except Exception as error:
            if _leaves_open(error, is_lost):
                with contextlib.suppress(Exception):
                    await connection.invalidate()
                raise OutcomeUnknown(
                    f"the connection broke while a transaction was committed: {error}"
                ) from error
            with contextlib.suppress(Exception):
                await transaction.rollback()
            raise
    finally:
        closing = asyncio.create_task(connection.close())
        with contextlib.suppress(Exception):
            await asyncio.shield(closing)


async def _connect(engine: AsyncEngine) -> AsyncConnection:
    # Drivers do not take it well if they are cancelled in the middle of connecting.
    connection = engine.connect()
    connecting = asyncio.create_task(connection.start())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await connecting
            await connection.close()
        raise
    return connection


def _keep_open(connection: AsyncConnection) -> Callable[[], None]:
    """Refuse every commit on the connection until what this returns was called, and all after a rollback.

    A statement behind the end of the transaction would begin another one, or on SQLite none.
    """
    sync = connection.sync_connection
    assert sync is not None
    transaction = sync.get_transaction()
    assert transaction is not None
    allowed = False

    @event.listens_for(sync, "commit")
    def refuse_commit(_: Connection) -> None:
        if not allowed:
            raise InvalidRequestError(_NOT_YET)

    @event.listens_for(sync, "before_cursor_execute")
    def refuse_more(*_: object) -> None:
        if not transaction.is_active:
            raise InvalidRequestError(_ENDED)

    def allow() -> None:
        nonlocal allowed
        allowed = True

    return allow


def _leaves_open(error: Exception, is_lost: Callable[[BaseException], bool]) -> bool:
    """Whether a commit that failed with `error` may have been made."""
    if not isinstance(error, DBAPIError) or error.orig is None or error.connection_invalidated:
        return True
    # Some dialects put an error of their own before the driver's.
    return is_lost(error.orig.__cause__ or error.orig)
