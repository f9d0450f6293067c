"""The work on DBOS: synchronous workflows and steps, which are its natural ones, and its quicker ones.

The replayed run is a finished one whose state is set back to pending; recovery takes it up, and the time is
that within the workflow function: all of its steps are answered from the database.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import sqlalchemy
from dbos import DBOS, SetWorkflowID
from work import AT_ONCE, EACH, REPLAY, RUNS, SEQUENCE, STEPS, SYNCED, place, tell

INSIDE: list[float] = []
DONE = threading.Event()


@DBOS.step()
def work(i: int) -> dict[str, Any]:
    return {"ok": True, "i": i}


@DBOS.workflow()
def many(n: int) -> int:
    began = time.perf_counter()
    for i in range(n):
        work(i)
    INSIDE.append(time.perf_counter() - began)
    DONE.set()
    return n


def measure(store: str, url: str) -> None:
    config = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config={**config, "application_version": "1", "executor_id": "local"})
    DBOS.launch()
    many(5)
    with SetWorkflowID(f"long{time.time_ns()}"):
        began = time.perf_counter()
        handle = DBOS.start_workflow(many, STEPS)
        handle.get_result()
    tell(store, SEQUENCE, INSIDE[-1], SYNCED, with_start_ms=round((time.perf_counter() - began) * 1e3))
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    table = "workflow_status" if store == "sqlite" else "dbos.workflow_status"
    with engine.begin() as connection:
        back = f"UPDATE {table} SET status = 'PENDING', recovery_attempts = 0 WHERE workflow_uuid = :run"
        connection.execute(sqlalchemy.text(back), {"run": handle.workflow_id})
    engine.dispose()
    DONE.clear()
    (recovered,) = DBOS._recover_pending_workflows(["local"])
    assert DONE.wait(120)
    recovered.get_result()
    tell(store, REPLAY, INSIDE[-1], SYNCED)
    began = time.perf_counter()
    handles = [DBOS.start_workflow(many, EACH) for _ in range(RUNS)]
    failed = 0
    for each in handles:
        try:
            each.get_result()
        except Exception as error:
            failed += 1
            print(repr(error), file=sys.stderr)
    tell(store, AT_ONCE, time.perf_counter() - began, SYNCED, failed=failed)
    DBOS.destroy()


if __name__ == "__main__":
    with place() as here:
        # One system in a process: the second store is a call of its own.
        if here.postgresql:
            measure("postgresql", here.postgresql)
        else:
            measure("sqlite", f"sqlite:///{here.folder}/dbos.sqlite")
