"""Connections to one server: a small pool, and exchanges of many commands in one go.

The connections are redis-py's; pool and time limits are ours, so that a call which is
cancelled or comes to nothing never leaves a connection with somebody else's answer in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from .options import Address, Options

Command = tuple[Any, ...]
"""A command's words: text, bytes or numbers."""

_ROLE = hiredis.pack_command(("ROLE",))
_FRESH = 1.0
"""Seconds for which an idle connection is taken to be alive without a look."""


class Unreachable(Exception):
    """No connection could be made, so that nothing was sent."""


class Lost(Exception):
    """The connection broke, or no answer came in time: what was sent may have been done."""


class Tls:
    """The certificates that all connections of a handle use: reading them takes longer than connecting."""

    _context: Any = None

    def give(self, connection: Any) -> None:
        """Have a connection that was not made yet use them, if it is one over TLS."""
        if hasattr(connection, "ssl_context"):
            self._context = connection.ssl_context = self._context or connection.ssl_context


class Server:
    """One Redis server.

    Args:
        address: where it is.
        connect: what redis-py's connection takes, and its class.
        options: time limits, and how many connections.
        tls: what connections over TLS share.
        only_primary: refuse a server that is a replica.
    """

    def __init__(
        self,
        address: Address,
        connect: dict[str, Any],
        options: Options,
        tls: Tls,
        *,
        only_primary: bool = False,
    ) -> None:
        self.address = address
        self._class = connect["connection_class"]
        self._connect = {k: v for k, v in connect.items() if k != "connection_class"}
        self._timeout = options.timeout
        self._connect_timeout = options.connect_timeout
        self._room = asyncio.Semaphore(options.connections)
        self._idle: list[tuple[Any, float]] = []
        self._only_primary = only_primary
        self._closed = False
        self._tls = tls

    def __str__(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    async def ask(self, *commands: Command) -> list[Any]:
        """Send the commands on one connection, and return an answer to each; an error is one.

        Raises:
            Unreachable: nothing was sent.
            Lost: any of it may have been done.
        """
        words = b"".join(map(hiredis.pack_command, commands))
        async with self._room:
            connection = await self._take()
            try:
                async with asyncio.timeout(self._timeout):
                    answers = await _exchange(connection, words, len(commands))
            except TimeoutError as error:
                await drop(connection)
                raise Lost(f"{self} gave no answer within {self._timeout:g} s") from error
            except (RedisError, OSError) as error:
                await drop(connection)
                raise Lost(f"the connection to {self} broke: {_say(error)}") from error
            except BaseException:
                await drop(connection)
                raise
            if self._closed or not connection.is_connected:
                await drop(connection)
            else:
                self._idle.append((connection, time.monotonic()))
            return answers

    async def connect(self) -> Any:
        """A new connection, which the caller closes.

        Raises:
            Unreachable: there is none to be had.
        """
        if self._closed:
            raise Unreachable(f"the handle's connections to {self} are closed")
        host, port = self.address
        connection = self._class(host=host, port=port, **self._connect)
        self._tls.give(connection)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await connection.connect()
                if self._only_primary:
                    # A primary that was replaced, and came back, would answer reads with what it has.
                    (answer,) = await _exchange(connection, _ROLE, 1)
                    if isinstance(answer, list) and answer[0] != b"master":  # some forbid to ask
                        raise OSError("it is a replica")
        except (RedisError, OSError, TimeoutError) as error:
            await drop(connection)
            raise Unreachable(f"cannot connect to {self}: {_say(error)}") from error
        except BaseException:
            await drop(connection)
            raise
        return connection

    async def _take(self) -> Any:
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < _FRESH or not await _is_dirty(connection):
                return connection
            await drop(connection)
        return await self.connect()

    async def forget(self) -> None:
        """Close the connections that nobody uses now."""
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            await drop(connection)

    async def close(self) -> None:
        """Close every connection, those in use when they come back."""
        self._closed = True
        await self.forget()

    def abandon(self) -> None:
        """Close every connection of an event loop that runs no more."""
        idle, self._idle = self._idle, []
        self._closed = True
        for connection, _ in idle:
            abandon(connection)


async def _exchange(connection: Any, words: bytes, count: int) -> list[Any]:
    await connection.send_packed_command(words, check_health=False)
    answers: list[Any] = []
    for _ in range(count):
        try:
            answers.append(await connection.read_response())
        except (ResponseError, BusyLoadingError) as error:
            answers.append(error)
    return answers


async def drop(connection: Any) -> None:
    """Close a connection at once: over TLS it would say goodbye, and the event loop may end before that."""
    with contextlib.suppress(Exception):
        if connection._writer is not None:
            connection._writer.transport.abort()
        await connection.disconnect(nowait=True)


async def _is_dirty(connection: Any) -> bool:
    """Whether an idle connection was closed by the other side, or holds what nobody asked for."""
    look = getattr(connection, "can_read", None) or connection.can_read_destructive
    try:
        return bool(await look())
    except (RedisError, OSError):
        return True


def abandon(connection: Any) -> None:
    """Close a connection whose event loop runs no more: a transport leaves that to its loop otherwise."""
    writer = connection._writer
    connection._writer = connection._reader = None
    if writer is None:
        return
    transport = writer.transport
    with contextlib.suppress(Exception):
        transport.abort()
    inner = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport
    with contextlib.suppress(Exception):
        inner._call_connection_lost(None)


def _say(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__


def first_error(answers: Sequence[Any]) -> Exception | None:
    """The first of the answers that is an error."""
    return next((answer for answer in answers if isinstance(answer, Exception)), None)
