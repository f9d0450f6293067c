"""The servers that there are, by the name by which tests and the command line ask for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .mariadb import MariaDB
from .mongodb import MongoDB
from .postgresql import PgBouncer, PostgreSQL
from .redis_servers import Redis, RedisCluster, RedisSentinel
from .service import Place, Service


@dataclass(frozen=True)
class Kind:
    """One kind of server.

    Attributes:
        name: what it is asked for by.
        title: what it is.
        bundles: what must be fetched for it.
        family: the kind whose tests can be run on this one, too.
        make: gives a new one in a place of its own.
    """

    name: str
    title: str
    bundles: tuple[str, ...]
    family: str
    make: Callable[[Place], Service]

    @property
    def variable(self) -> str:
        """The environment variable that names a server of the user's own."""
        return variable(self.name)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables by which tests of the whole family find this server."""
        return tuple(dict.fromkeys((self.variable, variable(self.family))))


def variable(name: str) -> str:
    """The environment variable of a kind of server."""
    word = {"mariadb": "mysql"}.get(name, name).upper().replace("-", "_")
    return f"PYWORKFLOW_TEST_{word}_URL"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("postgresql", "PostgreSQL 18", ("postgresql-18",), "postgresql", PostgreSQL),
        Kind(
            "pgbouncer",
            "PostgreSQL 18 behind pgbouncer, which pools transactions",
            ("postgresql-18", "pgbouncer"),
            "postgresql",
            PgBouncer,
        ),
        Kind("mariadb", "MariaDB", ("mariadb",), "mariadb", MariaDB),
        Kind("redis", "Redis 8.2", ("redis-8.2",), "redis", lambda place: Redis(place, "redis-8.2")),
        Kind("redis6", "Redis 6.2", ("redis-6.2",), "redis", lambda place: Redis(place, "redis-6.2")),
        Kind(
            "redis-cluster", "a Redis Cluster of three nodes", ("redis-8.2",), "redis-cluster", RedisCluster
        ),
        Kind(
            "redis-sentinel",
            "a Redis primary with a replica, watched by three sentinels",
            ("redis-8.2",),
            "redis-sentinel",
            RedisSentinel,
        ),
        Kind("mongodb", "MongoDB 6.0 alone", ("mongodb-6.0",), "mongodb", lambda place: MongoDB(place, 0)),
        Kind(
            "mongodb-replica",
            "MongoDB 6.0 as a replica set of one node",
            ("mongodb-6.0",),
            "mongodb",
            lambda place: MongoDB(place, 1),
        ),
        Kind(
            "mongodb-replicas",
            "MongoDB 6.0 as a replica set of three nodes",
            ("mongodb-6.0",),
            "mongodb",
            lambda place: MongoDB(place, 3),
        ),
    )
}
