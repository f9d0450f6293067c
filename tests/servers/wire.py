"""Just enough of each server's protocol to ask whether it is up, and to join several into one.

Drivers are not used, because a server is also started where they are not installed. Only MongoDB's needs
`bson`, which comes with pymongo.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, BinaryIO

TIMEOUT = 5.0
"""Seconds that an answer may take."""


class NotReady(Exception):
    """The server is there, and cannot work yet."""


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise NotReady("the connection was closed")
    return data


def redis(port: int, *words: str | int) -> Any:
    """What a Redis server answers to one command.

    Raises:
        NotReady: it answers with an error.
    """
    command = [str(word).encode() for word in words]
    request = b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
    with _connect(port) as connection, connection.makefile("rb") as stream:
        connection.sendall(request)
        return _redis_value(stream)


def _redis_value(stream: BinaryIO) -> Any:
    line = stream.readline()
    kind, rest = line[:1], line[1:].rstrip(b"\r\n").decode()
    if not line.endswith(b"\r\n"):
        raise NotReady("the connection was closed")
    if kind == b"-":
        raise NotReady(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return _exactly(stream, int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
    if kind == b"*":
        return [_redis_value(stream) for _ in range(int(rest))]
    return rest


def ping_postgresql(port: int, user: str, database: str) -> None:
    """Log in to a PostgreSQL server, or to a pooler before it, that asks for no password."""
    words = b"".join(word.encode() + b"\0" for word in ("user", user, "database", database))
    body = struct.pack("!i", 3 << 16) + words + b"\0"
    with _connect(port) as connection, connection.makefile("rb") as stream:
        connection.sendall(struct.pack("!i", len(body) + 4) + body)
        while True:
            kind, size = struct.unpack("!ci", _exactly(stream, 5))
            message = _exactly(stream, size - 4)
            if kind == b"E":
                if b"SSL required" in message:
                    return  # it is up, and lets nobody in without TLS
                raise NotReady(message.replace(b"\0", b" ").decode(errors="replace"))
            if kind == b"Z":
                connection.sendall(b"X" + struct.pack("!i", 4))
                return


def ping_mysql(port: int) -> None:
    """Wait for the greeting of a MySQL or MariaDB server."""
    with _connect(port) as connection, connection.makefile("rb") as stream:
        size = int.from_bytes(_exactly(stream, 4)[:3], "little")
        greeting = _exactly(stream, size)
    if greeting[0] != 10:
        raise NotReady(greeting[3:].decode(errors="replace"))


def mongodb(port: int, command: dict[str, Any]) -> dict[str, Any]:
    """What a MongoDB server answers to one command on its `admin` database.

    Raises:
        NotReady: it answers with an error.
    """
    import bson

    body = struct.pack("<iB", 0, 0) + bson.encode({**command, "$db": "admin"})
    with _connect(port) as connection, connection.makefile("rb") as stream:
        connection.sendall(struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body)
        (size,) = struct.unpack("<i", _exactly(stream, 4))
        answer: dict[str, Any] = bson.decode(_exactly(stream, size - 4)[17:])
    if answer.get("ok") != 1:
        raise NotReady(str(answer.get("errmsg")))
    return answer
