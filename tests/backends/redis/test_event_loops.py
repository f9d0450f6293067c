"""A handle that is used in one event loop after the other."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created


def test_a_handle_goes_on_in_another_event_loop(any_namespace: Any) -> None:
    store = any_namespace.open()
    first = created("a")

    async def begin() -> None:
        assert await store.commit([first]) == [Committed("a", 1)]
        await store.wait(20_000_000)  # until it listens

    async def go_on() -> None:
        assert await store.commit([after(first.record)]) == [Committed("a", 2)]
        await store.close()

    asyncio.run(begin())
    asyncio.run(go_on())
    assert store.closed
    gc.collect()


def test_threads_with_loops_of_their_own_share_a_handle(namespace: Any) -> None:
    store = namespace.open()

    def work(name: str) -> None:
        async def main() -> None:
            append = created(name)
            for head in range(1, 20):
                assert await store.commit([append]) == [Committed(name, head)]
                append = after(append.record)

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(store.close())
    records = namespace.run(lambda handle: handle.list_runs())
    assert [record.head for record in records] == [19] * 3
    assert store.closed
    gc.collect()


def test_a_handle_is_closed_in_another_event_loop(namespace: Any) -> None:
    store = namespace.open()
    asyncio.run(store.open())
    asyncio.run(store.close())
    assert store.closed
    assert store.closed
    gc.collect()
