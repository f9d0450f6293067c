"""What a worker makes of Redis's wake-ups."""

from __future__ import annotations

import asyncio
from typing import Any

from woken_workers import wake_a_worker


def test_an_idle_worker_is_woken_by_what_another_handle_starts(any_namespace: Any) -> None:
    async def main() -> None:
        async with any_namespace.open() as theirs, any_namespace.open() as ours:
            await wake_a_worker(theirs, ours, seconds=0.05)

    asyncio.run(main())
