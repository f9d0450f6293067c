"""What a server's settings make of acknowledged appends: facts, and what follows from them."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError, StorageUnavailable

from .connections import Lost, Server, Unreachable
from .link import Seal
from .options import Options
from .topology import Topology

_WAITAOF_SINCE = (7, 2)


class Facts(Struct, frozen=True, kw_only=True):
    """What a server says of itself. None is what it keeps to itself.

    Attributes:
        name: host and port.
        version: its version.
        appendonly: whether it writes an append-only file.
        appendfsync: how often it syncs that: ``always``, ``everysec`` or ``no``.
        policy: what it does when its memory is full: `maxmemory-policy`.
        maxmemory: how much memory it may use, in bytes; 0 for no limit.
        used: how much it uses.
        primary: whether it takes writes.
        replicas: how many replicas are connected.
    """

    name: str
    version: tuple[int, ...]
    appendonly: bool | None
    appendfsync: str | None
    policy: str | None
    maxmemory: int
    used: int
    primary: bool
    replicas: int

    @property
    def evicts(self) -> bool:
        """Whether it may remove keys of ours: none of them has a time to live."""
        return self.policy is not None and self.policy.startswith("allkeys")

    @property
    def syncs_each_write(self) -> bool:
        """Whether every answer comes after what it answers was synced to disk."""
        return bool(self.appendonly) and self.appendfsync == "always"


async def look(topology: Topology) -> list[Facts]:
    """Ask every primary for its settings.

    Raises:
        StorageUnavailable: one of them does not answer.
    """
    try:
        await topology.refresh()
        return await asyncio.gather(*map(look_at, topology.primaries))
    except (Unreachable, Lost) as error:
        raise StorageUnavailable(str(error)) from error


async def look_at(server: Server) -> Facts:
    """Ask a server for its settings.

    Raises:
        Unreachable, Lost: there was no answer.
        StorageUnavailable: it does not tell anything.
    """
    names = ("appendonly", "appendfsync", "maxmemory-policy")
    info, *settings = await server.ask(("INFO",), *(("CONFIG", "GET", name) for name in names))
    if isinstance(info, Exception):
        raise StorageUnavailable(f"{server} does not answer INFO: {info}")
    said = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    # Managed services often refuse CONFIG.
    appendonly, appendfsync, policy = (_value(answer) for answer in settings)
    if appendonly is None and "aof_enabled" in said:
        appendonly = "yes" if said["aof_enabled"] == "1" else "no"
    return Facts(
        name=str(server),
        version=tuple(int(part) for part in said.get("redis_version", "0").split(".") if part.isdecimal()),
        appendonly=None if appendonly is None else appendonly == "yes",
        appendfsync=appendfsync,
        policy=policy if policy is not None else said.get("maxmemory_policy"),
        maxmemory=int(said.get("maxmemory", 0)),
        used=int(said.get("used_memory", 0)),
        primary=said.get("role", "master") == "master",
        replicas=int(said.get("connected_slaves", 0)),
    )


def _value(answer: Any) -> str | None:
    if isinstance(answer, Exception) or len(answer) < 2:
        return None
    return str(answer[1].decode())


def check(facts: list[Facts], options: Options) -> None:
    """Refuse servers that cannot do what the options ask for.

    Raises:
        ConfigurationError: one of them cannot; says what to change.
        StorageUnavailable: one of them is not a primary now.
    """
    for server in facts:
        if not server.primary:
            raise StorageUnavailable(f"{server.name} is a replica: connect to its primary")
        if server.evicts and options.eviction == "refuse":
            raise ConfigurationError(
                f"{server.name} may evict runs when its memory is full (maxmemory-policy {server.policy}): "
                "set maxmemory-policy to noeviction, or say eviction=allow if losing runs is all right"
            )
        if options.ack == "always" and not server.syncs_each_write:
            if not server.appendonly:
                raise ConfigurationError(
                    f"ack=always: {server.name} has appendonly {_on(server.appendonly)}; turn it on"
                )
            if server.version < _WAITAOF_SINCE:
                raise ConfigurationError(
                    f"ack=always: {server.name} is older than Redis 7.2, which brought WAITAOF; "
                    "set appendfsync always"
                )
        if options.ack == "everysec" and not (
            server.appendonly and server.appendfsync in {"everysec", "always", None}
        ):
            raise ConfigurationError(
                f"ack=everysec: {server.name} has appendonly {_on(server.appendonly)} and appendfsync "
                f"{server.appendfsync or 'unknown'}; set appendonly yes and appendfsync everysec"
            )


def needs_wait_aof(facts: list[Facts], options: Options) -> bool:
    """Whether a commit has to ask for the sync that its acknowledgement promises."""
    return options.ack == "always" and not all(server.syncs_each_write for server in facts)


def is_durable(facts: list[Facts], options: Options) -> bool:
    """Whether what is acknowledged survives the end of a server."""
    return options.ack == "always" or all(server.syncs_each_write for server in facts)


def failover_loss(facts: list[Facts], kind: str, options: Options) -> str:
    """What a failover can still lose, in words; empty if nobody can take over."""
    if kind == "server" and not any(server.replicas for server in facts):
        return ""
    if options.replicas:
        return (
            f"what was acknowledged, if none of the {options.replicas} replica(s) that have it in memory "
            "takes over"
        )
    return "what was acknowledged and had not reached the replica that takes over"


def _on(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def seal(facts: list[Facts], options: Options) -> Seal | None:
    """What a commit has to ask for behind its scripts, so that its acknowledgement holds its promise."""
    patience = int(options.timeout * 800)  # in milliseconds, and within the time for an answer
    if options.replicas:
        wanted = options.replicas
        return Seal(
            ("WAIT", wanted, patience),
            lambda answer: isinstance(answer, int) and answer >= wanted,
            f"{wanted} replica(s) did not confirm the commit in time",
        )
    if needs_wait_aof(facts, options):
        return Seal(
            ("WAITAOF", 1, 0, patience),
            lambda answer: isinstance(answer, list) and answer[0] >= 1,
            "the commit was not synced to disk in time",
        )
    return None
