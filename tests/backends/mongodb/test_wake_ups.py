"""What a worker makes of the wake-ups of a replica set."""

from __future__ import annotations

import asyncio
from typing import Any

from woken_workers import wake_a_worker


def test_an_idle_worker_is_woken_by_what_another_handle_starts(replicated: Any, driver: str) -> None:
    async def main() -> None:
        async with replicated.open(driver=driver) as theirs, replicated.open(driver=driver) as ours:
            await wake_a_worker(theirs, ours)

    asyncio.run(main())
