"""What checks look at: short names for what a handle shows of its runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..record import RunRecord
from ..storage import Answer, Append, StorageBackend, Unknown
from .broken import LawBroken

if TYPE_CHECKING:
    from .place import Place

T = TypeVar("T")

_TRIES = 20
_PATIENCE = 10.0


async def event_ids(store: StorageBackend, run_id: str) -> list[str]:
    """Ids of the events in the run's log, in order."""
    return [event.event_id for event in await store.read(run_id)]


async def bodies(store: StorageBackend, run_id: str) -> list[bytes]:
    """Bodies of the events in the run's log, in order."""
    return [event.body for event in await store.read(run_id)]


async def head_of(store: StorageBackend, run_id: str) -> int:
    """The head that the run's record shows; 0 if there is no such run."""
    record = await store.get(run_id)
    return 0 if record is None else record.head


async def shown(store: StorageBackend, run_id: str) -> tuple[list[str], RunRecord | None]:
    """The run's event ids and its record, to be compared before and after something."""
    return await event_ids(store, run_id), await store.get(run_id)


async def run_ids(store: StorageBackend) -> list[str]:
    """Ids of all runs that a listing has, sorted; at most a thousand."""
    return sorted(record.run_id for record in (await store.find(limit=1000)).records)


async def claimed(place: Place, store: StorageBackend, limit: int = 100) -> list[str]:
    """Ids of the runs that a claim gets now, for one `place.unit`, sorted."""
    claims = await store.claim(owner="looker", now=place.now, lease=place.unit, limit=limit)
    return sorted(claim.run_id for claim in claims)


async def fed(store: StorageBackend) -> list[tuple[str, str]]:
    """Run id and event id of every event in the feed; nothing where there is no feed."""
    if not store.capabilities.feed:
        return []
    page = await store.feed()
    found = []
    while page.events:
        found += [(event.run_id, event.event_id) for event in page.events]
        page = await store.feed(after=page.position)
    return found


async def settled(store: StorageBackend, append: Append) -> Answer:
    """The answer to one append, which is submitted again as long as the outcome is unknown.

    Raises:
        LawBroken: there was not one answer.
    """
    for _ in range(_TRIES):
        answers = await store.commit([append])
        if len(answers) != 1:
            raise LawBroken(f"a commit of one append was answered {answers}")
        if not isinstance(answers[0], Unknown):
            break
    return answers[0]


async def outcome(store: StorageBackend, append: Append) -> str:
    """What one append is answered, as the name of the answer: ``Committed``, ``Conflict`` or ``Refused``."""
    return type(await settled(store, append)).__name__


async def promptly(call: Awaitable[T], said: str) -> T:
    """Await a call that could hang for ever; far more time is given than it can need.

    Raises:
        LawBroken: it did not come back.
    """
    try:
        return await asyncio.wait_for(call, _PATIENCE)
    except TimeoutError as error:
        raise LawBroken(f"{said}: no answer within {_PATIENCE:.0f} s") from error


@asynccontextmanager
async def meanwhile(call: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Let a call go on while the block runs, and wait for it; cancel it if the block raises."""
    task = asyncio.ensure_future(call)
    try:
        yield task
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
