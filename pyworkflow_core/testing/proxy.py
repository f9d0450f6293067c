"""A proxy between a backend and its server, which cuts connections at chosen moments.

It knows nothing of the protocol. An *exchange* begins where the client speaks after the
server, or first of all; it is answered when the server speaks again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from msgspec import Struct

_PATIENCE = 10.0


class Moment(StrEnum):
    """Where in an exchange the connection is cut."""

    BEFORE = "before the request reaches the server"
    WITHIN = "after half of the request"
    AFTER = "before the answer reaches the client"
    ANSWERING = "after half of the answer"


class Cut(Struct, frozen=True):
    """A cut of one connection.

    Attributes:
        exchange: in which exchange from now on; the first is 1.
        moment: where in it.
        down: whether every other connection is cut with it, and none accepted until `heal`.
    """

    exchange: int
    moment: Moment
    down: bool = False


class Proxy:
    """Passes bytes on to a server, from a thread and an event loop of its own.

    Args:
        host: the server's host.
        port: its port.

    Attributes:
        host: where the proxy listens.
        port: its port.
        exchanges: how many there were since the latest plan.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self.host = "127.0.0.1"
        self.port = 0
        self.exchanges = 0
        self._cut: Cut | None = None
        self._down = False
        self._holds = False
        self._held = threading.Event()
        self._lines: set[_Line] = set()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="laws-proxy", daemon=True)

    # ---- what a check does -----------------------------------------------------------

    async def cut(self, cut: Cut) -> None:
        """Cut a connection when it comes to that; until then all goes through."""
        await self._do(lambda: self._plan(cut, down=False, holds=False))

    async def heal(self) -> None:
        """Let everything through from now on."""
        await self._do(lambda: self._plan(None, down=False, holds=False))

    async def refuse(self) -> None:
        """Cut every connection, and refuse new ones until `heal`."""
        await self._do(lambda: self._plan(None, down=True, holds=False))

    async def hold(self) -> None:
        """Keep every answer back from now on. What is asked still reaches the server."""
        await self._do(lambda: self._plan(None, down=False, holds=True))

    async def held(self) -> bool:
        """Wait until an answer is being kept back; whether one came."""
        return await asyncio.to_thread(self._held.wait, _PATIENCE)

    # ---- its thread ------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._thread.start()
        await asyncio.to_thread(self._ready.wait)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join)

    async def _do(self, call: Callable[[], None]) -> None:
        """Make a call in the proxy's thread, and wait until it is made."""
        assert self._loop is not None

        async def made() -> None:
            call()

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(made(), self._loop))

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listening = await self._loop.create_server(lambda: _Line(self), self.host, 0)
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listening.close()
        self._cut_all()
        for _ in range(3):  # until every transport has been told
            await asyncio.sleep(0)

    def _plan(self, cut: Cut | None, *, down: bool, holds: bool) -> None:
        self.exchanges = 0
        self._cut, self._down, self._holds = cut, down, holds
        if down:
            self._cut_all()
        if not holds:
            self._held.clear()
            for line in self._lines:
                line.release()

    def _cut_all(self) -> None:
        for line in [*self._lines]:
            line.abort()

    def _make_cut(self, line: _Line) -> None:
        assert self._cut is not None
        self._down = self._cut.down
        self._cut = None
        line.abort()
        if self._down:
            self._cut_all()


class _Line(asyncio.Protocol):
    """One connection through the proxy: this end of it is the client's."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._waiting: list[bytes] = []  # what the client said before the server was reached
        self._kept: list[bytes] = []  # answers that are held
        self._asked = False  # whether the client spoke last
        self._cut: Cut | None = None  # to be made in the exchange under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client = transport
        if self._proxy._down:
            transport.abort()
            return
        self._proxy._lines.add(self)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._server, _ = await loop.create_connection(lambda: _ServerEnd(self), *self._proxy._server)
        except OSError:
            self.abort()
            return
        if self not in self._proxy._lines:
            self._server.abort()
            return
        for data in self._waiting:
            self._server.write(data)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """The client speaks."""
        proxy = self._proxy
        if not self._asked:
            self._asked = True
            proxy.exchanges += 1
            if proxy._cut is not None and proxy.exchanges == proxy._cut.exchange:
                self._cut = proxy._cut
        cut = self._present_cut()
        if cut is None or cut.moment not in {Moment.BEFORE, Moment.WITHIN}:
            self._to_server(data)
            return
        if cut.moment is Moment.WITHIN:
            self._to_server(data[: len(data) // 2])
        proxy._make_cut(self)

    def _to_server(self, data: bytes) -> None:
        if self._server is None:
            self._waiting.append(data)
        else:
            self._server.write(data)

    def answered(self, data: bytes) -> None:
        """The server speaks."""
        assert self._client is not None
        self._asked = False
        if (cut := self._present_cut()) is not None:
            if cut.moment is Moment.ANSWERING:
                self._client.write(data[: len(data) // 2])
            self._proxy._make_cut(self)
        elif self._proxy._holds:
            self._kept.append(data)
            self._proxy._held.set()
        else:
            self._client.write(data)

    def _present_cut(self) -> Cut | None:
        """The cut to be made in this exchange, unless it was called off."""
        return self._cut if self._cut is self._proxy._cut else None

    def release(self) -> None:
        """Hand over the answers that were held."""
        assert self._client is not None
        for data in self._kept:
            self._client.write(data)
        self._kept.clear()

    def abort(self) -> None:
        """Cut the connection, at both ends. What was already passed on is passed on."""
        self._proxy._lines.discard(self)
        for transport in (self._client, self._server):
            if transport is not None:
                transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.abort()


class _ServerEnd(asyncio.Protocol):
    """The end of a connection that is the server's."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def data_received(self, data: bytes) -> None:
        self._line.answered(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._line.abort()
