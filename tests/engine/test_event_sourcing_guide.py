"""The programs of the event-sourcing guide that users know run here as they are printed there.

Line breaks, which a copy from a web page loses, are restored; a top-level ``await`` is
wrapped; the base path points into a temporary folder; flows that the guide only names exist.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pyworkflow
from pyworkflow import FileStorageBackend, NonDeterminismError, RunStatus, configure, reset_config

READ_THE_LOG = """
from pyworkflow.storage.file import FileStorageBackend
storage = FileStorageBackend()
# Get all events for a workflow run
events = await storage.get_events("run_xyz789")
for event in events:
    print(f"{event.sequence}: {event.type}")
    print(f" Data: {event.data}")
    print(f" Time: {event.timestamp}")
"""
BAD_WORKFLOW = """
@workflow()
async def bad_workflow():
    # BAD: Random values differ on replay
    order_id = f"ORD-{random.randint(1000, 9999)}"
    # BAD: Current time differs on replay
    if datetime.now().hour < 12:
        await morning_flow()
    else:
        await afternoon_flow()
"""
GOOD_WORKFLOW = """
@step()
async def generate_order_id():
    # Results are cached, so same ID on replay
    return f"ORD-{random.randint(1000, 9999)}"

@step()
async def get_current_time():
    # Cached, so same time on replay
    return datetime.now()

@workflow()
async def good_workflow():
    order_id = await generate_order_id()
    current_time = await get_current_time()
    if current_time.hour < 12:
        await morning_flow()
    else:
        await afternoon_flow()
"""
CONFIGURE = """
from pyworkflow.storage.file import FileStorageBackend
# File storage (default)
storage = FileStorageBackend( base_path="/var/lib/pyworkflow/events")
# Configure PyWorkflow to use this storage
from pyworkflow import configure
configure(storage=storage)
"""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[FileStorageBackend]:
    backend = FileStorageBackend(base_path=tmp_path / "runs")
    configure(storage=backend)
    yield backend
    asyncio.run(backend.close())
    reset_config()


class _Clock(datetime):
    """`datetime` with an hour that the test sets."""

    hour_now = 9

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2026, 3, 1, cls.hour_now, 30, tzinfo=UTC)


def program(source: str) -> ModuleType:
    """Run one of the guide's programs as a module, with what it takes for granted."""
    module = ModuleType("guide")
    clock = type("_Clock", (_Clock,), {})
    vars(module).update({n: getattr(pyworkflow, n) for n in pyworkflow.__all__})
    vars(module).update(random=random, datetime=clock)  # the modules, and not what is called alike here
    flows = """
@step(name=f"{__name__}.morning")
async def morning_flow(order_id=None): return "morning"
@step(name=f"{__name__}.afternoon")
async def afternoon_flow(order_id=None): return "afternoon"
"""
    exec(compile(flows + source, "guide.py", "exec", dont_inherit=True), vars(module))
    return module


def run_interrupted(workflow: Any) -> str:
    """Start the workflow, which leaves memory when it waits at its end."""

    async def main() -> str:
        run_id = await pyworkflow.start(workflow)
        run = await pyworkflow.get_workflow_run(run_id)
        assert run is not None
        assert run.status is RunStatus.SUSPENDED
        return run_id

    return asyncio.run(main())


def then_wait(source: str) -> str:
    """The workflow, waiting for somebody at its end."""
    return source + '    await hook("go on")\n'


def resume(run_id: str) -> Any:
    async def main() -> Any:
        run = await pyworkflow.get_workflow_run(run_id)
        if run is not None and run.wake_at is None:
            await pyworkflow.resume_hook(f"{run_id}:go on", "yes")
        return await pyworkflow.resume(run_id)

    return asyncio.run(main())


def test_the_log_of_a_run_is_read_as_the_guide_prints_it(storage: FileStorageBackend) -> None:
    good = program(GOOD_WORKFLOW)
    run_id = asyncio.run(pyworkflow.start(good.good_workflow))
    source = READ_THE_LOG.replace("run_xyz789", run_id)
    source = source.replace("FileStorageBackend()", f"FileStorageBackend({str(storage.base_path)!r})")
    namespace: dict[str, Any] = {}
    lines = "".join(f"    {line}\n" for line in source.splitlines())
    exec(f"async def main():\n{lines}    await storage.close()\n", namespace)
    printed = io.StringIO()
    with redirect_stdout(printed):
        asyncio.run(namespace["main"]())
    text = printed.getvalue()
    assert text.startswith("1: workflow_started\n Data: ")
    assert "\n3: step_completed\n" in text
    assert text.count(" Time: ") == 8  # started, three steps of two events, completed
    assert "ORD-" in text


def test_the_good_workflow_gives_the_same_order_id_on_every_replay(storage: FileStorageBackend) -> None:
    good = program(then_wait(GOOD_WORKFLOW) + "    return order_id, current_time\n")
    run_id = run_interrupted(good.good_workflow)
    events = asyncio.run(storage.get_events(run_id))
    recorded = next(e.data["result"] for e in events if e.type == "step_completed")
    order_id, moment = resume(run_id)
    assert order_id == recorded
    assert isinstance(moment, datetime)
    assert asyncio.run(pyworkflow.resume(run_id)) == (order_id, moment)


def test_the_bad_workflow_is_refused_on_replay_when_its_random_id_reaches_a_step(
    storage: FileStorageBackend,
) -> None:
    source = BAD_WORKFLOW.replace("morning_flow()", "morning_flow(order_id)").replace(
        "afternoon_flow()", "afternoon_flow(order_id)"
    )
    bad = program(then_wait(source))
    random.seed(1)
    run_id = run_interrupted(bad.bad_workflow)
    random.seed(2)
    with pytest.raises(NonDeterminismError) as caught:
        resume(run_id)
    assert caught.value.kind == "arguments"
    assert "ORD-" in caught.value.expected
    assert "ORD-" in caught.value.actual
    assert caught.value.expected != caught.value.actual


def test_the_bad_workflow_is_refused_on_replay_when_the_hour_changes_its_path(
    storage: FileStorageBackend,
) -> None:
    bad = program(then_wait(BAD_WORKFLOW))
    bad.datetime.hour_now = 9
    run_id = run_interrupted(bad.bad_workflow)
    bad.datetime.hour_now = 15
    with pytest.raises(NonDeterminismError) as caught:
        resume(run_id)
    assert "morning" in caught.value.expected
    assert "afternoon" in caught.value.actual
    bad.datetime.hour_now = 9  # the run is not lost: with the old path it goes on
    assert resume(run_id) is None


def test_the_storage_is_configured_as_the_guide_prints_it(tmp_path: Path) -> None:
    source = CONFIGURE.replace("/var/lib/pyworkflow/events", str(tmp_path / "events"))
    try:
        exec(source, {})
        good = program(GOOD_WORKFLOW)
        run_id = asyncio.run(pyworkflow.start(good.good_workflow))
        assert asyncio.run(pyworkflow.get_workflow_run(run_id)).status is RunStatus.COMPLETED  # type: ignore[union-attr]
        assert (tmp_path / "events").is_dir()
        asyncio.run(pyworkflow.get_storage().close())
    finally:
        reset_config()
