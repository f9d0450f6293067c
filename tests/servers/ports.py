"""Loopback ports that nobody else takes, not even while their server is down."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

LOWEST = 15_000


def _highest() -> int:
    # Above begin the ports that the kernel gives to outgoing connections.
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) - 1
    except OSError:
        return 32_767


class Reservation:
    """A port of this process until it closes the reservation or ends.

    Other processes that ask here never get it: the mark is a socket in the abstract namespace, which
    is as wide as the namespace of the ports and leaves no file.
    """

    def __init__(self) -> None:
        # The system's own source: two forks must not draw the same numbers.
        draw = random.SystemRandom()
        lowest, highest = LOWEST, _highest()
        if highest - lowest < 1000:
            lowest, highest = 1024, 65_535
        for _ in range(1000):
            self.port = draw.randint(lowest, highest)
            self._mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._mark.bind(f"\0pyworkflow-servers/port/{self.port}")
                if _is_free(self.port):
                    return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            self._mark.close()
        raise OSError(errno.EADDRINUSE, "no free loopback port was found")

    def close(self) -> None:
        """Give the port back."""
        self._mark.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
