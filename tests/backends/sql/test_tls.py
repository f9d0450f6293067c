"""TLS to real servers: what is encrypted, who is trusted, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from pyworkflow_core.errors import ConfigurationError, StorageUnavailable
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import created


class Files:
    """An authority, the server's certificate and a client's, as files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = self._keep(folder / "ca.pem", authority.cert_pem)
        # For the address alone: the name "localhost" is somebody else.
        server = authority.issue_cert("127.0.0.1", common_name="server")
        self.certificate = self._keep(folder / "server.pem", *server.cert_chain_pems)
        self.key = self._keep(folder / "server.key", server.private_key_pem)
        client = authority.issue_cert("worker@example.org", common_name="worker")
        self.client = self._keep(folder / "client.pem", *client.cert_chain_pems)
        self.client_key = self._keep(folder / "client.key", client.private_key_pem)
        self.stranger = self._keep(folder / "stranger.pem", trustme.CA().cert_pem)

    def _keep(self, path: Path, *parts: trustme.Blob) -> Path:
        path.write_bytes(b"".join(part.bytes() for part in parts))
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def use(url: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Commit over the URL, and ask the server something on the same connections."""
    async with open_storage(url) as opened:
        store: Any = opened
        answer = await store.commit([created("a")])
        assert isinstance(answer[0], Committed) or answer[0].actual == 1
        async with store._pool.connected() as link:
            return await ask(link.driver)


async def is_refused(url: str) -> None:
    with pytest.raises(StorageUnavailable, match="cannot connect"):
        async with open_storage(url):
            pass


async def is_encrypted(driver: Any) -> bool:
    return driver._transport.get_extra_info("cipher") is not None


def test_postgresql_is_reached_over_tls_and_strangers_are_not_trusted(own_server: Any, files: Files) -> None:
    # The server of the tests is built without TLS: the pooler before it speaks it.
    server = own_server(
        "pgbouncer",
        "client_tls_sslmode=allow",
        f"client_tls_cert_file={files.certificate}",
        f"client_tls_key_file={files.key}",
    )
    here = f"{server.url}?prepared=0"
    named = here.replace("127.0.0.1", "localhost")

    async def main() -> None:
        assert await use(f"{here}&ssl=disable", is_encrypted) is False
        assert await use(f"{here}&ssl=require", is_encrypted) is True
        assert await use(f"{here}&sslmode=require", is_encrypted) is True
        assert await use(f"{here}&ssl=verify-full&sslrootcert={files.ca}", is_encrypted) is True
        assert await use(f"{here}&sslrootcert={files.ca}", is_encrypted) is True
        assert await use(f"{named}&ssl=verify-ca&sslrootcert={files.ca}", is_encrypted) is True
        await is_refused(f"{here}&sslrootcert={files.stranger}")
        await is_refused(f"{named}&ssl=verify-full&sslrootcert={files.ca}")

    asyncio.run(main())


def test_a_certificate_of_the_client_is_shown_to_who_asks(own_server: Any, files: Files) -> None:
    server = own_server(
        "pgbouncer",
        "client_tls_sslmode=verify-ca",
        f"client_tls_ca_file={files.ca}",
        f"client_tls_cert_file={files.certificate}",
        f"client_tls_key_file={files.key}",
    )
    here = f"{server.url}?prepared=0&sslrootcert={files.ca}"

    async def main() -> None:
        await is_refused(here)
        shown = f"sslcert={files.client}&sslkey={files.client_key}"
        assert await use(f"{here}&{shown}", is_encrypted) is True

    asyncio.run(main())


def test_mariadb_is_reached_over_tls_and_strangers_are_not_trusted(own_server: Any, files: Files) -> None:
    server = own_server("mariadb", f"--ssl-cert={files.certificate}", f"--ssl-key={files.key}")

    async def ask(driver: Any) -> bool:
        async with driver.cursor() as cursor:
            await cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            return bool((await cursor.fetchone())[1])

    async def main() -> None:
        named = server.url.replace("127.0.0.1", "localhost")
        assert await use(server.url, ask) is False
        assert await use(f"{server.url}?ssl=0", ask) is False
        assert await use(f"{server.url}?ssl_ca={files.ca}", ask) is True
        assert await use(f"{server.url}?ssl=true&ssl_ca={files.ca}", ask) is True
        assert await use(f"{server.url}?ssl=1&ssl_verify_cert=0", ask) is True
        assert await use(f"{named}?ssl_ca={files.ca}&ssl_check_hostname=false", ask) is True
        await is_refused(f"{server.url}?ssl=1")
        await is_refused(f"{server.url}?ssl_ca={files.stranger}")
        await is_refused(f"{named}?ssl_ca={files.ca}")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://h/d?ssl=perhaps", "there are disable"),
        ("postgresql://h/d?sslmode=prefer&sslrootcert={ca}", "without TLS"),
        ("postgresql://h/d?sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("postgresql://h/d?sslcert=/nowhere/c.pem", "/nowhere/c.pem"),
        ("postgresql://h/d?sslkey={key}", "has no certificate"),
        ("postgresql://h/d?sslcert={key}", "and its key"),
        ("mysql://h/d?ssl_ca=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("mysql://h/d?ssl=0&ssl_ca={ca}", "leave it out"),
        ("mysql://h/d?ssl_cipher=none-such", "ssl_cipher"),
        ("mysql://h/d?ssl=perhaps", "is not 1 or 0"),
    ],
)
def test_a_tls_option_that_cannot_work_is_refused_with_a_reason(files: Files, url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_storage(url.format(ca=files.ca, key=files.client_key))
