"""Tokens that code chooses for its hooks: one open hook has one, whatever crashes and whoever races."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    HookTokenInUseError,
    InMemoryStorageBackend,
    NonDeterminismError,
    cancel_workflow,
    continue_as_new,
    get_workflow_run,
    hook,
    list_hooks,
    resume,
    resume_hook,
    sleep,
    start,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import SECOND, log_of, make_engine, recorded, replay

sys.path.pop(0)

told: list[str] = []


@pytest.fixture(autouse=True)
def _nobody_told() -> None:
    told.clear()


@workflow(name="tokens.order")
async def order(token: str, timeout: int | None = None) -> Any:
    try:
        return await hook("paid", token=token, timeout=timeout, on_created=told.append)
    except HookExpiredError:
        return "expired"
    except HookTokenInUseError as error:
        return f"refused: {error}"


def _simulated() -> tuple[InMemoryStorageBackend, VirtualClock]:
    storage, clock = InMemoryStorageBackend(), VirtualClock()
    make_engine(storage, clock)
    return storage, clock


@pytest.mark.parametrize("token", ["order-17", "order:17", "x", "ä/ö ../x", "a.b", "=", "f" * 32, "e" * 64])
def test_a_hook_is_answered_by_the_token_that_its_code_chose(token: str) -> None:
    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(order, token, storage=storage)
        assert told == [token]
        result = await resume_hook(token, {"cents": 5}, storage=storage)
        assert (result.run_id, result.hook_id) == (run_id, "paid#1")
        with pytest.raises(HookAlreadyReceivedError):
            await resume_hook(token, 1, storage=storage)
        assert await resume(run_id, storage=storage) == {"cents": 5}
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


@pytest.mark.parametrize("token", ["", "x" * 65, "ä" * 33, "a\0b", "\ud800", "run_1", 5])
def test_a_token_that_cannot_be_one_is_refused_where_the_code_calls(token: Any) -> None:
    @workflow(name="tokens.wrong")
    async def wrong() -> None:
        try:
            await hook("paid", token=token)
        except (ValueError, TypeError) as error:
            raise RuntimeError(str(error)) from None

    async def main() -> None:
        storage, _ = _simulated()
        with pytest.raises(RuntimeError, match="token"):
            await start(wrong, storage=storage)

    asyncio.run(main())


def test_a_token_in_use_is_refused_and_free_again_when_its_hook_is_done() -> None:
    async def main() -> None:
        storage, clock = _simulated()
        first = await start(order, "t", storage=storage)
        second = await start(order, "t", storage=storage)
        refused = await get_workflow_run(second, storage)
        assert refused is not None
        assert refused.result == (
            f"refused: hook 'paid' #1: token 't' is in use by hook 'paid#1' of run {first!r}. "
            "It is free again once that hook is answered, has expired, or is no longer waited for; or choose "
            "another token."
        )
        assert told == ["t"]
        with pytest.raises(HookExpiredError, match="the run is completed"):
            await resume_hook(f"{second}:paid", 1, storage=storage)
        history = await log_of(storage, second)
        assert replay(history) == recorded(history)

        await resume_hook("t", 1, storage=storage)
        third = await start(order, "t", 60, storage=storage)  # the first has not been taken up yet
        clock.advance(60 * SECOND)
        fourth = await start(order, "t", storage=storage)  # nor has the third, whose time is over
        assert (await resume_hook("t", 4, storage=storage)).run_id == fourth
        assert await resume(first, storage=storage) == 1
        assert await resume(third, storage=storage) == "expired"
        fifth = await start(order, "t", storage=storage)
        await cancel_workflow(fifth, storage=storage)
        await resume(fifth, storage=storage)
        with pytest.raises(HookExpiredError):
            await resume_hook("t", 5, storage=storage)
        sixth = await start(order, "t", storage=storage)
        record = await storage.get(sixth)
        assert record is not None
        await storage.delete(sixth, expected=record.head)
        with pytest.raises(HookNotFoundError):
            await resume_hook("t", 6, storage=storage)
        seventh = await start(order, "t", storage=storage)
        assert (await resume_hook("t", 7, storage=storage)).run_id == seventh

    asyncio.run(main())


def test_of_many_runs_that_want_one_token_at_once_exactly_one_gets_it() -> None:
    async def main() -> None:
        storage, _ = _simulated()
        runs = await asyncio.gather(*(start(order, "t", storage=storage) for _ in range(20)))
        waiting = [h.run_id for h in await list_hooks(storage=storage)]
        assert len(waiting) == 1
        assert told == ["t"]
        await resume_hook("t", "yes", storage=storage)
        results = []
        for run_id in runs:
            await resume(run_id, storage=storage)
            run = await get_workflow_run(run_id, storage)
            assert run is not None
            results.append((run.result == "yes", str(run.result).startswith("refused")))
        assert sorted(results) == [(False, True)] * 19 + [(True, False)]

    asyncio.run(main())


def test_one_run_cannot_give_two_open_hooks_the_same_token_but_one_after_the_other() -> None:
    @workflow(name="tokens.two")
    async def two() -> Any:
        answers = await asyncio.gather(hook("a", token="t"), hook("b", token="t"), return_exceptions=True)
        return [str(type(answer).__name__) for answer in answers] + [await hook("b", token="t")]

    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(two, storage=storage)
        with pytest.raises(HookNotFoundError, match="did not get its token"):
            await resume_hook(f"{run_id}:b", "refused", storage=storage)
        assert (await resume_hook("t", "first", storage=storage)).hook_id == "a#1"
        await resume(run_id, storage=storage)
        assert (await resume_hook("t", "second", storage=storage)).hook_id == "b#2"
        assert await resume(run_id, storage=storage) == ["str", "HookTokenInUseError", "second"]
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


def test_a_token_goes_with_the_run_that_continues_as_new() -> None:
    @workflow(name="tokens.chain")
    async def chain(left: int = 1) -> Any:
        waiting = asyncio.ensure_future(hook("paid", token="t", on_created=told.append))
        if left:
            await asyncio.sleep(1)
            continue_as_new(left - 1)
        return await waiting

    async def main() -> None:
        storage, clock = _simulated()
        run_id = await start(chain, storage=storage)
        clock.advance(2 * SECOND)
        await resume(run_id, storage=storage)
        assert told == ["t", "t"]
        refused = await start(order, "t", storage=storage)
        run = await get_workflow_run(refused, storage)
        assert run is not None
        assert "in use" in run.result
        result = await resume_hook("t", "paid", storage=storage)
        assert result.run_id != run_id
        assert await resume(run_id, storage=storage) == "paid"
        again = await start(order, "t", storage=storage)
        assert (await resume_hook("t", 1, storage=storage)).run_id == again

    asyncio.run(main())


def test_another_token_than_the_recorded_one_is_a_change_of_the_workflow() -> None:
    tokens = ["old"]

    @workflow(name="tokens.changed")
    async def changed() -> Any:
        return await hook("paid", token=tokens[0])

    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(changed, storage=storage)
        await resume_hook("old", 1, storage=storage)
        tokens[0] = "new"
        with pytest.raises(NonDeterminismError, match="hook 'paid'"):
            await resume(run_id, storage=storage)
        tokens[0] = "old"
        assert await resume(run_id, storage=storage) == 1

    asyncio.run(main())


def test_open_hooks_are_listed_with_what_answers_them() -> None:
    @workflow(name="tokens.listed")
    async def listed() -> Any:
        plain = asyncio.ensure_future(hook("plain", timeout="1h", payload_schema=bool))
        await asyncio.gather(hook("own", token="mine"), plain)
        await sleep("1h")

    async def main() -> None:
        storage, clock = _simulated()
        await start(order, "other", storage=storage)
        run_id = await start(listed, storage=storage)
        own, plain = sorted(await list_hooks(run_id, storage=storage), key=lambda h: h.name)
        assert own.token not in repr(own)
        assert plain.token not in repr([plain])
        assert (own.token, own.hook_id, own.status, own.expires_at) == ("mine", "own#1", "open", None)
        assert (plain.schema, plain.workflow_name) == ("builtins.bool", "tokens.listed")
        assert plain.expires_at is not None
        assert (plain.expires_at - plain.created_at).total_seconds() == 3600
        assert {h.token for h in await list_hooks(storage=storage)} == {"mine", "other", plain.token}
        assert len(await list_hooks(storage=storage, limit=1)) == 1
        assert len(await list_hooks(storage=storage, workflow_name="tokens.order")) == 1
        assert await list_hooks(run_id, workflow_name="tokens.order", storage=storage) == []
        await resume_hook(own.token, None, storage=storage)
        assert [h.name for h in await list_hooks(run_id, storage=storage)] == ["plain"]
        clock.advance(3600 * SECOND)
        assert await list_hooks(run_id, storage=storage) == []
        every = await list_hooks(run_id, only_open=False, storage=storage)
        assert {h.name: h.status for h in every} == {"own": "received", "plain": "expired"}

    asyncio.run(main())
