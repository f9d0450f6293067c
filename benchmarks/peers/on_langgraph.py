"""The work on LangGraph's functional API with durability="sync".

The replayed entrypoint raises after its tasks and is invoked again with None: all tasks are answered from
the pending writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Any

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.func import entrypoint, task
from work import AT_ONCE, EACH, REPLAY, RUNS, SEQUENCE, STEPS, SYNCED, place, tell

FAILING = [False]


def thread() -> dict[str, Any]:
    return {"configurable": {"thread_id": uuid.uuid4().hex}}


def one_by_one(store: str, saver: Any, durable: str) -> None:
    @task
    def work(i: int) -> dict[str, Any]:
        return {"ok": True, "i": i}

    @entrypoint(checkpointer=saver)
    def many(n: int) -> int:
        for i in range(n):
            work(i).result()
        if FAILING[0]:
            raise RuntimeError("a crash")
        return n

    many.invoke(5, thread(), durability="sync")
    began = time.perf_counter()
    many.invoke(STEPS, thread(), durability="sync")
    tell(store, SEQUENCE, time.perf_counter() - began, durable)
    FAILING[0], here = True, thread()
    with contextlib.suppress(RuntimeError):
        many.invoke(STEPS, here, durability="sync")
    FAILING[0] = False
    began = time.perf_counter()
    many.invoke(None, here, durability="sync")
    tell(store, REPLAY, time.perf_counter() - began, durable)


async def at_once(store: str, saver: Any, durable: str) -> None:
    @task
    async def work(i: int) -> dict[str, Any]:
        return {"ok": True, "i": i}

    @entrypoint(checkpointer=saver)
    async def many(n: int) -> int:
        for i in range(n):
            await work(i)
        return n

    await many.ainvoke(5, thread(), durability="sync")
    began = time.perf_counter()
    invoked = [many.ainvoke(EACH, thread(), durability="sync") for _ in range(RUNS)]
    ended = await asyncio.gather(*invoked, return_exceptions=True)
    failed = [each for each in ended if isinstance(each, BaseException)]
    tell(store, AT_ONCE, time.perf_counter() - began, durable, failed=len(failed))


async def all_at_once(folder: str, postgresql: str) -> None:
    async with AsyncSqliteSaver.from_conn_string(f"{folder}/many.db") as saver:
        await at_once("sqlite", saver, SYNCED)
    if postgresql:
        async with AsyncPostgresSaver.from_conn_string(postgresql) as saver:
            await at_once("postgresql", saver, SYNCED)


if __name__ == "__main__":
    with place() as here:
        with SqliteSaver.from_conn_string(f"{here.folder}/one.db") as sqlite:
            one_by_one("sqlite", sqlite, SYNCED)
        if here.postgresql:
            with PostgresSaver.from_conn_string(here.postgresql) as postgresql:
                postgresql.setup()
                one_by_one("postgresql", postgresql, SYNCED)
        asyncio.run(all_at_once(here.folder, here.postgresql))
