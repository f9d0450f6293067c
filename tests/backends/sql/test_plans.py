"""What is asked often is found by an index, however many runs sleep."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from pyworkflow_core.record import RunStatus
from pyworkflow_core.testing.appends import created
from pyworkflow_sql import postgresql_scripts, scripts
from pyworkflow_sql.scripts import Call, Script
from pyworkflow_sql.statements import Statement

SLEEPING = 50_000
AWAKE = 40
NOW = 10**15


async def fill(store: Any) -> None:
    """Very many runs that sleep, and a few that are due."""
    appends = [
        created(f"s{n:06}", at=n, wake_at=NOW + n, queue=f"q{n % 3}", workflow=f"w{n % 50}", parent=f"p{n}")
        for n in range(SLEEPING)
    ]
    appends += [created(f"d{n}", at=n, wake_at=n, priority=n % 3, queue="q1") for n in range(AWAKE)]
    for start in range(0, len(appends), 1000):
        await store.commit(appends[start : start + 1000])


def every_call(store: Any) -> dict[str, Call]:
    """What is asked often, as the database is asked."""
    s = store._s
    commit = [created("new", at=1)]
    calls = {
        "get": next(scripts.get(s, "s000007")),
        "read": next(scripts.read(s, "s000007", 0, None)),
        "due runs of a level": Call(
            s.due_runs, {"queue": "q1", "priority": 5, "now": NOW + 100, "limit": 50}
        ),
        "levels": Call(s.levels(None)),
        "levels of queues": Call(s.levels(2), {"queue0": "q0", "queue1": "q1"}),
        "commit": next(store._commit_script(commit)) if hasattr(store, "_commit_script") else None,
        "lock": Call(s.lock_runs(4), {f"id{n}": f"s00000{n}" for n in range(4)}),
        "lease": Call(
            s.move_lease,
            {"of_run": "d1", "of_token": "t", "new_token": None, "new_lease_until": None},
        ),
    }
    for name, query in {
        "newest": {},
        "of a status": {"status": frozenset({RunStatus.COMPLETED})},
        "of a workflow": {"workflow": "w7"},
        "of a parent": {"parent": "p7"},
        "of a time": {"created_before": 500},
    }.items():
        calls[f"find {name}"] = next(scripts.find(s, scripts.RunQuery(**query), None, 20))
    if hasattr(s, "claim"):
        calls["claim"] = next(postgresql_scripts.claim(s, "o", NOW, 1, 50, None, None))
        calls["claim of queues"] = next(postgresql_scripts.claim(s, "o", NOW, 1, 50, ("q0", "q1"), None))
    return {name: call for name, call in calls.items() if call is not None}


def explain(prefix: str, call: Call) -> Script[Any]:
    statement: Any = copy.copy(call.statement)
    statement.sql = f"{prefix} {statement.sql}"
    statement.returns = True
    return (yield Call(statement, call.values))


async def walks_of_sqlite(store: Any, call: Call) -> list[str]:
    rows = await store._ask(lambda: explain("EXPLAIN QUERY PLAN", call))
    tables = (store._s.tables.runs.name, store._s.tables.events.name)
    lines = [row[3] for row in rows]
    return [
        line
        for line in lines
        if (line.startswith("SCAN") and any(table in line for table in tables) and "INDEX" not in line)
        or ("TEMP B-TREE" in line and "level" not in call.statement.sql)
    ]


async def walks_of_postgresql(store: Any, call: Call) -> list[str]:
    ((plan,),) = await store._ask(lambda: explain("EXPLAIN (FORMAT JSON)", call))
    found: list[str] = []

    def visit(node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in {"runs", "events"}:
            found.append(f"Seq Scan on {node['Relation Name']}")
        for child in node.get("Plans", ()):
            visit(child)

    for part in json.loads(plan) if isinstance(plan, str) else plan:
        visit(part["Plan"])
    return found


async def walks_of_mariadb(store: Any, call: Call) -> list[str]:
    rows = await store._ask(lambda: explain("EXPLAIN", call))
    runs, events = store._s.tables.runs.name, store._s.tables.events.name
    return [str(row) for row in rows if row[2] in {runs, events, "r"} and row[3] == "ALL"]


WALKS: dict[str, Callable[[Any, Call], Awaitable[list[str]]]] = {
    "sqlite": walks_of_sqlite,
    "postgresql": walks_of_postgresql,
    "mariadb": walks_of_mariadb,
}
ANALYZE = {"sqlite": "ANALYZE", "postgresql": "ANALYZE", "mariadb": "ANALYZE TABLE {runs}, {events}"}


@pytest.mark.timeout(300)
def test_nothing_that_is_asked_often_walks_through_all_runs(database: Any) -> None:
    async def main(store: Any) -> dict[str, list[str]]:
        await fill(store)
        tables = store._s.tables
        analyze = ANALYZE[database.kind].format(runs=tables.runs.name, events=tables.events.name)
        await store._ask(lambda: run_text(store, analyze))
        walks = {name: await WALKS[database.kind](store, call) for name, call in every_call(store).items()}
        claims = await store.claim(owner="x", now=NOW - 1, lease=1, limit=30)
        assert [c.record.priority for c in claims] == sorted(n % 3 for n in range(AWAKE))[:30]
        return {name: found for name, found in walks.items() if found}

    assert database.run(main) == {}


def run_text(store: Any, sql: str) -> Script[None]:
    yield Call(Statement(text(sql), store._s.dialect))
