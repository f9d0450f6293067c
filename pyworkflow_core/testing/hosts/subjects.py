"""How the suite reaches the small stores: a subject for each of them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from ...storage import StorageBackend
from ..clock import Clock
from ..subject import Files, Subject
from .lines import LinesStore
from .ram import RamStore, RamTransaction
from .tcp import TcpStore
from .tcp_server import folder_of

GOLDEN = Path(__file__).with_name("golden") / "format-1.jsonl"
"""A journal that the first format's writer left."""


class RamSubject(Subject):
    """Reaches `RamStore`, or a subclass of it."""

    store: ClassVar[type[RamStore]] = RamStore

    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """A handle on the dictionaries of that name."""
        async with self.store(namespace) as store:
            yield store

    async def drop(self, namespace: str) -> None:
        """Forget the dictionaries."""
        self.store.forget(namespace)

    def transaction(self, store: StorageBackend) -> AbstractAsyncContextManager[Any]:
        """A transaction on whatever store it is first used with."""
        return RamTransaction()


class LinesSubject(Subject):
    """Reaches `LinesStore`, or a subclass of it: one folder a namespace."""

    store: ClassVar[type[LinesStore]] = LinesStore

    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """A handle on the folder of that name."""
        async with self.store(str(self.folder / namespace)) as store:
            yield store

    async def drop(self, namespace: str) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder / namespace, ignore_errors=True)

    def files(self, namespace: str) -> Files:
        """The journal is all there is."""
        return Files(self.folder / namespace, "journal.jsonl")

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        """A handle on a copy of what the first format's writer left."""
        _restore_golden(self.folder / namespace)
        return self.open(namespace, clock)


class TcpSubject(Subject):
    """Reaches `TcpStore`, or a subclass of it, and the server that it needs, in a process of its own."""

    store: ClassVar[type[TcpStore]] = TcpStore
    _server: subprocess.Popen[bytes] | None = None

    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """A handle on the server."""
        async with self.open_at(namespace, clock, *self.address()) as store:
            yield store

    async def drop(self, namespace: str) -> None:
        """Leave it: `folder` goes as a whole."""

    def address(self) -> tuple[str, int]:
        """Where the server is; it is started if there is none."""
        # The run's other processes find it by the file.
        place = self.folder / "port.json"
        if not place.exists():
            place.write_text(json.dumps(self._start(0)))
        return "127.0.0.1", int(json.loads(place.read_text()))

    @asynccontextmanager
    async def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AsyncIterator[StorageBackend]:
        """A handle that reaches the server at another address."""
        async with self.store(host, port, namespace, patience=2.0) as store:
            yield store

    async def restart(self) -> bool:
        """Kill the server, and start it again on its port."""
        _, port = self.address()
        if self._server is None:
            return False
        self._stop()
        self._start(port)
        return True

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        """A handle on a copy, in the server's folder, of what the first format's writer left."""
        _restore_golden(Path(folder_of(str(self.folder / "server"), namespace)))
        return self.open(namespace, clock)

    def _start(self, port: int) -> int:
        folder = self.folder / "server"
        command = [
            sys.executable,
            "-m",
            self.store.server_module,
            "--port",
            str(port),
            "--folder",
            str(folder),
        ]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())

    def _stop(self) -> None:
        if self._server is not None:
            with self._server as server:
                server.send_signal(signal.SIGKILL)
            self._server = None

    def remove_folder(self) -> None:
        """Stop the server, and remove what it left."""
        self._stop()
        super().remove_folder()


def _restore_golden(folder: Path) -> None:
    folder.mkdir(parents=True)
    shutil.copy(GOLDEN, folder / "journal.jsonl")
