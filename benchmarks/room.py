"""How many bytes a store takes, asked of its database or its disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


async def bytes_used(url: str) -> int:
    """All of the store's database, or of its folder or file.

    Redis says what it has in memory, as it holds everything there.
    """
    scheme, _, path = url.partition("?")[0].partition(":")
    if scheme in ("file", "sqlite"):
        return _on_disk(Path(path.removeprefix("//").removeprefix("/") if scheme == "sqlite" else path))
    return await _ASK[scheme](url)


def _on_disk(path: Path) -> int:
    """A folder, or a file with those beside it that belong to it."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


async def _postgresql(url: str) -> int:
    import asyncpg

    connection = await asyncpg.connect(url.partition("?")[0])
    try:
        return int(await connection.fetchval("SELECT pg_database_size(current_database())"))
    finally:
        await connection.close()


async def _mariadb(url: str) -> int:
    import asyncmy

    place = urlsplit(url)
    connection = await asyncmy.connect(
        host=place.hostname,
        port=place.port or 3306,
        user=unquote(place.username or ""),
        password=unquote(place.password or ""),
    )
    async with connection.cursor() as cursor:
        await cursor.execute(
            "SELECT COALESCE(SUM(file_size), 0) FROM information_schema.innodb_sys_tablespaces "
            "WHERE name LIKE %s",
            (f"{place.path.strip('/')}/%",),
        )
        ((size,),) = await cursor.fetchall()
    await connection.ensure_closed()
    return int(size)


async def _redis(url: str) -> int:
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        memory: dict[str, Any] = await client.info("memory")
    return int(memory["used_memory"])


async def _mongodb(url: str) -> int:
    from pymongo import AsyncMongoClient

    async with AsyncMongoClient(url) as client:
        database = client.get_default_database("pyworkflow")
        await client.admin.command("fsync")  # what is in memory only has no size yet
        sizes = await database.command("dbStats")
    return int(sizes["totalSize"])


_ASK = {
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mariadb,
    "redis": _redis,
    "mongodb": _mongodb,
}
