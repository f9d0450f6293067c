"""A toy server for `TcpStore`: a folder of `LinesStore`s, one for each namespace.

``python -m pyworkflow_core.testing.hosts.tcp_server --port 0 --folder F`` prints its port and
serves until it is killed, or until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys

import msgspec
from msgspec import Raw

from ...errors import StorageClosed, StorageError, StorageUnavailable
from ...storage import StorageBackend
from . import wire
from .lines import LinesStore


class TcpServer:
    """Answers requests, one at a time for each connection.

    Args:
        folder: where the namespaces' journals are.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._stores: dict[str, StorageBackend] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends. A line without its break is no request."""
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                writer.write(msgspec.json.encode(await self.reply(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass  # the client is gone, or sends what is no line
        finally:
            writer.close()

    async def reply(self, line: bytes) -> wire.Reply:
        """Do what a request asks."""
        try:
            request = wire.decode(line, wire.Request)
            arguments = wire.decode(request.arguments, wire.ARGUMENTS[request.call])
            return wire.Reply(Raw(await self.answer(request.namespace, request.call, arguments)))
        except (StorageError, ValueError) as error:
            return wire.Reply(error=type(error).__name__, text=str(error))

    async def answer(self, namespace: str, call: str, arguments: tuple[object, ...]) -> bytes:
        """What the namespace's store returns, encoded. The client has checked the arguments."""
        store = self.store(namespace)
        try:
            await store.open()
            result = await getattr(store, f"_{call}")(*arguments, *([None] if call == "commit" else []))
        except StorageClosed as error:
            del self._stores[namespace]  # its disk failed; the next request opens another handle
            raise StorageUnavailable(f"the server's disk failed: {error}") from error
        return msgspec.json.encode([wire.wire_answer(a) for a in result] if call == "commit" else result)

    def store(self, namespace: str) -> StorageBackend:
        """The store of a namespace; another one for every other."""
        if namespace not in self._stores:
            self._stores[namespace] = self.make_store(namespace)
        return self._stores[namespace]

    def make_store(self, namespace: str) -> StorageBackend:
        """A store in a folder of the namespace's own."""
        return LinesStore(folder_of(self.folder, namespace))


def folder_of(folder: str, namespace: str) -> str:
    """Where a namespace's journal is, whatever the name has in it."""
    return os.path.join(folder, hashlib.sha256(namespace.encode()).hexdigest())


async def run(server: TcpServer, port: int) -> None:
    """Print the port, and serve until standard input ends."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port, limit=wire.LONGEST)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main(kind: type[TcpServer]) -> None:
    """The command line of a server of class `kind`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", required=True)
    options = parser.parse_args()
    asyncio.run(run(kind(options.folder), options.port))


if __name__ == "__main__":
    main(TcpServer)
