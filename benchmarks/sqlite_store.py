"""What the SQLite store costs beside sqlite3 itself: `python benchmarks/sqlite_store.py`.

The database lies in a temporary folder below $BENCH_FOLDER. See `sql_stores.py`.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

import frame
from frame import SYNCED
from sql_stores import BODY, NAMESPACE, Bare, Bars, run

BARS = Bars("sqlite", SYNCED, step=1.7, rate=20_000)


class Sqlite(Bare):
    parameter = "?"
    word = "'{prefix}' || ({number})"

    def __init__(self, path: str) -> None:
        self.path = path

    async def open(self) -> None:
        self.own = sqlite3.connect(f"{self.path}.floor", isolation_level=None)
        self.same = sqlite3.connect(self.path, isolation_level=None)
        for connection in (self.own, self.same):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        self.own.execute("CREATE TABLE floor_runs (run_id TEXT PRIMARY KEY, head INTEGER)")
        self.own.execute(
            "CREATE TABLE floor_events (run_id TEXT, sequence INTEGER, body BLOB, "
            "PRIMARY KEY (run_id, sequence)) WITHOUT ROWID"
        )

    async def close(self) -> None:
        self.own.close()
        self.same.close()

    async def execute(self, sql: str) -> None:
        self.same.execute(sql)

    async def append(self, heads: dict[str, int]) -> None:
        self.own.execute("BEGIN IMMEDIATE")
        self.own.executemany("REPLACE INTO floor_runs VALUES (?, ?)", heads.items())
        events = [(run_id, head - n, BODY) for run_id, head in heads.items() for n in (1, 0)]
        self.own.executemany("INSERT INTO floor_events VALUES (?, ?, ?)", events)
        self.own.execute("COMMIT")

    async def claim(self, now: int) -> int:
        due = (
            f"SELECT run_id FROM {self.full} WHERE queue = 'floor' AND priority = 5 AND due_at <= ? "
            "ORDER BY due_at, run_id LIMIT 50"
        )
        found = self.same.execute(
            f"UPDATE {self.full} SET token = 't', owner = 'b', lease_until = ? "
            f"WHERE run_id IN ({due}) RETURNING *",
            (now + 10**12, now),
        )
        return len(found.fetchall())

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        return self.same.execute(sql, values).fetchall()

    async def version(self) -> str:
        return sqlite3.sqlite_version

    async def size(self) -> int:
        return os.path.getsize(self.path)

    async def settle(self) -> None:
        self.same.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def main() -> None:
    parser = frame.parser(__doc__)
    parser.add_argument("--sleeping", type=int, default=200_000, help="runs that sleep meanwhile")
    with frame.kept(parser) as given, frame.folder() as folder:
        path = os.path.join(folder, f"{NAMESPACE}.db")
        run(Sqlite(path), f"sqlite:///{path}", given.sleeping, BARS)


if __name__ == "__main__":
    main()
