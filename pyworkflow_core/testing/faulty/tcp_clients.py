"""Bugs in a client of a server: what it makes of a connection that breaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from ...errors import OutcomeUnknown, StorageUnavailable
from ...storage import Answer, Append, Committed, Conflict, Unknown
from ..hosts import wire
from ..hosts.tcp import TcpStore


class CallsALostAnswerAConflict(TcpStore):
    """Answers a conflict where no answer came, so that the writer reads again."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        answers = await super()._commit(appends, within)
        return [Conflict(a.run_id, 0) if isinstance(a, Unknown) else a for a in answers]


class CallsALostAnswerSuccess(TcpStore):
    """Takes a request that was sent for one that was done."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        answers = await super()._commit(appends, within)
        return [
            Committed(a.run_id, append.record.head) if isinstance(a, Unknown) else a
            for append, a in zip(appends, answers, strict=True)
        ]


class LeaksConnectionErrors(TcpStore):
    """Lets the socket's error through as it is."""

    def _lost(self, error: OSError) -> Exception:
        return error


class StaysBroken(TcpStore):
    """Connects when it is opened, and never again."""

    async def _connection(self) -> socket.socket:
        if self._socket is None or self._socket.fileno() < 0:
            return await super()._connection()
        return self._socket

    def _disconnect(self) -> None:
        if self._closed:
            super()._disconnect()


class WaitsForEver(TcpStore):
    """Waits for an answer however long it takes, also from a server that is gone."""

    async def _exchange(self, request: bytes) -> bytes:
        try:
            return await super()._exchange(request)
        except OutcomeUnknown:
            await asyncio.sleep(3600)
            raise


class KeepsTheConnection(TcpStore):
    """Keeps a connection whose answer it did not wait for, and takes that for the next request's."""

    async def _exchange(self, request: bytes) -> bytes:
        async with self._turn:
            connection = await self._connection()
            try:
                await self._send(connection, request)
                return await self._receive(connection)
            except OSError as error:
                self._disconnect()
                raise self._lost(error) from error

    async def _connection(self) -> socket.socket:
        if self._socket is None:
            self._unread = bytearray()
            return await super()._connection()
        return self._socket

    async def _receive(self, connection: socket.socket) -> bytes:
        # Line by line, so that two answers which come together are two answers all the same.
        while b"\n" not in self._unread:
            more = await asyncio.get_running_loop().sock_recv(connection, 2**16)
            if not more:
                raise ConnectionResetError("the server closed the connection")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return bytes(line) + b"\n"


class GivesUpForGood(TcpStore):
    """Closes for good at the first connection that breaks."""

    async def _exchange(self, request: bytes) -> bytes:
        try:
            return await super()._exchange(request)
        except (OutcomeUnknown, StorageUnavailable):
            await self.close()
            raise


class LosesWhatItAcknowledged(TcpStore):
    """Keeps runs in the server's memory alone."""

    server_module = "pyworkflow_core.testing.faulty.forgetful_server"


class AnswersFromTheBuffer(TcpStore):
    """Acknowledges when the data are in the server's buffer."""

    server_module = "pyworkflow_core.testing.faulty.buffering_server"


class MixesNamespaces(TcpStore):
    """Leaves the namespace out of the server's keys."""

    def _request(self, call: str, arguments: Raw) -> wire.Request:
        return wire.Request("default", call, arguments)
