"""Steps as tasks: what is cancelled is over, also before it began."""

from __future__ import annotations

import asyncio

from simulated_runs import make_engine

from pyworkflow import InMemoryStorageBackend, start, step, workflow
from pyworkflow.engine.clock import VirtualClock


@step(name="workshop.forever")
async def forever() -> None:
    await asyncio.Event().wait()


@step(name="workshop.quick")
async def quick() -> str:
    return "quick"


def test_a_step_that_is_given_up_before_its_first_turn_does_not_keep_the_run_waiting() -> None:
    """A step is launched, and cancelled by what is appended before the event loop comes to it."""

    @workflow(name="workshop.flow")
    async def flow() -> str:
        waiting = asyncio.create_task(forever())
        await quick()
        for _ in range(3):
            waiting.cancel()
            waiting = asyncio.create_task(forever())
            await quick()
        waiting.cancel()
        return "done"

    async def main() -> None:
        storage = InMemoryStorageBackend()
        engine = make_engine(storage, VirtualClock())
        async with asyncio.timeout(30):
            await start(flow, storage=storage)
        assert not engine.live

    asyncio.run(main())


def test_a_task_that_was_cancelled_before_it_began_is_no_longer_busy() -> None:
    async def main() -> None:
        from pyworkflow.engine.workshop import Workshop

        shop = Workshop(make_engine(InMemoryStorageBackend(), VirtualClock()), "run")

        class Wanted:
            name, ordinal = "workshop.forever", 1

        call = Wanted()
        key = ("workshop.forever", 1)
        shop.begin([call], {key: call})  # type: ignore[list-item, dict-item]
        assert shop.is_busy
        shop.cancel_unwanted({})
        assert not shop.is_busy
        assert not shop.jobs

    asyncio.run(main())
