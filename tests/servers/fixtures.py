"""Pytest fixtures: one server of each kind, shared by all workers of a test run, and servers of a test's own.

A server that cannot be had skips the tests that ask for it, and fails them under `CI=true`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from .server import Server, Unavailable, serve

# All workers of pytest-xdist have the same word here.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex(8)


class OwnServer(Protocol):
    """Starts a server that the test may stop, kill and restart. It is gone when the test has ended."""

    def __call__(self, name: str, *options: str) -> Server:
        """Start one of `servers.kinds.KINDS`, with options added to its command."""


def _serve(name: str, share: str = "", options: tuple[str, ...] = ()) -> Server:
    try:
        return serve(name, share=share, options=options)
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def _shared(name: str) -> Callable[[], Iterator[Server]]:
    def fixture() -> Iterator[Server]:
        with _serve(name, share=RUN) as server:
            yield server

    fixture.__doc__ = f"The {name} that all tests of this run share. It cannot be killed: see `own_server`."
    return pytest.fixture(scope="session", name=name.replace("-", "_"))(fixture)


postgresql = _shared("postgresql")
pgbouncer = _shared("pgbouncer")
mariadb = _shared("mariadb")
redis = _shared("redis")
redis6 = _shared("redis6")
redis_cluster = _shared("redis-cluster")
redis_sentinel = _shared("redis-sentinel")
mongodb = _shared("mongodb")
mongodb_replica = _shared("mongodb-replica")
mongodb_replicas = _shared("mongodb-replicas")


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """Starts servers for this test alone, which it may kill."""
    with ExitStack() as servers:

        def start(name: str, *options: str) -> Server:
            server = servers.enter_context(_serve(name, options=options))
            if not server.killable:
                pytest.skip(f"the environment names a {name} of the user's own, which may not be killed")
            return server

        yield start
