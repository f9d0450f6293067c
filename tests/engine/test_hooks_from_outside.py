"""Hooks: who may answer, which answer counts, and who is told that there is one."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import (
    HookAlreadyReceivedError,
    HookExpiredError,
    HookNotFoundError,
    InMemoryStorageBackend,
    InvalidTokenError,
    UnserializableValueError,
    cancel_workflow,
    define_hook,
    hook,
    resume,
    resume_hook,
    sleep,
    start,
    step,
    workflow,
)
from pyworkflow.engine.clock import VirtualClock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from simulated_runs import LEASE, SECOND, log_of, make_engine, recorded, replay

sys.path.pop(0)

tokens: list[str] = []


@pytest.fixture(autouse=True)
def _no_tokens() -> None:
    tokens.clear()


@dataclasses.dataclass
class Verdict:
    approved: bool
    amount: int


verdict = define_hook("hooks.verdict", Verdict)


@step(name="hooks.work")
async def work() -> int:
    return 1


@workflow(name="hooks.asking")
async def asking(timeout: int | None = None) -> Any:
    try:
        return await hook("a:b/c d", timeout=timeout, on_created=tokens.append)
    except HookExpiredError as error:
        await work()
        return str(error)


def _simulated() -> tuple[InMemoryStorageBackend, VirtualClock]:
    storage, clock = InMemoryStorageBackend(), VirtualClock()
    make_engine(storage, clock)
    return storage, clock


@pytest.mark.parametrize("form", ["secret", "name#ordinal", "name"])
def test_a_hook_is_answered_by_its_secret_or_by_run_and_name(form: str) -> None:
    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(asking, storage=storage)
        (token,) = tokens
        assert len(token.encode()) <= 64
        forms = {"secret": token, "name#ordinal": f"{run_id}:a:b/c d#1", "name": f"{run_id}:a:b/c d"}
        if form == "secret":
            result = await resume_hook(forms[form], {"n": (1, 2)}, storage=storage)
            assert (result.run_id, result.hook_id, result.status) == (run_id, "a:b/c d#1", "resumed")
            assert await resume(run_id, storage=storage) == {"n": (1, 2)}
        else:  # the run id ends at the last colon, so a name with colons is not to be reached
            with pytest.raises(HookNotFoundError):
                await resume_hook(forms[form], 1, storage=storage)

    asyncio.run(main())


def test_of_twenty_concurrent_answers_exactly_one_is_accepted() -> None:
    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(asking, storage=storage)
        answers = await asyncio.gather(
            *[resume_hook(tokens[0], n, storage=storage) for n in range(20)], return_exceptions=True
        )
        accepted = [n for n, answer in enumerate(answers) if not isinstance(answer, Exception)]
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        assert len(accepted) == 1
        assert {type(error) for error in refused} == {HookAlreadyReceivedError}
        assert await resume(run_id, storage=storage) == accepted[0]
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


def test_a_hook_expires_and_a_late_answer_is_refused() -> None:
    async def main() -> None:
        storage, clock = _simulated()
        run_id = await start(asking, 60, storage=storage)
        clock.advance(60 * SECOND)
        with pytest.raises(HookExpiredError, match="too late"):
            await resume_hook(tokens[0], 1, storage=storage)
        assert "got no answer in time" in await resume(run_id, storage=storage)
        with pytest.raises(HookExpiredError):
            await resume_hook(tokens[0], 1, storage=storage)
        history = await log_of(storage, run_id)
        assert replay(history) == recorded(history)

    asyncio.run(main())


def test_a_hook_that_nobody_waits_for_any_more_takes_no_answer() -> None:
    @workflow
    async def giving_up() -> None:
        try:
            async with asyncio.timeout(5):
                await hook("h", on_created=tokens.append)
        except TimeoutError:
            await sleep("1h")

    async def main() -> None:
        storage, clock = _simulated()
        run_id = await start(giving_up, storage=storage)
        clock.advance(5 * SECOND)
        await resume(run_id, storage=storage)
        with pytest.raises(HookExpiredError, match="stopped waiting"):
            await resume_hook(tokens[0], 1, storage=storage)

    asyncio.run(main())


@pytest.mark.parametrize(
    "token",
    [
        "",
        5,
        None,
        "\0." + "a" * 32,
        "\0",
        "\ud800:h",
        "x" * 300 + ":h",
        "x" * 65,
        "run_1",
        "run_1.nohex",
    ],
)
def test_text_that_is_no_token_is_refused(token: Any) -> None:
    with pytest.raises(InvalidTokenError):
        asyncio.run(resume_hook(token, 1, storage=InMemoryStorageBackend()))


def test_a_wrong_secret_and_an_unknown_run_are_not_found() -> None:
    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(asking, storage=storage)
        for token in (f"{run_id}.{'0' * 32}", f"run_other.{'0' * 32}", f"{run_id}:other", "run_other:h"):
            with pytest.raises(HookNotFoundError):
                await resume_hook(token, 1, storage=storage)
        await cancel_workflow(run_id, storage=storage, wait=True)
        with pytest.raises(HookExpiredError):
            await resume_hook(tokens[0], 1, storage=storage)

    asyncio.run(main())


def test_a_typed_payload_is_checked_before_it_is_recorded_and_arrives_as_its_type() -> None:
    @workflow
    async def typed() -> Any:
        answer = await verdict(on_created=tokens.append)
        return [type(answer).__name__, answer.approved, answer.amount]

    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(typed, storage=storage)
        with pytest.raises(ValueError, match="approved"):
            await resume_hook(tokens[0], {"amount": 3}, storage=storage)
        await resume_hook(tokens[0], {"approved": True, "amount": 3}, storage=storage)
        assert await resume(run_id, storage=storage) == ["Verdict", True, 3]

    asyncio.run(main())


def test_the_callback_ends_before_the_run_leaves_memory() -> None:
    sent: list[str] = []

    async def send(token: str) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        sent.append(token)

    @workflow
    async def flow() -> Any:
        return await hook("h", on_created=send)

    async def main() -> str:
        storage, _ = _simulated()
        return await start(flow, storage=storage)

    run_id = asyncio.run(main())
    assert [token.rpartition(".")[0] for token in sent] == [run_id]


def test_a_callback_may_answer_its_own_hook_and_one_that_fails_stops_nothing() -> None:
    async def main() -> None:
        storage, _ = _simulated()

        async def answer(token: str) -> None:
            await resume_hook(token, "self", storage=storage)
            raise LookupError("afterwards")

        @workflow
        async def flow() -> Any:
            return await hook("h", on_created=answer)

        run_id = await start(flow, storage=storage)
        assert await resume(run_id, storage=storage) == "self"

    asyncio.run(main())


def test_a_callback_that_was_cut_off_is_called_again_by_the_next_owner() -> None:
    async def main() -> None:
        storage, clock = _simulated()
        calls: list[str] = []

        async def slow(token: str) -> None:
            calls.append(token)
            if len(calls) == 1:
                await asyncio.Event().wait()

        @workflow
        async def flow() -> Any:
            return await hook("h", on_created=slow)

        task = asyncio.create_task(start(flow, storage=storage))
        while not calls:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (record,) = await storage.list_runs()
        clock.advance(LEASE)
        assert await resume(record.run_id, storage=storage) is None
        assert len(calls) == 2
        assert calls[0] == calls[1]
        clock.advance(LEASE)
        await resume(record.run_id, storage=storage)
        assert len(calls) == 2

    asyncio.run(main())


def test_a_callback_that_raises_stop_iteration_fails_the_run_and_not_the_engine() -> None:
    @workflow(name="hooks.empty")
    async def flow() -> Any:
        return await hook("answer", on_received=lambda payload: next(iter(payload)))

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(flow, storage=storage)
        await resume_hook(f"{run_id}:answer", [], storage=storage)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="StopIteration"):
                await resume(run_id, storage=storage)

    asyncio.run(main())


def test_a_payload_that_cannot_be_recorded_is_refused_as_such_and_the_hook_stays_open() -> None:
    async def main() -> None:
        storage, _ = _simulated()
        run_id = await start(asking, storage=storage)
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        for payload in (object(), nested, "\ud800"):
            with pytest.raises(UnserializableValueError):
                await resume_hook(tokens[0], payload, storage=storage)
        assert (await resume_hook(tokens[0], "yes", storage=storage)).run_id == run_id

    asyncio.run(main())
