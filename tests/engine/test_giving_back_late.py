"""A run whose replay fails while completions are not written is handed back with all of them."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

from pyworkflow import InMemoryStorageBackend, start, step, workflow
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.codec import Codec
from pyworkflow_core.errors import CodecError
from pyworkflow_core.ids import derive_run_id

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import log_of, make_engine

sys.path.pop(0)

RUN = derive_run_id("key", "program")


class Narrow(Codec):
    """A codec that cannot revive one of the values."""

    def decode(self, data: Any, **options: Any) -> Any:
        if bytes(data) == b"3":
            raise CodecError("3 cannot be revived")
        return super().decode(data, **options)


@step(name="late.work", max_retries=0)
async def work(n: int) -> int:
    return n


@workflow(name="late.given_back", durability="exit")
async def given_back() -> None:
    await work(1)
    await work(2)
    await work(3)


def test_a_run_that_is_handed_back_has_the_results_in_its_log_that_were_there_before() -> None:
    async def main() -> None:
        storage = InMemoryStorageBackend()
        make_engine(storage, VirtualClock(auto=True)).codec = Narrow()
        with contextlib.suppress(CodecError):
            await start(given_back, storage=storage, idempotency_key="program")
        types = [str(e.data.TYPE) for e in await log_of(storage, RUN)]
        assert types.count("step_completed") == 2
        assert types[-1] == "workflow_suspended"

    asyncio.run(main())
