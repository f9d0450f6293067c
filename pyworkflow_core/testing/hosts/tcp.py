"""A store behind a server: one connection a handle, one request at a time on it.

What happened to a request whose answer never came is unknown, and is said to be; the
connection is then given up, since a late answer on it would be taken for another request's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from ...checks import read_cursor
from ...errors import FeedPositionLost, OutcomeUnknown, StorageClosed, StorageUnavailable
from ...events import Event
from ...record import RunRecord
from ...storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    FeedPage,
    Page,
    RunQuery,
    StorageBackend,
    Unknown,
)
from . import wire


class TcpStore(StorageBackend):
    """Keeps runs on a server.

    Args:
        host: where the server is.
        port: its port.
        namespace: whose runs; two namespaces never meet.
        patience: seconds to wait for a connection, and for an answer.
    """

    capabilities = Capabilities(durable=True, multi_process=True, server=True, feed=True)
    server_module = "pyworkflow_core.testing.hosts.tcp_server"
    """What to run with ``python -m`` for a server."""

    def __init__(self, host: str, port: int, namespace: str, *, patience: float = 10.0) -> None:
        self._address = host, port
        self._namespace = namespace
        self._patience = patience
        self._socket: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def _open(self) -> None:
        self._disconnect()
        self._turn = asyncio.Lock()  # a lock belongs to one event loop
        await self._connection()

    async def _close(self) -> None:
        async with self._turn:
            self._disconnect()

    # ---- the connection ------------------------------------------------------------

    async def _connection(self) -> socket.socket:
        """The connection, made again if it is gone.

        Raises:
            StorageUnavailable: the server cannot be reached; nothing was sent.
        """
        if self._closed:
            raise StorageClosed(f"{type(self).__name__} is closed; open a new one")
        if self._socket is not None and _is_alive(self._socket):
            return self._socket
        self._disconnect()
        self._socket = connection = socket.socket()
        connection.setblocking(False)
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.get_running_loop().sock_connect(connection, self._address)
        except OSError as error:
            self._disconnect()
            raise StorageUnavailable(f"no server at {self._address}: {error}") from error
        except BaseException:
            self._disconnect()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _exchange(self, request: bytes) -> bytes:
        """Send a line and return the line that answers it.

        Raises:
            StorageUnavailable: the server never had the whole request, so it did nothing.
            OutcomeUnknown: it may have.
        """
        async with self._turn:
            connection = await self._connection()
            try:
                async with asyncio.timeout(self._patience):
                    await self._send(connection, request)
                    return await self._receive(connection)
            except OSError as error:
                self._disconnect()
                raise self._lost(error) from error
            except BaseException:
                self._disconnect()
                raise

    async def _send(self, connection: socket.socket, request: bytes) -> None:
        """Send all of a request. The server does nothing before it has the line break."""
        try:
            await asyncio.get_running_loop().sock_sendall(connection, request)
        except ConnectionError as error:
            self._disconnect()
            raise StorageUnavailable(f"{self._address}: {error}; the request was not sent") from error

    async def _receive(self, connection: socket.socket) -> bytes:
        """One line."""
        line = bytearray()
        while not line.endswith(b"\n"):
            more = await asyncio.get_running_loop().sock_recv(connection, 2**16)
            if not more:
                raise ConnectionResetError("the server closed the connection")
            line += more
        return bytes(line)

    def _lost(self, error: OSError) -> Exception:
        """What to raise for a connection that broke while an answer was awaited."""
        return OutcomeUnknown(f"{self._address}: {error or 'no answer'}; resubmit what was asked")

    async def _ask(self, call: str, *arguments: Any) -> Any:
        """Call a method of the server's store."""
        packed = Raw(msgspec.json.encode(arguments))
        line = await self._exchange(msgspec.json.encode(self._request(call, packed)) + b"\n")
        reply = wire.decode(line, wire.Reply)
        if reply.error:
            raise wire.received_error(reply.error, reply.text)
        return wire.decode(reply.value, wire.RESULTS[call])

    def _request(self, call: str, arguments: Raw) -> wire.Request:
        return wire.Request(self._namespace, call, arguments)

    async def _ask_again(self, call: str, *arguments: Any) -> Any:
        """Call a method that is no append: if there is no answer, the caller simply calls again."""
        try:
            return await self._ask(call, *arguments)
        except OutcomeUnknown as error:
            raise StorageUnavailable(str(error)) from error

    # ---- the contract --------------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        try:
            answers = await self._ask("commit", appends)
        except OutcomeUnknown as error:
            return [Unknown(append.run_id, error) for append in appends]
        return [wire.received_answer(answer) for answer in answers]

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        events: list[Event] = await self._ask_again("read", run_id, after, limit)
        return events

    async def _get(self, run_id: str) -> RunRecord | None:
        record: RunRecord | None = await self._ask_again("get", run_id)
        return record

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        if cursor is not None:
            read_cursor(cursor)
        try:
            page: Page = await self._ask_again("find", query, cursor, limit)
        except UnicodeEncodeError:
            return Page([], None)  # text that no run can have
        return page

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        claims: list[Claim] = await self._ask_again("claim", owner, now, lease, limit, queues, run_id)
        return claims

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self._change_lease("extend", claim, until)

    async def _release(self, claim: Claim) -> bool:
        return await self._change_lease("release", claim)

    async def _change_lease(self, call: str, claim: Claim, *arguments: int) -> bool:
        try:
            changed: bool = await self._ask_again(call, claim, *arguments)
        except UnicodeEncodeError:
            return False  # text that no claim can have
        return changed

    async def _delete(self, run_id: str, expected: int) -> None:
        await self._ask_again("delete", run_id, expected)

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        try:
            page: FeedPage = await self._ask_again("feed", after, limit)
        except UnicodeEncodeError:
            raise FeedPositionLost(f"{after!r} is no position of this store; begin with None") from None
        return page


def _is_alive(connection: socket.socket) -> bool:
    """Whether the server has not closed the connection, as far as is known here."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False  # it has ended, or says what nobody asked
