"""Driving whole families in simulated time: whatever is due is taken up, until nothing owes or waits."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from simulated_runs import LEASE, answer_a_hook, check_log, log_of, recorded, replay

from pyworkflow.engine.clock import VirtualClock
from pyworkflow.engine.control import drive_for
from pyworkflow.engine.drive import RunLost
from pyworkflow.engine.engine import Engine
from pyworkflow_core.payloads import WorkflowInterrupted
from pyworkflow_core.storage import StorageBackend


async def take_up_due(engine: Engine, queues: list[str] | None = None) -> int:
    """Claim what is due and drive it, one run after the other; how many there were."""
    now, lease = engine.clock.now(), engine.settings.lease
    claims = await engine.storage.claim(owner="test", now=now, lease=lease, limit=10, queues=queues)
    for claim in claims:
        with contextlib.suppress(RunLost):
            await (await drive_for(engine, claim)).run()
    return len(claims)


async def work_off(
    engine: Engine,
    clock: VirtualClock,
    *,
    rounds: int = 500,
    act: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Go on until every run has ended and owes nothing; `act` is what the outside does meanwhile."""
    for _ in range(rounds):
        if act is not None:
            await act()
        if await take_up_due(engine):
            continue
        records = [r for r in await engine.storage.list_runs() if r.workflow]
        waiting = [r for r in records if not r.status.is_terminal or r.detail.owes]
        if not waiting:
            return
        wakes = [r.wake_at for r in waiting if r.wake_at is not None]
        if not wakes:
            answers = [await answer_a_hook(engine, record.run_id) for record in waiting]
            assert any(answers), "the runs wait for nothing that could come"
        else:
            # Either one is due later, or somebody who died holds its lease.
            clock.move_to(min(wakes) if min(wakes) > clock.now() else clock.now() + LEASE)
    raise AssertionError(f"not ended after {rounds} rounds")


async def outcomes(storage: StorageBackend) -> list[str]:
    """How every run ended, in an order that does not depend on their ids; each log is checked on the way."""
    found = []
    for record in await storage.list_runs():
        if not record.workflow:
            continue
        events = await storage.read(record.run_id)
        check_log(events, record)
        assert not record.detail.owes
        assert record.wake_at is None
        history = await log_of(storage, record.run_id)
        assert not any(isinstance(e.data, WorkflowInterrupted) for e in history)
        kind, value = recorded(history)
        if history[-1].data is not None and record.detail.started_at is not None:
            assert replay(history, run=record) == (kind, value)
            assert replay(history, run=record, one_by_one=True) == (kind, value)
        found.append(json.dumps([record.workflow, record.detail.depth, kind, _plain(value)]))
    return sorted(found)


def _plain(value: Any) -> str:
    """The value as text, in which ids are all the same."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    words = text.replace('"', " ").replace("(", " ").replace(")", " ").split()
    return " ".join("run" if word.startswith("run_") else word for word in words)
