"""What the MariaDB store costs beside asyncmy: `python benchmarks/mariadb_store.py [URL]`.

Without a URL it starts a server of its own, as the tests do. See `sql_stores.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncmy
import frame
from frame import SYNCED
from sql_stores import BODY, Bare, Bars, options, run

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from servers import serve

BARS = Bars("mariadb", SYNCED, step=3, rate=6_000)


class Mariadb(Bare):
    def __init__(self, url: str) -> None:
        self.url = urlsplit(url)

    async def open(self) -> None:
        self.driver = await asyncmy.connect(
            host=self.url.hostname,
            port=self.url.port or 3306,
            user=unquote(self.url.username or ""),
            password=unquote(self.url.password or ""),
            db=self.url.path.strip("/"),
            autocommit=True,
            binary_prefix=True,
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        )
        await self.execute("CREATE TABLE floor_runs (run_id VARBINARY(255) PRIMARY KEY, head BIGINT)")
        await self.execute(
            "CREATE TABLE floor_events (run_id VARBINARY(255), sequence BIGINT, body LONGBLOB, "
            "PRIMARY KEY (run_id, sequence))"
        )

    async def close(self) -> None:
        await self.execute("DROP TABLE floor_runs, floor_events")
        await self.driver.ensure_closed()

    async def execute(self, sql: str) -> None:
        await self.fetch(sql)

    async def append(self, heads: dict[str, int]) -> None:
        literal = self.driver.literal
        runs = ",".join(f"({literal(run_id)},{head})" for run_id, head in heads.items())
        events = ",".join(
            f"({literal(run_id)},{head - n},{literal(BODY)})"
            for run_id, head in heads.items()
            for n in (1, 0)
        )
        # All in one trip, which no store can undercut.
        await self.fetch(
            f"START TRANSACTION; INSERT INTO floor_runs VALUES {runs} "
            f"ON DUPLICATE KEY UPDATE head = VALUES(head); INSERT INTO floor_events VALUES {events}; COMMIT"
        )

    async def claim(self, now: int) -> int:
        due = await self.fetch(
            f"START TRANSACTION; SELECT * FROM {self.full} WHERE queue = 'floor' AND priority = 5 "
            f"AND due_at <= {now} ORDER BY due_at, run_id LIMIT 50 FOR UPDATE SKIP LOCKED"
        )
        ids = ",".join(self.driver.literal(row[0]) for row in due)
        await self.fetch(
            f"UPDATE {self.full} SET token = 't', owner = 'b', lease_until = {now + 10**12} "
            f"WHERE run_id IN ({ids}); COMMIT"
        )
        return len(due)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        rows: list[Any] = []
        async with self.driver.cursor() as cursor:
            await cursor.execute(sql, values or None)
            while True:
                if cursor.description:
                    rows = list(await cursor.fetchall())
                if not await cursor.nextset():
                    return rows

    async def version(self) -> str:
        ((version,),) = await self.fetch("SELECT VERSION()")
        return str(version)

    async def size(self) -> int:
        sizes = "SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces WHERE name IN (%s, %s)"
        database = self.url.path.strip("/")
        ((found,),) = await self.fetch(sizes, *[f"{database}/{name}" for name in self.names()])
        return int(found)


def main() -> None:
    with frame.kept(options(__doc__)) as given:
        if given.url:
            run(Mariadb(given.url), given.url, given.sleeping, BARS)
            return
        with serve("mariadb", options=("--innodb-buffer-pool-size=512M",)) as server:
            run(Mariadb(server.url), server.url, given.sleeping, BARS)


if __name__ == "__main__":
    main()
