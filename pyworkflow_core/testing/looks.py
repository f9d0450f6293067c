"""What checks look at: short names for what a handle shows of its runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..events import Event
from ..record import RunRecord
from ..storage import Answer, Append, FeedPage, Position, StorageBackend, Unknown
from .broken import LawBroken, holds

if TYPE_CHECKING:
    from .place import Place

T = TypeVar("T")

_TRIES = 20
_PATIENCE = 10.0
_PAGES = 100
LOOKS = 100
"""How often one looks for events that a feed still holds back."""
PAUSE = 0.05
"""Seconds between two such looks."""


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


async def follow(
    store: StorageBackend,
    *,
    after: Position | None = None,
    limit: int = 100,
    until: Iterable[tuple[str, str]] = (),
) -> FeedPage:
    """All that the feed has behind `after`, page by page, as one page.

    A feed may hold events back until it is sure of their order, be it because of a transaction
    that the suite knows nothing of: an empty page is its end only when all that is wanted has
    come, or nothing comes for a while.

    Args:
        store: a handle with a feed.
        after: a position of the feed; its beginning if None.
        limit: the most events of a page.
        until: run id and event id of events that must be there.

    Raises:
        LawBroken: a page is longer than asked for, or the feed does not end.
    """
    found: list[Event] = []
    missing = {*until}
    most = _PAGES + len(missing)
    pages = looks = 0
    while pages < most:
        page = await store.feed(after=after, limit=limit)
        holds(len(page.events) <= limit, f"a page of at most {limit} events has {len(page.events)}")
        found += page.events
        missing -= {(event.run_id, event.event_id) for event in page.events}
        if page.events:
            looks = 0
        elif missing and looks < LOOKS:
            looks += 1
            await asyncio.sleep(PAUSE)
            after = page.position
            continue
        elif page.position == after:
            return FeedPage(found, page.position)
        pages += 1
        after = page.position
    raise LawBroken(f"the feed does not end after {most} pages")


async def fed(store: StorageBackend, *until: tuple[str, str]) -> list[tuple[str, str]]:
    """Run id and event id of every event in the feed; nothing where there is no feed.

    Args:
        store: a handle.
        until: as for `follow`.
    """
    if not store.capabilities.feed:
        return []
    return [(event.run_id, event.event_id) for event in (await follow(store, until=until)).events]


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
