"""A namespace of one bucket as JSON, and back: for stores that an older version wrote.

Redis has `DUMP`, but what a newer server dumps no older one restores. To keep a history of a new version::

    python -m pyworkflow_core.testing.golden 'redis://localhost/0?namespace=golden&feed=1'
    python -m pyworkflow_redis.golden_dump localhost 6379 golden >golden/redis-N.json
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from .connections import Command, Server, Tls
from .options import Options, read_url

_READ: dict[bytes, tuple[str, tuple[Any, ...]]] = {
    b"string": ("GET", ()),
    b"list": ("LRANGE", (0, -1)),
    b"hash": ("HGETALL", ()),
    b"zset": ("ZRANGE", (0, -1, "WITHSCORES")),
}


async def dump(server: Server, namespace: str) -> str:
    """Every key of the namespace, a line each: its name without the tag, its type, what is in it."""
    tag = f"{{{namespace}}}:"
    (names,) = await server.ask(("KEYS", f"{tag}*"))
    lines = []
    for name in sorted(names):
        (kind,) = await server.ask(("TYPE", name))
        command, more = _READ[kind]
        (value,) = await server.ask((command, name, *more))
        lines.append(json.dumps([_text(name.removeprefix(tag.encode())), _text(kind), _text(value)]))
    return "\n".join(lines) + "\n"


async def restore(server: Server, namespace: str, dumped: str) -> None:
    """Write what `dump` has read, into a namespace that is empty."""
    for line in dumped.splitlines():
        name, kind, value = json.loads(line)
        await server.ask(_write(f"{{{namespace}}}:".encode() + _bytes(name), kind, value))


def _write(key: bytes, kind: str, value: Any) -> Command:
    if kind == "string":
        return ("SET", key, _bytes(value))
    words = [_bytes(word) for word in value]
    if kind == "list":
        return ("RPUSH", key, *words)
    if kind == "hash":
        return ("HSET", key, *words)
    pairs = zip(words[1::2], words[::2], strict=True)
    return ("ZADD", key, *(word for pair in pairs for word in pair))


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [_text(word) for word in value]


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


async def _main(host: str, port: str, namespace: str) -> None:
    target, _ = read_url(f"redis://{host}:{port}", {})
    server = Server(target.addresses[0], target.connect, Options(), Tls())
    print(await dump(server, namespace), end="")
    await server.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
