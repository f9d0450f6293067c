"""Steps that write to a table of their own, in processes that are killed: ``paying_program.py URL TABLE``.

It imports everything once, and forks for each process that it is asked for: a line ``KEY SECONDS
KEY SECONDS …`` starts processes that drive these runs, and kills them so long after. It answers
with a line of their exit codes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback

from sqlalchemy import text

from pyworkflow import (
    WorkflowAlreadyRunningError,
    open_storage,
    resume,
    start,
    step,
    step_transaction,
    workflow,
)
from pyworkflow.engine.engine import Engine, Settings, use_engine

STEPS = 12
SETTINGS = Settings(lease=300_000, poll=50_000)
TABLE = sys.argv[2] if len(sys.argv) > 2 else "none"


@step(name="paying.pay", max_retries=0)
async def pay(run: str, n: int) -> int:
    async with step_transaction() as connection:
        await connection.execute(
            text(f"INSERT INTO {TABLE} (run, n) VALUES (:run, :n)"), {"run": run, "n": n}
        )
        await asyncio.sleep(0.002)
    return n


@step(name="paying.plain", max_retries=0)
async def plain(n: int) -> int:
    return n


@workflow(name="paying.program", max_recovery_attempts=10_000)
async def program(run: str) -> int:
    total = 0
    for n in range(STEPS // 3):
        total += await pay(run, 3 * n)
        total += sum(await asyncio.gather(pay(run, 3 * n + 1), plain(0), pay(run, 3 * n + 2)))
    return total


async def main(url: str, key: str) -> None:
    """Start the run or take it up, until it has ended."""
    async with open_storage(url) as storage:
        use_engine(Engine(storage, settings=SETTINGS))
        run_id = await start(program, key, storage=storage, idempotency_key=key)
        while not (await storage.get(run_id)).status.is_terminal:  # type: ignore[union-attr]
            try:
                await resume(run_id, storage=storage)
            except WorkflowAlreadyRunningError:
                await asyncio.sleep(0.02)


def fork(url: str, key: str) -> int:
    """Start a process that drives one run."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        asyncio.run(main(url, key))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_until_killed(pid: int, deadline: float) -> int:
    """Kill the process at its time, unless it ends before; its exit code."""
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def serve(url: str) -> None:
    """Answer lines until there are no more."""
    for line in sys.stdin:
        words = line.split()
        now = time.monotonic()
        due = sorted(
            (now + float(seconds), key) for key, seconds in zip(words[::2], words[1::2], strict=True)
        )
        pids = [(fork(url, key), key, deadline) for deadline, key in due]
        codes = {key: wait_until_killed(pid, deadline) for pid, key, deadline in pids}
        print(*[codes[key] for key in words[::2]], flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
