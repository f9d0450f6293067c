"""What a worker makes of PostgreSQL's notifications."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from woken_workers import wake_a_worker

from pyworkflow_core.plugins import open_storage


def test_an_idle_worker_is_woken_by_what_another_handle_starts(postgresql: Any) -> None:
    url = f"{postgresql.url}?namespace=t_{secrets.token_hex(5)}"

    async def main() -> None:
        async with open_storage(url) as theirs, open_storage(url) as ours:
            try:
                await wake_a_worker(theirs, ours)
            finally:
                await ours.drop()  # type: ignore[attr-defined]

    asyncio.run(main())
