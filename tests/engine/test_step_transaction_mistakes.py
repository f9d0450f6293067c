"""Where a step cannot have a transaction, and what it must not do in one: it is told so."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import (
    InMemoryStorageBackend,
    StepTransactionError,
    open_storage,
    start,
    step,
    step_transaction,
    workflow,
)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from own_tables import DATABASES, OwnTable, Payments

sys.path.pop(0)


@pytest.fixture(params=DATABASES)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> OwnTable:
    """Each of the databases with a table of the user's own."""
    return OwnTable(request.param, request, tmp_path)


@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_a_step_that_ends_its_transaction_by_itself_is_told_to_leave_that(own: OwnTable, how: str) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own, max_retries=0)

        async def end(connection: Any, turn: int) -> None:
            await getattr(connection, how)()
            await own.write(connection, 2)

        payments.within = end
        with pytest.raises(Exception, match="begin_nested"):
            await payments.start(storage)
        assert await own.read(storage) == []

    own.run(main)


def test_a_second_block_in_one_attempt_is_refused(own: OwnTable) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own)

        async def again(connection: Any, turn: int) -> None:
            async with step_transaction():
                raise AssertionError("begun")

        payments.after = again
        with pytest.raises(StepTransactionError, match="one step_transaction"):
            await payments.start(storage)
        assert payments.ran == [1], "tried again in vain"
        assert await own.read(storage) == []

    own.run(main)


def test_a_step_that_returns_while_its_block_is_open_fails(tmp_path: Path) -> None:
    entered = asyncio.Event()
    left_behind: list[asyncio.Task[None]] = []

    async def aside() -> None:
        async with step_transaction():
            entered.set()
            await asyncio.Event().wait()

    @step(name="own.leaving")
    async def leaving() -> None:
        left_behind.append(asyncio.create_task(aside()))
        await entered.wait()

    @workflow(name="own.leaves")
    async def leaves() -> None:
        await leaving()

    async def main() -> None:
        async with open_storage(f"sqlite:///{tmp_path / 'runs.db'}") as storage:
            with pytest.raises(StepTransactionError, match="await that task"):
                await start(leaves, storage=storage)
            left_behind[0].cancel()
            await asyncio.wait(left_behind)

    asyncio.run(main())


@step(name="own.asking")
async def asking() -> None:
    async with step_transaction():
        raise AssertionError("begun")


@step(name="own.asking_in_a_thread")
def asking_in_a_thread() -> None:
    asyncio.run(asking.func())


@workflow(name="own.asks")
async def asks(where: str) -> None:
    if where == "step":
        await asking()
    elif where == "thread":
        await asking_in_a_thread()
    else:
        await asking.func()


@pytest.mark.parametrize(
    ("where", "why"),
    [("step", "keep the runs in the database"), ("thread", "'async def'"), ("workflow", "outside a step")],
)
def test_a_transaction_is_refused_where_there_can_be_none(tmp_path: Path, where: str, why: str) -> None:
    async def main() -> None:
        async with InMemoryStorageBackend(str(tmp_path)) as storage:
            with pytest.raises(StepTransactionError, match=why):
                await start(asks, where, storage=storage)

    asyncio.run(main())


def test_a_transaction_is_refused_outside_of_every_workflow() -> None:
    with pytest.raises(StepTransactionError, match="outside a step"):
        asyncio.run(asking.func())


def test_a_database_in_memory_has_no_transaction_to_share() -> None:
    async def main() -> None:
        async with open_storage("sqlite://") as storage:
            with pytest.raises(StepTransactionError, match="SqliteStorageBackend"):
                await start(asks, "step", storage=storage)

    asyncio.run(main())
