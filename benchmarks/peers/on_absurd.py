"""The work on Absurd, which lives in PostgreSQL: one worker in this process.

The replayed task raises after its steps and is claimed again; the time is the second claim with the loading
of its checkpoints, all steps answered from them, and the recording of its end.
"""

from __future__ import annotations

import time
from typing import Any

import absurdctl
import psycopg
from absurd_sdk import Absurd
from work import AT_ONCE, EACH, REPLAY, RUNS, SEQUENCE, STEPS, SYNCED, place, tell

STORE = "postgresql"
FAILING = [True]


def measure(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regnamespace('absurd')").fetchone() == (None,):
            connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
        app = Absurd(url, queue_name="q")
        app.create_queue("q")

        @app.register_task(name="many")
        def many(params: dict[str, Any], ctx: Any) -> int:
            for i in range(params["n"]):
                ctx.step("work", lambda i=i: {"ok": True, "i": i})
            return int(params["n"])

        @app.register_task(name="failing")
        def failing(params: dict[str, Any], ctx: Any) -> int:
            many(params, ctx)
            if FAILING[0]:
                raise RuntimeError("a crash")
            return int(params["n"])

        def go(name: str, n: int) -> float:
            app.spawn(name, {"n": n}, max_attempts=5, retry_strategy={"kind": "none"})
            return work_off()

        def work_off(batch: int = 1) -> float:
            began = time.perf_counter()
            app.work_batch(batch_size=batch, claim_timeout=300)
            return time.perf_counter() - began

        go("many", 5)
        tell(STORE, SEQUENCE, go("many", STEPS), SYNCED)
        FAILING[0] = True
        go("failing", STEPS)
        FAILING[0] = False
        tell(STORE, REPLAY, work_off(), SYNCED)
        for _ in range(RUNS):
            app.spawn("many", {"n": EACH})
        began = time.perf_counter()
        waiting = "SELECT count(*) FROM absurd.t_q WHERE state <> 'completed'"
        while connection.execute(waiting).fetchone() != (0,):
            work_off(RUNS)
        tell(STORE, AT_ONCE, time.perf_counter() - began, SYNCED)
        app.close()


if __name__ == "__main__":
    with place() as here:
        measure(here.postgresql)
