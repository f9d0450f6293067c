"""Random lives of schedules, against a model of a few lines."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyworkflow import (
    InMemoryStorageBackend,
    ScheduleSpec,
    create_schedule,
    get_schedule,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
    update_schedule,
)
from pyworkflow.engine.clock import VirtualClock

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from schedules_at_work import SECOND, check_schedule_logs, due_of, quick, work_until
from simulated_runs import make_engine

sys.path.pop(0)

START = 1_700_000_000 * SECOND


@dataclass
class Model:
    """What a schedule should have done."""

    interval: int
    now: int = START
    anchor: int = START
    after: int = START
    paused: bool = False
    missed: int = 0
    fired: list[int] = field(default_factory=list)

    def look(self) -> None:
        """What a schedule does that is driven now."""
        if self.paused:
            return
        first = self.anchor + ((self.after - self.anchor) // self.interval + 1) * self.interval
        due = range(first, self.now + 1, self.interval)
        if due:
            self.fired.append(due[-1])
            self.missed += len(due) - 1
            self.after = due[-1]

    def drive(self, seconds: int) -> None:
        """Time passes, and somebody drives the schedule all the while."""
        end = self.now + seconds * SECOND
        self.look()
        while self.now < end:
            self.now = min(self.now + SECOND, end)
            self.look()

    def do(self, what: str, value: int) -> None:
        """Somebody does something to the schedule, which looks at the clock of that moment before."""
        self.look()
        if what == "trigger":
            self.fired.append(self.now)
        elif what == "pause":
            self.paused = True
        elif what == "resume" and self.paused:
            self.paused, self.after = False, self.now
        elif what == "update":
            self.interval, self.anchor, self.after = value * SECOND, self.now, self.now


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["pause", "resume", "update", "trigger", "drive", "drive", "outage"]),
        st.integers(1, 90),
    ),
    max_size=12,
)


@given(interval=st.integers(5, 60), actions=ACTIONS)
def test_a_schedule_does_what_a_simple_model_says_whatever_is_done_to_it(
    interval: int, actions: list[tuple[str, int]]
) -> None:
    async def main() -> None:
        clock, storage = VirtualClock(START), InMemoryStorageBackend()
        engine = make_engine(storage, clock, 1)
        model = Model(interval * SECOND)
        await create_schedule(
            quick,
            ScheduleSpec(interval=interval),
            overlap_policy="allow_all",
            schedule_id="s",
            storage=storage,
        )
        verbs: dict[str, Any] = {
            "pause": pause_schedule,
            "resume": resume_schedule,
            "trigger": trigger_schedule,
        }
        for what, value in [*actions, ("drive", 30)]:
            if what == "drive":
                await work_until(engine, clock, clock.now() + value * SECOND)
                model.drive(value)
                schedule = await get_schedule("s", storage)
                assert schedule is not None
                assert await due_of(storage, "s") == sorted(model.fired)
                assert (schedule.total_runs, schedule.missed_runs) == (len(model.fired), model.missed)
            elif what == "outage":
                clock.move_to(clock.now() + value * SECOND)
                model.now = clock.now()
            elif what == "update":
                await update_schedule("s", ScheduleSpec(interval=value), storage=storage)
                model.do(what, value)
            else:
                await verbs[what]("s", storage=storage)
                model.do(what, value)
            schedule = await get_schedule("s", storage)
            assert schedule is not None
            assert schedule.status == ("paused" if model.paused else "active")
        await check_schedule_logs(storage)

    asyncio.run(main())
