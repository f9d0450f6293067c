"""Each server starts, answers, survives a kill with its data, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servers import NotKillable, Server, serve, wire
from servers.fixtures import OwnServer
from servers.kinds import KINDS, variable
from servers.redis_servers import PRIMARY, SLOTS

PACKAGE = Path(__file__).parent
GRACE = 20.0
"""Seconds within which what was left alone must be gone."""


def _until(check: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + GRACE
    while not check():
        assert time.monotonic() < ends, what
        time.sleep(0.01)


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# Each writes a value if it is given one, and returns what is there.
def _in_redis(server: Server, value: str) -> Any:
    port = server.port
    if server.name == "redis-cluster":
        slot = wire.redis(port, "CLUSTER", "KEYSLOT", "key")
        port = next(p for n, p in enumerate(server.ports) if slot < SLOTS * (n + 1) // 3)
    if server.name == "redis-sentinel":
        port = int(wire.redis(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)[1])
    if value:
        wire.redis(port, "SET", "key", value)
    return wire.redis(port, "GET", "key")


def _in_postgresql(server: Server, value: str) -> Any:
    import asyncpg

    async def work() -> Any:
        connection = await asyncpg.connect(server.url, statement_cache_size=0)
        try:
            if value:
                await connection.execute(f"create table kept as select '{value}' as value")
            return await connection.fetchval("select value from kept")
        finally:
            await connection.close()

    return asyncio.run(work())


def _in_mariadb(server: Server, value: str) -> Any:
    import asyncmy

    async def work() -> Any:
        at = {"host": server.host, "port": server.port, "user": "test", "password": "test", "db": "test"}
        async with asyncmy.connect(**at) as connection, connection.cursor() as cursor:
            if value:
                await cursor.execute(f"create table kept as select '{value}' as value")
            await cursor.execute("select value from kept")
            (found,) = await cursor.fetchone()
            return found

    return asyncio.run(work())


def _in_mongodb(server: Server, value: str) -> Any:
    import pymongo

    with pymongo.MongoClient[dict[str, Any]](server.url) as client:
        kept = client.get_database("test").get_collection(
            "kept", write_concern=pymongo.WriteConcern("majority", j=True)
        )
        if value:
            kept.insert_one({"value": value})
        return (kept.find_one() or {}).get("value")


DRIVERS: dict[str, Callable[[Server, str], Any]] = {
    "redis": _in_redis,
    "postgresql": _in_postgresql,
    "mariadb": _in_mariadb,
    "mongodb": _in_mongodb,
}


@pytest.mark.kills
@pytest.mark.parametrize("name", KINDS)
def test_a_server_is_killed_and_restarted_with_its_data_and_leaves_nothing(
    name: str, own_server: OwnServer
) -> None:
    server = own_server(name)
    stored = DRIVERS[KINDS[name].family.partition("-")[0]]
    assert stored(server, name) == name
    server.restart()
    assert stored(server, "") == name
    server.kill()
    assert not any(_is_open(port) for port in server.ports)
    server.start()
    assert stored(server, "") == name
    server.stop()
    assert not any(_is_open(port) for port in server.ports)
    assert server.folder is not None
    assert server.folder.is_dir()
    server.close()
    assert not server.folder.exists()


@pytest.mark.parametrize("name", ["redis-sentinel", "mongodb-replicas"])
def test_another_takes_over_when_the_primary_is_killed(name: str, own_server: OwnServer) -> None:
    def primary() -> int | None:
        with contextlib.suppress(OSError, wire.NotReady):
            if name == "redis-sentinel":
                return int(wire.redis(server.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)[1])
        for port in server.ports if name != "redis-sentinel" else ():
            with contextlib.suppress(OSError):
                if wire.mongodb(port, {"hello": 1}).get("isWritablePrimary"):
                    return port
        return None

    server = own_server(name)
    first = primary()
    assert first is not None
    server.kill(first)
    _until(lambda: primary() not in (None, first), "nobody took over")


PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from servers import serve
server = serve(sys.argv[2])
print(server.folder, *server.ports, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("name", ["redis", "postgresql", "mariadb", "mongodb-replica", "pgbouncer"])
def test_nothing_is_left_when_the_user_of_a_server_is_killed(name: str, own_server: OwnServer) -> None:
    own_server(name).close()  # skips the test where it cannot be had
    command = [sys.executable, "-c", PROGRAM, str(PACKAGE.parent), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder, *ports = process.stdout.readline().split()
        assert all(_is_open(int(port)) for port in ports)
        process.kill()
    _until(lambda: not Path(folder).exists(), "its folder is left")
    assert not any(_is_open(int(port)) for port in ports)


def _processes_in(folder: Path | None) -> list[Path]:
    """The processes that work in a folder, or were told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = f"{(process / 'cmdline').read_text()} {(process / 'cwd').readlink()}"
            if str(folder) in said and "State:\tZ" not in (process / "status").read_text():
                found.append(process)
    return found


@pytest.mark.parametrize("name", ["redis", "postgresql"])
def test_nothing_is_left_when_the_keeper_itself_is_killed(name: str, own_server: OwnServer) -> None:
    server = own_server(name)
    assert server.folder is not None
    assert _processes_in(server.folder)
    os.kill(server.keeper, signal.SIGKILL)
    _until(lambda: not any(_is_open(port) for port in server.ports), "the server is left")
    _until(lambda: not _processes_in(server.folder), "a process is left")
    os.utime(server.folder, (0, 0))
    own_server("redis")  # the next keeper finds the folder
    assert not server.folder.exists()


def test_servers_started_at_once_never_meet(own_server: OwnServer) -> None:
    servers = [own_server("redis") for _ in range(5)]
    for server in servers:
        _in_redis(server, str(server.port))
    assert [_in_redis(server, "") for server in servers] == [str(server.port) for server in servers]


def test_a_shared_server_stays_until_its_last_user_leaves(own_server: OwnServer) -> None:
    own_server("redis").close()
    share = os.urandom(8).hex()
    first, second = serve("redis", share=share), serve("redis", share=share)
    assert first.url == second.url
    assert first.folder is not None
    with pytest.raises(NotKillable, match="shared"):
        first.kill()
    first.close()
    assert wire.redis(second.port, "PING") == "PONG"
    second.close()
    assert not first.folder.exists()


SHARING = """
import sys
sys.path.insert(0, sys.argv[1])
from servers import serve
for _ in range(3):
    with serve("redis", share=sys.argv[2]) as server:
        print(server.url, flush=True)
print("done", flush=True)
sys.stdin.read()
"""


def test_processes_that_come_and_go_at_once_share_whole_servers(own_server: OwnServer) -> None:
    own_server("redis").close()
    command = [sys.executable, "-c", SHARING, str(PACKAGE.parent), os.urandom(8).hex()]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    said = [process.communicate()[0].split() for process in processes]
    assert [lines[-1] for lines in said] == ["done"] * 4


def test_a_server_of_the_users_own_is_used_and_never_killed(
    own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = own_server("redis")
    monkeypatch.setenv(variable("redis"), theirs.url)
    with serve("redis") as server:
        assert (server.url, server.host, server.port) == (theirs.url, "127.0.0.1", theirs.port)
        assert not server.killable
        with pytest.raises(NotKillable, match="own"):
            server.restart()
    assert wire.redis(theirs.port, "PING") == "PONG"


def test_a_server_that_does_not_start_says_what_its_log_says(own_server: OwnServer) -> None:
    own_server("redis").close()
    with pytest.raises(OSError, match="no-such-option"):
        serve("redis", options=("--no-such-option", "1"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("name", ["postgresql", "pgbouncer"])
def test_what_refuses_root_is_run_by_nobody_where_namespaces_are_refused(
    name: str, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_server(name).close()
    monkeypatch.setenv("PATH", "/nonexistent")
    server = own_server(name)
    owners = {process.stat().st_uid for process in _processes_in(server.folder)}
    assert 65534 in owners
    assert _in_postgresql(server, name) == name
    server.restart()
    assert _in_postgresql(server, "") == name
