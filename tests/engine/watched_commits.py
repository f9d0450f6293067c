"""A storage that says what each append held, and can hold a commit back, lose its answer or be away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from storage_wrappers import Wrapper

from pyworkflow import InMemoryStorageBackend
from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_core.events import Event, decode_body
from pyworkflow_core.storage import Answer, Append, Committed, Unknown


class WatchedCommits(Wrapper):
    """Memory whose commits take a few turns of the event loop.

    Attributes:
        appends: types of the events of each append that was made, oldest first.
        hold: awaited before the commit of this number; None to hold nothing back.
        away: commits that fail from the second one on, as of a storage that cannot be reached.
        forgetful: numbers of commits that are made, and answered with "unknown".
    """

    def __init__(self) -> None:
        super().__init__(InMemoryStorageBackend())
        self.appends: list[list[str]] = []
        self.hold: tuple[int, Callable[[], Awaitable[Any]]] | None = None
        self.away = 0
        self.forgetful: set[int] = set()

    async def before(self, appends: Sequence[Append]) -> None:
        number = self.commits
        if number > 1 and self.away:
            self.away -= 1
            raise StorageUnavailable("the storage is away")
        for _ in range(5):
            await asyncio.sleep(0)
        if self.hold is not None and self.hold[0] == number:
            await self.hold[1]()

    async def after(self, appends: Sequence[Append], answers: list[Answer]) -> None:
        for append, answer in zip(appends, answers, strict=True):
            if isinstance(answer, Committed):
                self.appends.append(types_of(append.events))
        if self.commits in self.forgetful:
            self.forgetful.discard(self.commits)
            answers[:] = [Unknown(append.run_id, ConnectionError("cut off")) for append in appends]


def types_of(events: Sequence[Event]) -> list[str]:
    """The types of events, in order."""
    return [str(decode_body(event.body).data.TYPE) for event in events]
