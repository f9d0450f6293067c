"""Group commit: many concurrent appends of one process become few commits.

Whoever appends while no commit is in flight leads: it lets the others of this turn of the
event loop join, commits all that is queued from its own task, hands out the answers and
passes the lead on. So a lone append goes straight through, and while one commit is in
flight the next one collects. Unknown outcomes are settled here by submitting the identical
append again: the backend recognises its event ids.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable

from .errors import OutcomeUnknown
from .storage import Answer, Append, Committed, Conflict, Refused, StorageBackend, Unknown

_LEAD = object()


class _Entry:
    __slots__ = ("answer", "append")

    def __init__(self, append: Append, answer: asyncio.Future[object]) -> None:
        self.append = append
        self.answer = answer


class CommitQueue:
    """Collects appends for one backend on one event loop.

    Args:
        backend: where they go.
        patience: seconds to go on resubmitting an append whose outcome is unknown.
        sleep: how to wait between two tries; a test injects its own.

    Attributes:
        writers: how many runs may append at about the same time. Where there is but one, its
            append does not wait a turn of the event loop for others to join.
        commits: commits made so far.
        appends: appends submitted so far, resubmissions included.
    """

    def __init__(
        self,
        backend: StorageBackend,
        *,
        patience: float = 30.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._patience = patience
        self._sleep = sleep
        self._queue: deque[_Entry] = deque()
        self._leading = False
        self.writers = 2
        self.commits = 0
        self.appends = 0

    async def append(self, append: Append) -> Committed | Conflict | Refused:
        """Write one append, alone or with others, and settle an unknown outcome.

        Raises:
            OutcomeUnknown: the append may or may not be in the log, and resubmitting it gave
                no answer for as long as the queue has patience.
            StorageUnavailable: nothing was written.
        """
        delay, waited = 0.01, 0.0
        while True:
            if self.writers <= 1 and not self._leading and not self._queue:
                answer = await self._commit_alone(append)
            else:
                answer = await self._submit(append)
            if not isinstance(answer, Unknown):
                return answer
            if waited >= self._patience:
                first, last = append.events[0], append.events[-1]
                raise OutcomeUnknown(
                    f"run {append.run_id!r}: events {first.sequence} to {last.sequence} (ids "
                    f"{first.event_id} to {last.event_id}) may or may not have been written; "
                    f"no answer came for {waited:.0f} s. Read the run again before going on."
                ) from answer.cause
            # Full jitter keeps many processes from coming back together.
            pause = delay * (0.5 + random.random() / 2)
            await self._sleep(pause)
            waited += pause
            delay = min(delay * 2, 2.0)

    async def _submit(self, append: Append) -> Answer:
        entry = _Entry(append, asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        self.appends += 1
        if self._leading:
            try:
                answer = await entry.answer
            except asyncio.CancelledError:
                if _answer_of(entry.answer) is _LEAD:
                    self._pass_lead(entry)
                raise
            if answer is not _LEAD:
                return answer  # type: ignore[return-value]
        else:
            self._leading = True
            if self.writers > 1:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    self._pass_lead(entry)
                    raise
        return await self._lead(entry)

    async def _commit_alone(self, append: Append) -> Answer:
        """Commit one append; those that come meanwhile are collected, and led by one of them."""
        self._leading = True
        self.appends += 1
        self.commits += 1
        try:
            (answer,) = await self._backend.commit((append,))
        finally:
            if self._queue:
                self._pass_lead(None)
            else:
                self._leading = False
        return answer

    async def _lead(self, mine: _Entry) -> Answer:
        while True:
            batch = self._take(mine)
            try:
                self.commits += 1
                answers: list[Answer] = await self._backend.commit([e.append for e in batch])
            except BaseException as error:
                self._answer_failed(batch, mine, error)
                self._pass_lead(mine)
                raise
            own: Answer | None = None
            for entry, answer in zip(batch, answers, strict=True):
                if entry is mine:
                    own = answer
                elif not entry.answer.done():
                    entry.answer.set_result(answer)
            if own is not None:
                self._pass_lead(mine)
                return own

    def _take(self, mine: _Entry) -> list[_Entry]:
        """The next commit: in order, one append a run, within the backend's limits."""
        limits = self._backend.limits
        most = limits.commit_appends or len(self._queue)
        room = limits.commit_bytes
        batch: list[_Entry] = []
        held: list[_Entry] = []
        runs: set[str] = set()
        while self._queue and len(batch) < most:
            entry = self._queue.popleft()
            if entry is not mine and entry.answer.done():
                continue  # its caller was cancelled before it was sent
            if entry.append.run_id in runs:
                held.append(entry)
                continue
            if room is not None:
                room -= sum(len(event.body) for event in entry.append.events)
                if room < 0 and batch:
                    held.append(entry)
                    break
            runs.add(entry.append.run_id)
            batch.append(entry)
        self._queue.extendleft(reversed(held))
        return batch

    def _answer_failed(self, batch: list[_Entry], mine: _Entry, error: BaseException) -> None:
        """The whole commit failed. A cancelled leader leaves the others' outcome unknown."""
        for entry in batch:
            if entry is mine or entry.answer.done():
                continue
            if isinstance(error, Exception) and not isinstance(error, OutcomeUnknown):
                entry.answer.set_exception(error)
            else:
                entry.answer.set_result(Unknown(entry.append.run_id, error))

    def _pass_lead(self, mine: _Entry | None) -> None:
        for entry in self._queue:
            if entry is not mine and not entry.answer.done():
                entry.answer.set_result(_LEAD)
                break
        else:
            self._leading = False
        if mine is not None and mine in self._queue:
            self._queue.remove(mine)


def _answer_of(future: asyncio.Future[object]) -> object:
    """What the future holds; None if it holds nothing, an error or a cancellation."""
    if not future.done() or future.cancelled() or future.exception() is not None:
        return None
    return future.result()
