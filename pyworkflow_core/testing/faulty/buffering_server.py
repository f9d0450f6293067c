"""A server that answers first, and writes a moment later."""

from __future__ import annotations

import os

from ...storage import StorageBackend
from ..hosts.tcp_server import TcpServer, main
from .lines_writing import AcknowledgesFirst


class BufferingServer(TcpServer):
    """Keeps each namespace in a journal that is written every now and then."""

    def make_store(self, namespace: str) -> StorageBackend:
        """A store that acknowledges what is in its buffer."""
        return AcknowledgesFirst(os.path.join(self.folder, namespace))


if __name__ == "__main__":
    main(BufferingServer)
