"""`get_logger`: each message once, whatever is replayed, and with the run that it comes from."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    get_logger,
    hook,
    query,
    query_workflow,
    resume,
    resume_hook,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import work_off
from simulated_runs import make_engine

sys.path.pop(0)

log = get_logger("quiet")


@step(name="quiet.do")
async def do(what: str) -> str:
    log.info("does %s", what)
    return what


@step(name="quiet.threaded")
def threaded() -> None:
    log.info("does it in a thread", extra={"more": 1})


@workflow(name="quiet.program")
async def program() -> str:
    log.info("begins")
    query(lambda: log.info("asked"), name="ask")
    await do("a")
    log.info("between")
    await threaded()
    first, second = asyncio.ensure_future(hook("first")), asyncio.ensure_future(hook("second"))
    await first
    log.info("first answer")
    await second
    log.info("second answer")
    await sleep(60)
    log.info("ends")
    return "done"


SAID = ["begins", "does a", "between", "does it in a thread", "first answer", "second answer", "ends"]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "quiet"]


def test_each_message_is_said_once_however_often_the_run_is_taken_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "quiet")

    async def main() -> Any:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        run_id = await start(program, storage=storage, queue="q")
        for name in ("first", "second"):
            await resume(run_id, storage=storage)
            await query_workflow(run_id, "ask", storage=storage)
            await resume_hook(f"{run_id}:{name}", storage=storage)
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == "done"
        await query_workflow(run_id, "ask", storage=storage)
        return run_id

    run_id = asyncio.run(main())
    assert said(caplog) == SAID
    where: list[Any] = [(r.run_id, r.workflow, r.step) for r in caplog.records if r.name == "quiet"]  # type: ignore[attr-defined]
    assert where[0] == (run_id, "quiet.program", "")
    assert where[1] == (run_id, "quiet.program", "quiet.do#1")
    assert where[3] == (run_id, "quiet.program", "quiet.threaded#1")
    assert next(r for r in caplog.records if r.getMessage() == "does it in a thread").more == 1  # type: ignore[attr-defined]


def test_a_run_that_was_only_enqueued_is_heard_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    @workflow
    async def short() -> None:
        log.info("begins")

    caplog.set_level(logging.INFO, "quiet")

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        await start(short, storage=storage, queue="q")
        await work_off(engine, clock)

    asyncio.run(main())
    assert said(caplog) == ["begins"]


def test_outside_of_runs_it_is_a_logger_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "quiet")
    log.debug("not wanted")
    log.warning("here")
    assert said(caplog) == ["here"]
    (record,) = caplog.records
    assert (record.run_id, record.workflow, record.step) == ("", "", "")  # type: ignore[attr-defined]
    assert record.filename == "test_quiet_logger.py"
    assert get_logger().logger.name == "pyworkflow.app"
