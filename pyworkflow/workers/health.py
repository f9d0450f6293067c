"""A worker's health for those who watch it: a file that is written anew, or a port that answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from pyworkflow_core.errors import ConfigurationError

from .stats import WorkerHealth

_EVERY = 5.0
_REQUEST = 5.0


@contextlib.asynccontextmanager
async def shown_health(
    where: str, health: Callable[[], WorkerHealth], *, every: float = _EVERY
) -> AsyncIterator[int]:
    """Show a worker's health while the block runs.

    Args:
        where: a port, as ``8080`` or ``0.0.0.0:8080`` (this machine only, unless a host is given), or
            the path of a file, which goes when the block ends.
        health: what is asked.
        every: seconds between two writings of the file.

    Returns:
        A context manager that gives the port; 0 for a file.

    Raises:
        ConfigurationError: the port is taken, or the file cannot be written.
    """
    host, _, port = where.rpartition(":")
    if port.isdecimal() and "/" not in where:
        async with _served(host or "127.0.0.1", int(port), health) as found:
            yield found
    else:
        async with _written(Path(where), health, every):
            yield 0


@contextlib.asynccontextmanager
async def _served(host: str, port: int, health: Callable[[], WorkerHealth]) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST):
                while (await reader.readline()).strip():
                    pass
                now = health()
                body = msgspec.json.encode(now)
                status = "200 OK" if now.is_well else "503 Service Unavailable"
                head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
                writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # whoever asked has gone, or asks something that is no request
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port)
    except OSError as error:
        raise ConfigurationError(f"the health cannot be shown on {host}:{port}: {error}") from None
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def _written(path: Path, health: Callable[[], WorkerHealth], every: float) -> AsyncIterator[None]:
    def write() -> None:
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        beside.write_bytes(msgspec.json.encode(health()) + b"\n")
        beside.replace(path)  # so that nobody reads half of it

    def remove() -> None:
        path.unlink(missing_ok=True)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(every)
            with contextlib.suppress(OSError):  # its age says so
                write()

    try:
        write()
    except OSError as error:
        raise ConfigurationError(f"the health cannot be written to {path}: {error}") from None
    writing = asyncio.create_task(go_on(), name="pyworkflow-health")
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        remove()
