"""A worker for a test that kills it: ``chaos_worker.py URL EPOCH``. Its time runs a hundred times as fast."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import time
from collections.abc import Callable

from pyworkflow import Worker, open_storage
from pyworkflow.engine.clock import Alarm
from pyworkflow.engine.engine import Engine, Settings, use_engine

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from feature_programs import all_programs

FACTOR = 100
BEGINNING = 1_700_000_000_000_000


class FastClock:
    """A clock that all processes of a test share, and that runs a hundred times as fast as the machine's.

    Args:
        epoch: nanoseconds since 1970 when it began.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def now(self) -> int:
        """The time, in microseconds since 1970 in UTC."""
        return BEGINNING + (time.time_ns() - self._epoch) * FACTOR // 1000

    def call_at(self, when: int, callback: Callable[[], object]) -> Alarm:
        """Call back on the running event loop when the time has come."""
        delay = max(when - self.now(), 0) / FACTOR / 1e6
        return asyncio.get_running_loop().call_later(min(delay, 86_400.0), callback)


# A lease of three real seconds, and a look at foreign events every tenth of one.
SETTINGS = Settings(lease=300_000_000, poll=10_000_000, patience=3_000_000_000)


async def main(url: str, epoch: int) -> None:
    """Work until killed."""
    all_programs()
    async with open_storage(url) as storage:
        engine = Engine(storage, clock=FastClock(epoch), settings=SETTINGS)
        use_engine(engine)
        print("ready", flush=True)
        await Worker(storage, engine=engine, poll_interval=10, concurrency=50).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
