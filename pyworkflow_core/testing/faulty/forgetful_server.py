"""A server that keeps runs in its memory."""

from __future__ import annotations

from ...storage import StorageBackend
from ..hosts.ram import RamStore
from ..hosts.tcp_server import TcpServer, main


class ForgetfulServer(TcpServer):
    """Keeps each namespace in a dictionary."""

    def make_store(self, namespace: str) -> StorageBackend:
        """A store that ends with the process."""
        return RamStore(namespace)


if __name__ == "__main__":
    main(ForgetfulServer)
