"""What the page on Redis in production tells people to do, done on real servers."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from pyworkflow_core.errors import FeedPositionLost, StorageError, StorageUnavailable
from pyworkflow_core.storage import Committed, RunQuery
from pyworkflow_core.testing.appends import after, created
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.options import Options

PAGE = Path(__file__).parents[3] / "docs/how-to/redis-in-production.md"


def block_below(words: str) -> list[str]:
    """The lines of the text block that stands below a remark."""
    found = re.search(rf"^<!-- {words} -->\n```text\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert found is not None, words
    return found[1].splitlines()


def test_the_settings_of_the_page_make_a_server_durable(own_server: Any) -> None:
    lines = block_below("these lines are started with in the tests")
    options = [word for line in lines for word in (f"--{line.split()[0]}", *line.split()[1:])]

    async def main() -> None:
        async with RedisStorageBackend(server.url, ack="always") as store:
            assert store.capabilities.durable
            said = "\n".join(await store.describe())
            assert "synced to disk before it is acknowledged" in said
            assert "never evicts runs; when 4295 MB are full" in said

    server = own_server("redis", *options)
    asyncio.run(main())


async def use_as_worker(url: str) -> None:
    async with RedisStorageBackend(url, namespace="orders") as store:
        first = created("a", wake_at=1)
        assert await store.commit([first]) == [Committed("a", 1)]
        (claim,) = await store.claim(owner="w", now=5, lease=10, limit=1)
        assert await store.extend(claim, until=50)
        assert await store.commit([after(first.record)]) == [Committed("a", 2)]
        assert await store.release(claim)
        await store.wait(20_000_000)
        assert await store.commit([created("b")]) == [Committed("b", 1)]
        await store.delete("b", expected=1)
        assert await store.list_runs(RunQuery(workflow="w")) == await store.list_runs()
        assert len((await store.feed()).events) == 2
        assert store.capabilities.durable
    with pytest.raises(StorageUnavailable, match="permission"):
        async with RedisStorageBackend(url, namespace="others"):
            pass


async def use_as_reader(url: str) -> None:
    async with RedisStorageBackend(url, namespace="orders", migrate="never") as store:
        assert len(await store.read("a")) == 2
        assert [record.run_id for record in await store.list_runs()] == ["a"]
        assert len((await store.feed()).events) == 2
        with pytest.raises(StorageUnavailable, match="the server refused") as caught:
            await store.commit([created("c")])
        assert "choose-another" not in str(caught.value)
        with pytest.raises(StorageError):
            await store.drop()
        assert len(await store.read("a")) == 2


@pytest.mark.parametrize("kind", ["redis", "redis6"])
def test_the_users_of_the_page_can_do_what_they_must_and_no_more(kind: str, own_server: Any) -> None:
    server = own_server(kind)
    with Redis.from_url(server.url) as client:
        for line in block_below("these users are made by the tests"):
            assert client.execute_command(*line.split())

    async def main() -> None:
        async with RedisStorageBackend(server.url, namespace="orders", feed=True):
            pass
        await use_as_worker(server.url.replace("://", "://worker:choose-one@"))
        await use_as_reader(server.url.replace("://", "://reader:choose-another@"))

    asyncio.run(main())


def wait_for(client: Any, name: str) -> None:
    """Wait until a job of the server's has ended."""
    asyncio.run(ended(client, name))


async def ended(client: Any, name: str) -> None:
    async with asyncio.timeout(60):
        while client.info("persistence")[name]:
            await asyncio.sleep(0.02)


def test_a_snapshot_is_restored_as_the_page_says(own_server: Any, tmp_path: Path) -> None:
    def look(url: str) -> list[int]:
        async def main() -> list[int]:
            async with RedisStorageBackend(url) as store:
                return [len(await store.read(name)) for name in ("a", "b")]

        return asyncio.run(main())

    async def write(url: str, name: str) -> str:
        async with RedisStorageBackend(url, feed=True) as store:
            assert await store.commit([created(name)]) == [Committed(name, 1)]
            return (await store.feed()).position

    async def follow(url: str, position: str) -> None:
        async with RedisStorageBackend(url) as store:
            with pytest.raises(FeedPositionLost):
                await store.feed(after=position)
            assert len((await store.feed()).events) == 2

    old = own_server("redis")
    asyncio.run(write(old.url, "a"))
    with Redis.from_url(old.url) as client:
        client.bgsave()
        wait_for(client, "rdb_bgsave_in_progress")
        shutil.copy(Path(client.config_get("dir")["dir"]) / "dump.rdb", tmp_path)
    position = asyncio.run(write(old.url, "b"))
    old.close()

    new = own_server("redis", "--dir", str(tmp_path), "--appendonly", "no")
    assert look(new.url) == [1, 0]
    with Redis.from_url(new.url) as client:
        client.config_set("appendonly", "yes")
        wait_for(client, "aof_rewrite_in_progress")
        assert client.hset("{pyworkflow}:meta", "tag", "1763820000") == 0
    asyncio.run(write(new.url, "b"))
    new.close()

    kept = own_server("redis", "--dir", str(tmp_path), "--appendonly", "yes")
    assert look(kept.url) == [1, 1]
    asyncio.run(follow(kept.url, position))


def test_the_options_of_the_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE.read_text("utf-8"), re.M)
    table = {name: said for name, said in rows if name in Options.__struct_fields__}
    assert list(table) == list(Options.__struct_fields__)
    for name, said in table.items():
        default = getattr(Options(), name)
        if default is not None:
            assert said.strip("`") == (f"{default:g}" if isinstance(default, float) else str(default))
