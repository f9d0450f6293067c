"""Redis over TLS, through a proxy that speaks it for a server which does not."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.testing import PROFILES
from pyworkflow_core.testing.laws.registry import all_checks
from pyworkflow_core.testing.runner import applies, look_at, make_check
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.conformance import RedisSubject


class Terminator:
    """Takes TLS connections, and passes what they say on to a plain server. Lives in a thread."""

    def __init__(self, port: int, authority: trustme.CA) -> None:
        self._target = port
        self._authority = authority
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("localhost").configure_cert(context)
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                target.transport.abort()  # close() would wait for a goodbye, and the loop may not

        await asyncio.gather(pump(reader, ours), pump(theirs, writer))

    def close(self) -> None:
        """Stop, and wait for it."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


@pytest.fixture
def authority() -> trustme.CA:
    """Whoever signs the server's certificate."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    """The file of the authority's certificate."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture
def tls_port(redis: Any, authority: trustme.CA) -> Iterator[int]:
    """The port at which the shared server speaks TLS."""
    terminator = Terminator(redis.port, authority)
    yield terminator.port
    terminator.close()


@pytest.mark.parametrize("law", [2, 12, 24, 34, 38])
def test_laws_hold_over_tls(law: int, tls_port: int, trusted: Path) -> None:
    subject = RedisSubject(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={trusted}")
    seen = look_at(subject)
    checks = [check for check in all_checks() if check.law == law and applies(check, seen.capabilities)]
    make_check(checks[0], subject, PROFILES["quick"], 0)


@pytest.mark.parametrize(
    "url", ["rediss://:hidden@localhost:{}/0", "rediss://127.0.0.1:{}/0?ssl_ca_certs={}"]
)
def test_a_certificate_that_is_not_trusted_is_refused(url: str, tls_port: int, trusted: Path) -> None:
    async def main() -> None:
        async with RedisStorageBackend(url.format(tls_port, trusted)):
            raise AssertionError("it opened")

    with pytest.raises(StorageUnavailable, match="certificate") as caught:
        asyncio.run(main())
    assert "hidden" not in str(caught.value)
