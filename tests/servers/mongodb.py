"""MongoDB: one server alone, or a replica set."""

from __future__ import annotations

import functools
import importlib.util

from . import wire
from .errors import Unavailable
from .fetch import fetch, library_path
from .processes import Program, wait_for
from .service import Place, Service, find

BUNDLE = "mongodb-6.0"
NAME = "rs0"
# A new primary within a second or two, so that tests of failover are quick.
SETTINGS = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}


class MongoDB(Service):
    """Some members of a replica set, or, with none, a server alone."""

    def __init__(self, place: Place, members: int) -> None:
        if importlib.util.find_spec("bson") is None:
            raise Unavailable("MongoDB is spoken to with bson, which comes with `pip install pymongo`")
        self._members = [place.port() for _ in range(members)]
        ports = self._members or [place.port()]
        self.programs = [self._program(place, port) for port in ports]
        self._initiated = False
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        self.url = f"mongodb://{hosts}/?" + (f"replicaSet={NAME}" if members else "directConnection=true")

    def _program(self, place: Place, port: int) -> Program:
        # fmt: off
        command = [
            find(BUNDLE, "mongod"), "--dbpath", place.subfolder(f"mongodb-{port}"),
            "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket",
            "--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false",
            "--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0",  # nobody waits for it
            *(("--replSet", NAME) if self._members else ()), *place.options,
        ]
        # fmt: on
        ping = functools.partial(wire.mongodb, port, {"ping": 1})
        log = place.folder / f"mongodb-{port}.log"
        return Program(command, port, ping, log, library_path(fetch(BUNDLE)))

    def settle(self) -> None:
        """Make the servers a replica set, once, and wait until it has a primary and all others follow it."""
        if not self._members:
            return
        if not self._initiated:  # a member that was restarted does not know it at once
            members = [{"_id": n, "host": f"127.0.0.1:{port}"} for n, port in enumerate(self._members)]
            config = {"_id": NAME, "members": members, "settings": SETTINGS}
            wire.mongodb(self._members[0], {"replSetInitiate": config})
            self._initiated = True
        wait_for(self._check, self.alive, "the primary of the replica set")

    def _check(self) -> None:
        said = [wire.mongodb(port, {"hello": 1}) for port in self._members]
        primaries = [answer for answer in said if answer.get("isWritablePrimary")]
        followers = [answer for answer in said if answer.get("secondary")]
        if len(primaries) != 1 or len(followers) != len(said) - 1:
            raise wire.NotReady(f"{len(primaries)} primaries, {len(followers)} secondaries")
        if any(answer.get("primary") != primaries[0]["me"] for answer in said):
            raise wire.NotReady("not all know the primary")
