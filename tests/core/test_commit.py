"""The commit queue under random cancellations and failures: nothing is lost, nothing waits for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from pyworkflow_core.commit import CommitQueue
from pyworkflow_core.errors import LimitExceeded, OutcomeUnknown, StorageUnavailable
from pyworkflow_core.events import Event, UnknownPayload, encode_body
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import Answer, Append, Committed, Conflict, Limits, Refused, Unknown

BODY = encode_body(UnknownPayload("test.noise", Raw(b"{}")), 1)


class Backend:
    """Answers as it is told; the queue needs no more of a backend than this."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.commits: list[list[Append]] = []
        self.logs: dict[str, list[str]] = {}
        self.turns = 0
        self.fate = "ok"
        self.random = random.Random(0)
        self.on_failure: Any = lambda: None

    async def commit(self, appends: Sequence[Append]) -> list[Answer]:
        runs = [append.run_id for append in appends]
        assert appends
        assert len(set(runs)) == len(runs), "two appends of one run in one commit"
        self.commits.append(list(appends))
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if self.fate == "unavailable":
            self.on_failure()
            raise StorageUnavailable("away")
        return [self._write(append) for append in appends]

    def _write(self, append: Append) -> Answer:
        if self.fate == "random" and self.random.random() < 0.2:
            return Unknown(append.run_id, TimeoutError())
        log = self.logs.setdefault(append.run_id, [])
        ids = [event.event_id for event in append.events]
        if log[append.expected : append.expected + len(ids)] != ids:
            if len(log) != append.expected:
                return Conflict(append.run_id, len(log))
            log += ids
        if self.fate == "random" and self.random.random() < 0.2:
            return Unknown(append.run_id, TimeoutError())
        return Committed(append.run_id, append.expected + len(ids))


def append(run: str, expected: int = 0, *, size: int = 1) -> Append:
    events = tuple(Event(run, expected + 1 + i, f"{run}-{expected + 1 + i}", BODY) for i in range(size))
    return Append(run, "i", expected, events, RunRecord(run_id=run, incarnation="i", head=expected + size))


async def _no_sleep(_: float) -> None:
    await asyncio.sleep(0)


def queue_of(backend: Any) -> CommitQueue:
    return CommitQueue(backend, sleep=_no_sleep)


def test_a_lone_append_is_one_commit() -> None:
    async def main() -> None:
        backend = Backend()
        queue = queue_of(backend)
        for n in range(5):
            assert await queue.append(append("r", n)) == Committed("r", n + 1)
        assert [len(commit) for commit in backend.commits] == [1] * 5
        assert (queue.commits, queue.appends) == (5, 5)

    asyncio.run(main())


def test_appends_of_one_moment_are_one_commit_and_of_a_commits_time_the_next() -> None:
    async def main() -> None:
        backend = Backend()
        backend.turns = 5
        queue = queue_of(backend)
        first = [asyncio.create_task(queue.append(append(f"a{n}"))) for n in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = [asyncio.create_task(queue.append(append(f"b{n}"))) for n in range(10)]
        await asyncio.gather(*first, *second)
        assert [len(commit) for commit in backend.commits] == [10, 10]

    asyncio.run(main())


def test_two_appends_of_one_run_are_written_one_after_the_other() -> None:
    async def main() -> None:
        backend = Backend()
        queue = queue_of(backend)
        answers = await asyncio.gather(*[queue.append(append("r", n)) for n in range(4)])
        assert answers == [Committed("r", n + 1) for n in range(4)]

    asyncio.run(main())


@pytest.mark.parametrize("limits", [Limits(commit_appends=3), Limits(commit_bytes=3 * len(BODY))])
def test_a_commit_keeps_within_the_backends_limits(limits: Limits) -> None:
    async def main() -> None:
        backend = Backend(limits=limits)
        queue = queue_of(backend)
        await asyncio.gather(*[queue.append(append(f"r{n}")) for n in range(10)])
        assert sum(len(commit) for commit in backend.commits) == 10
        assert max(len(commit) for commit in backend.commits) == 3

    asyncio.run(main())


def test_a_storage_that_is_away_is_told_to_everybody_and_the_queue_goes_on_afterwards() -> None:
    async def main() -> None:
        backend = Backend()
        backend.fate = "unavailable"
        queue = queue_of(backend)
        answers = await asyncio.gather(
            *[queue.append(append(f"r{n}")) for n in range(10)], return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {StorageUnavailable}
        backend.fate = "ok"
        assert await queue.append(append("r")) == Committed("r", 1)

    asyncio.run(main())


def test_an_outcome_that_stays_unknown_is_an_error_in_the_end() -> None:
    class Silent(Backend):
        def _write(self, append: Append) -> Answer:
            return Unknown(append.run_id, TimeoutError("no answer"))

    async def main() -> None:
        with pytest.raises(OutcomeUnknown, match="may or may not have been written") as caught:
            await CommitQueue(Silent(), patience=1.0, sleep=_no_sleep).append(append("r"))  # type: ignore[arg-type]
        assert isinstance(caught.value.__cause__, TimeoutError)

    asyncio.run(main())


def test_a_refusal_is_answered_to_its_own_caller_only() -> None:
    class Refusing(Backend):
        def _write(self, append: Append) -> Answer:
            if append.run_id == "bad":
                return Refused("bad", LimitExceeded("too large"))
            return super()._write(append)

    async def main() -> None:
        queue = queue_of(Refusing())
        good, bad = await asyncio.gather(queue.append(append("good")), queue.append(append("bad")))
        assert isinstance(good, Committed)
        assert isinstance(bad, Refused)

    asyncio.run(main())


def test_a_cancelled_follower_is_cancelled_even_when_its_commit_failed_at_the_same_moment() -> None:
    async def main() -> None:
        backend = Backend()
        backend.fate = "unavailable"
        queue = queue_of(backend)
        leader = asyncio.create_task(queue.append(append("a")))
        follower = asyncio.create_task(queue.append(append("b")))
        backend.on_failure = lambda: asyncio.get_running_loop().call_soon(follower.cancel)
        with pytest.raises(StorageUnavailable):
            await leader
        with pytest.raises(asyncio.CancelledError):
            await follower

    asyncio.run(main())


@given(st.integers(0, 2**32), st.integers(0, 3), st.booleans())
def test_whoever_is_cancelled_whenever_the_lead_is_never_lost(seed: int, turns: int, unknown: bool) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        backend = Backend(limits=Limits(commit_appends=rng.choice([1, 2, None])))
        backend.turns = turns
        backend.random = random.Random(seed)
        backend.fate = "random" if unknown else "ok"
        queue = queue_of(backend)
        acknowledged: dict[str, int] = {}

        async def writer(run: str) -> None:
            for n in range(6):
                answer = await queue.append(append(run, n))
                assert answer == Committed(run, n + 1)
                acknowledged[run] = n + 1
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)

        tasks = [asyncio.create_task(writer(f"r{n}")) for n in range(6)]
        doomed = tasks[: rng.randrange(6)]
        while not all(task.done() for task in tasks):
            if doomed and rng.random() < 0.4:
                doomed.pop(rng.randrange(len(doomed))).cancel()
            await asyncio.sleep(0)
        for n, task in enumerate(tasks):
            run = f"r{n}"
            log = backend.logs.get(run, [])
            assert log == [f"{run}-{i + 1}" for i in range(len(log))]
            assert len(log) >= acknowledged.get(run, 0)
            if not task.cancelled():
                task.result()
                assert len(log) == 6
        assert await asyncio.wait_for(queue.append(append("last")), 10) == Committed("last", 1)

    asyncio.run(main())
