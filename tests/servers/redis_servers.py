"""Redis: one server, a cluster, and a primary with a replica under sentinels."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from pathlib import Path

from . import wire
from .fetch import fetch, library_path
from .processes import Program, wait_for
from .service import Place, Service, find

NEWEST = "redis-8.2"
SLOTS = 16384
PRIMARY = "primary"
"""The name under which the sentinels know the primary."""


def _program(place: Place, bundle: str, port: int, settings: Sequence[str], *options: str) -> Program:
    """A server with a settings file of its own, because some servers rewrite theirs."""
    folder = place.subfolder(f"redis-{port}")
    file = folder / "redis.conf"
    file.write_text("\n".join(["bind 127.0.0.1", f"port {port}", f'dir "{folder}"', *settings, ""]))
    command: list[str | Path] = [find(bundle, "redis-server"), file, *options]
    ping = functools.partial(wire.redis, port, "PING")
    return Program(command, port, ping, place.folder / f"redis-{port}.log", library_path(fetch(bundle)))


def _store(place: Place, bundle: str, port: int, *settings: str) -> Program:
    return _program(
        place, bundle, port, ["appendonly yes", "appendfsync always", 'save ""', *settings], *place.options
    )


class Redis(Service):
    """One Redis server that syncs its append-only file before it answers."""

    def __init__(self, place: Place, bundle: str) -> None:
        port = place.port()
        self.programs = [_store(place, bundle, port)]
        self.url = f"redis://127.0.0.1:{port}/0"


class RedisCluster(Service):
    """Three primaries that share the slots."""

    def __init__(self, place: Place) -> None:
        self._nodes = [(place.port(), place.port()) for _ in range(3)]
        settings = ("cluster-enabled yes", "cluster-node-timeout 2000")
        self.programs = [
            _store(place, NEWEST, port, *settings, f"cluster-port {bus}") for port, bus in self._nodes
        ]
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port, _ in self._nodes)}"

    def settle(self) -> None:
        """Share out the slots and introduce the nodes to each other, once; wait until each sees all."""
        count = len(self._nodes)
        first, _ = self._nodes[0]
        if self._info(first)["cluster_slots_assigned"] == "0":
            for number, (port, bus) in enumerate(self._nodes):
                slots = (SLOTS * number // count, SLOTS * (number + 1) // count - 1)
                wire.redis(port, "CLUSTER", "ADDSLOTSRANGE", *slots)
                wire.redis(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if port != first:
                    wire.redis(first, "CLUSTER", "MEET", "127.0.0.1", port, bus)
        wait_for(self._check, self.alive, "the cluster")

    def _check(self) -> None:
        for port, _ in self._nodes:
            info = self._info(port)
            if info["cluster_state"] != "ok" or int(info["cluster_size"]) < len(self._nodes):
                raise wire.NotReady(f"{port} sees {info}")

    def _info(self, port: int) -> dict[str, str]:
        lines: list[str] = wire.redis(port, "CLUSTER", "INFO").splitlines()
        return {name: value for name, _, value in (line.partition(":") for line in lines)}


class RedisSentinel(Service):
    """A primary and its replica, and three sentinels that name the primary."""

    def __init__(self, place: Place) -> None:
        primary, replica = place.port(), place.port()
        quick = "repl-diskless-sync-delay 0"
        self._stores = (primary, replica)
        self._sentinels = {place.port(): secrets.token_hex(20) for _ in range(3)}
        self.programs = [
            _store(place, NEWEST, primary, quick),
            _store(place, NEWEST, replica, quick, f"replicaof 127.0.0.1 {primary}"),
        ]
        for port, name in self._sentinels.items():
            # They would find each other, but take seconds for it.
            known = [
                f"sentinel known-sentinel {PRIMARY} 127.0.0.1 {other} {identity}"
                for other, identity in self._sentinels.items()
                if other != port
            ]
            settings = [
                f"sentinel myid {name}",
                f"sentinel monitor {PRIMARY} 127.0.0.1 {primary} 2",
                f"sentinel down-after-milliseconds {PRIMARY} 1000",
                f"sentinel failover-timeout {PRIMARY} 3000",
                f"sentinel known-replica {PRIMARY} 127.0.0.1 {replica}",
                *known,
            ]
            self.programs.append(_program(place, NEWEST, port, settings, "--sentinel"))
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._sentinels)
        self.url = f"redis+sentinel://{hosts}/{PRIMARY}/0"

    def settle(self) -> None:
        """Wait until the replica follows the primary, and the sentinels agree on who is which."""
        wait_for(self._check, self.alive, "the sentinels' quorum")

    def _check(self) -> None:
        for sentinel in self._sentinels:
            wire.redis(sentinel, "SENTINEL", "CKQUORUM", PRIMARY)
            _, primary = wire.redis(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)
            role, _, replicas = wire.redis(int(primary), "ROLE")
            if role != "master" or len(replicas) != len(self._stores) - 1:
                raise wire.NotReady(f"{primary} is {role} of {replicas}")
