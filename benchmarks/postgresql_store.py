"""What the PostgreSQL store costs beside asyncpg: `python benchmarks/postgresql_store.py [URL]`.

Without a URL it starts a server of its own, as the tests do. See `sql_stores.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import asyncpg
import frame
from frame import SYNCED
from sql_stores import BODY, NAMESPACE, Bare, Bars, options, run

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from servers import serve

BARS = Bars("postgresql", SYNCED, step=2, rate=12_500)
APPEND = """
WITH heads AS (
    UPDATE floor_runs r SET head = a.head FROM unnest($1::text[], $2::bigint[]) a(run_id, head)
    WHERE r.run_id = a.run_id
)
INSERT INTO floor_events SELECT * FROM unnest($3::text[], $4::bigint[], $5::bytea[])
"""


class Postgresql(Bare):
    parameter = "$1"

    def names(self, end: str = "") -> tuple[str, str]:
        return f"{NAMESPACE}{end}.runs", f"{NAMESPACE}{end}.events"

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        self.driver = await asyncpg.connect(self.url)
        await self.execute("CREATE TABLE floor_runs (run_id text PRIMARY KEY, head bigint)")
        await self.execute(
            "CREATE TABLE floor_events (run_id text, sequence bigint, body bytea, "
            "PRIMARY KEY (run_id, sequence))"
        )

    async def close(self) -> None:
        await self.execute("DROP TABLE floor_runs, floor_events")
        await self.driver.close()

    async def execute(self, sql: str) -> None:
        await self.driver.execute(sql, timeout=600)

    async def append(self, heads: dict[str, int]) -> None:
        if 1 in heads.values():  # runs that are new
            await self.driver.executemany("INSERT INTO floor_runs VALUES ($1, $2)", list(heads.items()))
        runs = [run_id for run_id in heads for _ in (1, 0)]
        sequences = [head - n for head in heads.values() for n in (1, 0)]
        bodies = [BODY] * len(runs)
        # As fetch: the driver prepares it once on the connection.
        await self.driver.fetch(APPEND, list(heads), list(heads.values()), runs, sequences, bodies)

    async def claim(self, now: int) -> int:
        due = (
            f"SELECT run_id FROM {self.full} WHERE queue = 'floor' AND priority = 5 AND due_at <= $1 "
            "ORDER BY due_at, run_id LIMIT 50 FOR UPDATE SKIP LOCKED"
        )
        found = await self.driver.fetch(
            f"WITH due AS MATERIALIZED ({due}) UPDATE {self.full} r SET token = 't', owner = 'b', "
            "lease_until = $2 FROM due WHERE r.run_id = due.run_id RETURNING r.*",
            now,
            now + 10**12,
        )
        return len(found)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        found: list[Any] = await self.driver.fetch(sql, *values)
        return found

    async def version(self) -> str:
        return str(await self.driver.fetchval("SHOW server_version"))

    async def size(self) -> int:
        runs, events = self.names()
        sizes = f"SELECT pg_total_relation_size('{runs}') + pg_total_relation_size('{events}')"
        return int(await self.driver.fetchval(sizes))

    async def settle(self) -> None:
        for table in self.names() + self.names("_full"):
            await self.execute(f"VACUUM ANALYZE {table}")


def main() -> None:
    with frame.kept(options(__doc__)) as given:
        if given.url:
            run(Postgresql(given.url), given.url, given.sleeping, BARS)
            return
        with serve("postgresql") as server:
            run(Postgresql(server.url), server.url, given.sleeping, BARS)


if __name__ == "__main__":
    main()
