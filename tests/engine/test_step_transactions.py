"""A step's writes to its user's own tables commit with its completion, or not at all."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pyworkflow import (
    StepTimeoutError,
    cancel_workflow,
    hook,
    open_storage,
    resume,
    resume_hook,
    start,
    step,
    step_transaction,
    workflow,
)
from pyworkflow_core.ids import IdSource
from pyworkflow_core.payloads import (
    CancellationRequested,
    StepCompleted,
    StepFailed,
    StepRetrying,
    WorkflowCancelled,
)
from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing.proxy import Cut, Moment, Proxy

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from own_tables import DATABASES, Between, LostCommit, OwnTable, Payments, Rival
from simulated_runs import check_log, log_of, recorded, replay
from storage_wrappers import NOISE, append_from_outside

sys.path.pop(0)


@pytest.fixture(params=DATABASES)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> OwnTable:
    """Each of the databases with a table of the user's own."""
    return OwnTable(request.param, request, tmp_path)


async def payloads_of(storage: StorageBackend, kind: type[Any]) -> list[Any]:
    """The payloads of a kind in the log of the one run, which is sound and replays."""
    (record,) = await storage.list_runs()
    events = await storage.read(record.run_id)
    check_log(events, record)
    history = await log_of(storage, record.run_id)
    if record.status.is_terminal:
        assert replay(history) == recorded(history)
    return [e.data for e in history if isinstance(e.data, kind)]


def test_the_users_row_and_the_completion_appear_together(own: OwnTable) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own)

        async def look(connection: Any, turn: int) -> None:
            assert await payloads_of(storage, StepCompleted) == []
            found = await connection.execute(text(f"SELECT count(*) FROM {own.name}"))
            assert found.scalar() == 1
            if own.kind != "sqlite":  # there nobody else gets in
                assert await own.read(storage) == []

        payments.within = payments.after = look
        await payments.start(storage)
        assert await own.read(storage) == [1]
        assert len(await payloads_of(storage, StepCompleted)) == 1

    own.run(main)


@pytest.mark.parametrize("place", ["within", "after"])
def test_an_error_undoes_the_writes_and_a_retry_begins_a_new_transaction(own: OwnTable, place: str) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own)

        async def fail_twice(connection: Any, turn: int) -> None:
            if turn < 3:
                raise ValueError(turn)

        setattr(payments, place, fail_twice)
        await payments.start(storage)
        assert payments.ran == [1, 1, 1]
        assert await own.read(storage) == [1]
        assert len(await payloads_of(storage, StepRetrying)) == 2

    own.run(main)


def test_a_step_that_fails_for_good_leaves_nothing_of_its_writes(own: OwnTable) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own, max_retries=0)

        async def fail(connection: Any, turn: int) -> None:
            raise ValueError(turn)

        payments.after = fail
        with pytest.raises(ValueError, match="1"):
            await payments.start(storage)
        assert await own.read(storage) == []
        assert len(await payloads_of(storage, StepFailed)) == 1

    own.run(main)


def test_a_step_that_deals_with_the_error_of_its_block_completes_without_the_writes(own: OwnTable) -> None:
    @step(name="own.dealing")
    async def dealing() -> str:
        try:
            async with step_transaction() as connection:
                await own.write(connection, 1)
                raise KeyError
        except KeyError:
            return "dealt with"

    @workflow(name="own.deals")
    async def deals() -> str:
        return await dealing()

    async def main(storage: Any) -> None:
        await start(deals, storage=storage)
        assert await own.read(storage) == []
        assert len(await payloads_of(storage, StepCompleted)) == 1

    own.run(main)


def test_steps_with_and_without_transactions_run_beside_each_other(own: OwnTable) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own)

        async def take_a_while(connection: Any, turn: int) -> None:
            await asyncio.sleep(0.005)

        payments.within = take_a_while
        await payments.start(storage, tuple(range(5)), others=10)
        assert await own.read(storage) == [0, 1, 2, 3, 4]
        assert len(payments.ran) == 5
        assert len(await payloads_of(storage, StepCompleted)) == 15

    own.run(main)


def test_runs_with_transactions_do_not_hold_each_other_up_for_ever(own: OwnTable) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own)
        await asyncio.gather(*[payments.start(storage, (n, 10 + n), others=2) for n in range(5)])
        assert await own.read(storage) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        assert len(payments.ran) == 10

    own.run(main)


def test_a_conflict_undoes_the_writes_and_the_attempt_is_made_again(own: OwnTable) -> None:
    async def main(inner: Any) -> None:
        async def append(run_id: str) -> None:
            await append_from_outside(inner, run_id, NOISE, IdSource(), 0)

        payments = Payments(own)
        storage = Rival(inner, append, own.kind)
        await payments.start(storage)
        assert (payments.ran, storage.conflicts) == ([1, 1], 1)
        assert await own.read(inner) == [1]
        assert len(await payloads_of(storage, StepCompleted)) == 1

    own.run(main)


class Intruded(Between):
    """Lets somebody else append to the run before a step's transaction locks anything."""

    append: Callable[[], Awaitable[object]]

    async def before_begin(self) -> None:
        if self.begun == 1:
            await self.append()


def test_what_others_append_meanwhile_costs_no_second_attempt(own: OwnTable) -> None:
    payments = Payments(own)

    @workflow(name="own.pay_and_ask")
    async def pay_and_ask() -> list[Any]:
        return await asyncio.gather(payments.pay(1), hook("answer"))

    async def main(inner: Any) -> None:
        async def answer() -> None:
            (record,) = await inner.list_runs()
            await resume_hook(f"{record.run_id}:answer", 7, storage=inner)

        storage = Intruded(inner)
        storage.append = answer
        await start(pay_and_ask, storage=storage)
        assert payments.ran == [1]
        assert await own.read(inner) == [1]
        assert recorded(await log_of(inner, (await inner.list_runs())[0].run_id))[0] == "completed"

    own.run(main)


def test_a_step_that_is_cancelled_meanwhile_leaves_nothing_of_its_writes(own: OwnTable) -> None:
    async def main(inner: Any) -> None:
        async def cancel() -> None:
            (record,) = await inner.list_runs()
            request = CancellationRequested("enough")
            await append_from_outside(inner, record.run_id, request, IdSource(), 0)

        payments = Payments(own)
        storage = Intruded(inner)
        storage.append = cancel
        run_id = await payments.start(storage)
        assert isinstance((await log_of(inner, run_id))[-1].data, WorkflowCancelled)
        assert await own.read(inner) == []
        assert await payloads_of(storage, StepCompleted) == []

    own.run(main)


def test_a_request_to_cancel_that_comes_during_the_block_undoes_its_writes(own: OwnTable) -> None:
    if own.kind == "sqlite":
        pytest.skip("there the request waits for the transaction's end")

    async def main(storage: Any) -> None:
        payments = Payments(own)

        async def cancel(connection: Any, turn: int) -> None:
            (record,) = await storage.list_runs()
            await cancel_workflow(record.run_id, storage=storage)

        payments.within = cancel
        run_id = await payments.start(storage)
        assert isinstance((await log_of(storage, run_id))[-1].data, WorkflowCancelled)
        assert await own.read(storage) == []

    own.run(main)


@pytest.mark.parametrize("made", [True, False])
def test_a_commit_whose_answer_was_lost_is_taken_from_the_log(own: OwnTable, made: bool) -> None:
    async def main(inner: Any) -> None:
        payments = Payments(own, max_retries=0)
        storage = LostCommit(inner, made=made)
        await payments.start(storage)
        assert payments.ran == ([1] if made else [1, 1])
        assert await own.read(inner) == [1]
        assert len(await payloads_of(storage, StepCompleted)) == 1

    own.run(main)


class CutOff(Between):
    """Cuts the connection of the first transaction in its commit."""

    def __init__(self, inner: StorageBackend, proxy: Proxy, moment: Moment) -> None:
        super().__init__(inner)
        self._proxy = proxy
        self._moment = moment

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """The inner storage's, which is about to commit when the block has ended."""
        async with super().transaction() as connection:
            yield connection
            if self.begun == 1:
                await self._proxy.cut(Cut(1, self._moment))


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_connection_that_breaks_in_the_commit_neither_loses_nor_doubles_a_write(
    kind: str, moment: Moment, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    own = OwnTable(kind, request, tmp_path)

    async def main(direct: Any) -> None:
        payments = Payments(own, max_retries=0)
        async with Proxy(direct.url.host, direct.url.port) as proxy:
            url = direct.url.set(host=proxy.host, port=proxy.port).render_as_string(hide_password=False)
            async with open_storage(f"{url}?namespace={direct.options.namespace}") as inner:
                storage = CutOff(inner, proxy, moment)
                await payments.start(storage)
                assert payments.ran == ([1] if moment is Moment.AFTER else [1, 1])
                assert len(await payloads_of(storage, StepCompleted)) == 1
        assert await own.read(direct) == [1]

    own.run(main)


def test_a_commit_that_the_database_refuses_is_an_error_of_the_step(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    own = OwnTable("postgresql", request, tmp_path)

    async def main(storage: Any) -> None:
        async with storage.transaction() as connection:
            unique = f"ALTER TABLE {own.name} ADD CONSTRAINT {own.name}_once UNIQUE (n) INITIALLY DEFERRED"
            await connection.execute(text(unique))
            await own.write(connection, 1)
        payments = Payments(own, max_retries=1)
        with pytest.raises(Exception, match="duplicate key"):
            await payments.start(storage, (1, 2))
        assert payments.ran.count(1) == 2
        assert await own.read(storage) == [1, 2]
        assert len(await payloads_of(storage, StepFailed)) == 1

    own.run(main)


def test_a_step_that_takes_too_long_leaves_nothing_of_its_writes(own: OwnTable) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own, max_retries=0, timeout=0.2)

        async def hang(connection: Any, turn: int) -> None:
            await asyncio.Event().wait()

        payments.within = hang
        with pytest.raises(StepTimeoutError):
            await payments.start(storage)
        assert await own.read(storage) == []

    own.run(main)


@pytest.mark.parametrize("place", ["within", "after"])
def test_a_process_that_is_stopped_undoes_the_writes_and_the_next_makes_them(
    own: OwnTable, place: str
) -> None:
    async def main(storage: Any) -> None:
        payments = Payments(own)
        inside = asyncio.Event()

        async def hang_once(connection: Any, turn: int) -> None:
            if turn == 1:
                inside.set()
                await asyncio.Event().wait()

        setattr(payments, place, hang_once)
        under_way = asyncio.create_task(payments.start(storage))
        await inside.wait()
        under_way.cancel()
        with pytest.raises(asyncio.CancelledError):
            await under_way
        assert await own.read(storage) == []
        (record,) = await storage.list_runs()
        assert await resume(record.run_id, storage=storage) == 1
        assert await own.read(storage) == [1]

    own.run(main)


class Impatient(Between):
    """Cancels a task while an append in a transaction is under way."""

    task: asyncio.Task[Any]

    async def before_append(self, append: Any) -> None:
        if self.begun == 1:
            self.task.cancel()
            await asyncio.sleep(0.01)


def test_a_process_that_is_stopped_while_it_commits_never_parts_the_two(own: OwnTable) -> None:
    async def main(inner: Any) -> None:
        payments = Payments(own)
        storage = Impatient(inner)
        storage.task = asyncio.create_task(payments.start(storage))
        with pytest.raises(asyncio.CancelledError):
            await storage.task
        completed = await payloads_of(storage, StepCompleted)
        assert len(await own.read(inner)) == len(completed)
        (record,) = await storage.list_runs()
        await resume(record.run_id, storage=storage)
        assert await own.read(inner) == [1]
        assert len(await payloads_of(storage, StepCompleted)) == 1

    own.run(main)
