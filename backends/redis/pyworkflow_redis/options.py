"""The options of the Redis backend, as arguments and as parts of its URLs.

What is not an option of ours is redis-py's: ``ssl_ca_certs``, ``client_name``, ``username`` and so on.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from msgspec import Struct
from redis.asyncio.connection import Connection, SSLConnection, parse_url

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.plugins import redact

Address = tuple[str, int]

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ACK = re.compile(r"server|always|everysec|wait:[1-9][0-9]?")
_TRUE = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_PORT, _SENTINEL_PORT = 6379, 26379
MOST_BUCKETS = 4096


class Options(Struct, frozen=True, kw_only=True):
    """What can be set.

    Attributes:
        namespace: keeps runs apart that share a server; all its keys begin with it.
        feed: whether the namespace has a feed; fixed when it is made. None takes it as it is.
        buckets: into how many parts the namespace is divided; fixed when it is made. None takes
            it as it is, or makes one part, and on a cluster 16 for each primary.
        migrate: ``never`` refuses a namespace that nobody has made; ``auto`` makes it.
        ack: what has happened when a commit is acknowledged: ``server`` what the server's settings
            say; ``everysec`` it is synced to disk within a second; ``always`` it is synced;
            ``wait:N`` so many replicas have it.
        eviction: ``refuse`` a server that may evict our keys, or ``allow`` it.
        timeout: seconds to wait for an answer.
        connect_timeout: seconds to wait for a connection.
        connections: how many connections to one server are open at most.
    """

    namespace: str = "pyworkflow"
    feed: bool | None = None
    buckets: int | None = None
    migrate: str = "auto"
    ack: str = "server"
    eviction: str = "refuse"
    timeout: float = 10.0
    connect_timeout: float = 5.0
    connections: int = 16

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ConfigurationError(
                f"namespace {self.namespace!r}: at most 64 letters, digits, dots, hyphens and underscores"
            )
        if not _ACK.fullmatch(self.ack):
            raise ConfigurationError(
                f"ack={self.ack!r}: there are 'server', 'everysec', 'always' and 'wait:N', for N replicas"
            )
        if self.migrate not in {"auto", "never"}:
            raise ConfigurationError(f"migrate={self.migrate!r}: there are 'auto' and 'never'")
        if self.eviction not in {"refuse", "allow"}:
            raise ConfigurationError(f"eviction={self.eviction!r}: there are 'refuse' and 'allow'")
        if self.buckets is not None and not 0 < self.buckets <= MOST_BUCKETS:
            raise ConfigurationError(f"buckets={self.buckets}: there can be 1 to {MOST_BUCKETS}")
        if self.timeout <= 0 or self.connect_timeout <= 0 or self.connections < 1:
            raise ConfigurationError("timeout, connect_timeout and connections must be positive")

    @property
    def replicas(self) -> int:
        """How many replicas must have what is acknowledged."""
        return int(self.ack.partition(":")[2]) if self.ack.startswith("wait:") else 0


class Target(Struct, frozen=True, kw_only=True):
    """Where the server is, and how connections to it are made.

    Attributes:
        kind: ``server``, ``sentinel`` or ``cluster``.
        addresses: the server, or the sentinels or cluster nodes to ask first.
        service: the primary's name among the sentinels.
        connect: arguments for every connection, host and port aside.
        ask: the same for connections to sentinels.
        shown: the URL for people.
    """

    kind: str
    addresses: tuple[Address, ...]
    service: str = ""
    connect: dict[str, Any] = {}
    ask: dict[str, Any] = {}
    shown: str = ""


def read_url(url: str, given: dict[str, Any]) -> tuple[Target, Options]:
    """Where to connect to, and the options: those in the URL, and those that are `given`.

    Raises:
        ConfigurationError: it is no such URL, or an option has a value that it cannot have.
    """
    shown = redact(url)
    try:
        parts = urlsplit(url)
        pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise ConfigurationError(f"{shown!r} is not a URL") from None
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES or parts.fragment:
        raise ConfigurationError(f"{shown!r}: write {'://…, '.join(_SCHEMES)}://…")
    known = Options.__struct_fields__
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TypeError(f"RedisStorageBackend has no option {unknown[0]!r}")
    ours = {name: _read(name, value) for name, value in pairs.items() if name in known}
    options = Options(**{**ours, **given})
    kind = scheme.partition("+")[2] or "server"
    user, _, hosts = parts.netloc.rpartition("@")
    path = [unquote(part) for part in parts.path.split("/") if part]
    service = path.pop(0) if kind == "sentinel" and path else ""
    database = path.pop(0) if path else "0"
    if path or not database.isdecimal() or (kind == "cluster" and database != "0"):
        raise ConfigurationError(f"{shown!r}: {_PATHS[kind]}")
    if kind == "sentinel" and not service:
        raise ConfigurationError(f"{shown!r}: {_PATHS[kind]}")
    addresses = tuple(_address(host, kind, shown) for host in hosts.split(","))
    if kind == "server" and len(addresses) > 1:
        raise ConfigurationError(
            f"{shown!r} names several servers: write redis+sentinel:// or redis+cluster://"
        )
    theirs = {name: value for name, value in pairs.items() if name not in known}
    asked = {
        name.removeprefix("sentinel_"): theirs.pop(name)
        for name in list(theirs)
        if name.startswith("sentinel_")
    }
    tls = scheme.partition("+")[0]
    return (
        Target(
            kind=kind,
            addresses=addresses,
            service=service,
            connect=_arguments(f"{tls}://{user}@host/{database}", theirs, options, shown),
            ask=_arguments(f"{tls}://host/0", {**_only_tls(theirs), **asked}, options, shown),
            shown=shown,
        ),
        options,
    )


_PATHS = {
    "server": "the path is the number of a database, such as /0",
    "sentinel": "write redis+sentinel://host1:26379,host2:26379/NAME/0, with the primary's name",
    "cluster": "a cluster has no numbered databases; leave the path out",
}


def _address(host: str, kind: str, shown: str) -> Address:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{shown!r}: {host!r} is not a host with a port") from None
    return parts.hostname or "localhost", port or (_SENTINEL_PORT if kind == "sentinel" else _PORT)


def _only_tls(query: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name.startswith("ssl_")}


def _arguments(url: str, query: dict[str, str], options: Options, shown: str) -> dict[str, Any]:
    """What redis-py's connection takes, and its class."""
    try:
        found: dict[str, Any] = dict(parse_url(f"{url}?{urlencode(query)}"))
    except ValueError as error:
        raise ConfigurationError(f"{shown!r}: {error}") from None
    del found["host"]
    kind = found.setdefault("connection_class", Connection)
    # Time limits are ours, of a whole exchange; redis-py would begin a task for each write.
    found.update(socket_timeout=None, socket_connect_timeout=options.connect_timeout, protocol=2)
    try:
        kind(host="localhost", **{k: v for k, v in found.items() if k != "connection_class"})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{shown!r}: an option that redis-py does not know: {error}") from None
    assert issubclass(kind, (Connection, SSLConnection))
    return found


def _read(name: str, text: str) -> Any:
    try:
        if name == "feed":
            return _TRUE[text.lower()]
        if name in {"buckets", "connections"}:
            return int(text)
        return float(text) if name in {"timeout", "connect_timeout"} else text
    except (KeyError, ValueError):
        what = {"feed": "1 or 0", "buckets": "a whole number", "connections": "a whole number"}
        raise ConfigurationError(f"option {name}={text!r} is not {what.get(name, 'a number')}") from None
