"""Bugs in the feed, in waiting, and in joining a user's transaction."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from ...errors import FeedPositionLost
from ...events import Event
from ...storage import Answer, Append, Committed, FeedPage
from ..hosts.ram import RamStore, RamTransaction
from ..hosts.state import Run, State


class PublishesAgain(RamStore):
    """Publishes an append's events again when it is resubmitted."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        answer = super()._answer_moved(run, append)
        if isinstance(answer, Committed):
            for event in append.events:
                self._publish(self._state, append, event)
        return answer


class FeedsTheDeleted(RamStore):
    """Keeps the events of deleted runs in the feed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._dead: dict[tuple[str, str], Run] = {}

    def _bury(self, state: State, run: Run) -> None:
        self._dead[run.record.run_id, run.record.incarnation] = run
        super()._bury(state, run)

    def _feed_page(self, state: State, after: str | None, limit: int) -> FeedPage:
        whole = state.copy()
        for (run_id, _), run in self._dead.items():
            whole.runs.setdefault(run_id, run)
        return super()._feed_page(whole, after, limit)


class PublishesBackwards(RamStore):
    """Publishes the events of an append in the order in which a set gives them."""

    def _add_events(self, state: State, run: Run, append: Append) -> None:
        run.events += append.events
        for event in reversed(append.events):
            self._publish(state, append, event)


class HoldsBackTheLast(RamStore):
    """Shows an event when the next one comes: nobody can get in front of it then."""

    def _feed_page(self, state: State, after: str | None, limit: int) -> FeedPage:
        shown = state.copy()
        del shown.feed[-1:]
        return super()._feed_page(shown, after, limit)


class SkipsWithinAppends(RamStore):
    """Counts appends in its positions, so that a page that ends within one skips the rest of it."""

    def _feed_page(self, state: State, after: str | None, limit: int) -> FeedPage:
        page = super()._feed_page(state, after, limit)
        place = self._read_position(state, page.position)
        while 0 < place < len(state.feed) and _follows(state.feed[place - 1], state.feed[place]):
            place += 1
        return FeedPage(page.events, self._write_position(state, place))


def _follows(entry: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    return entry[0] == other[0] and entry[2] + 1 == other[2]


class _NumbersFirst(RamStore):
    """Draws the places of events in the feed first, and fills them in later."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._places: dict[tuple[str, str], int] = {}

    def _draw_places(self, appends: Sequence[Append]) -> None:
        for append in appends:
            for event in append.events:
                self._places[append.run_id, event.event_id] = len(self._state.feed)
                self._state.feed.append(("", "", 0))

    def _publish(self, state: State, append: Append, event: Event) -> None:
        place = self._places.get((append.run_id, event.event_id))
        if place is None:
            super()._publish(state, append, event)
        else:
            state.feed[place] = append.run_id, append.incarnation, event.sequence


class NumbersBeforeCommitting(_NumbersFirst):
    """Draws feed positions from a counter when rows are inserted; they are visible at the commit."""

    def _commit_within(self, appends: Sequence[Append], transaction: RamTransaction) -> list[Answer]:
        self._draw_places(appends)
        return super()._commit_within(appends, transaction)


class NumbersBeforeWaiting(_NumbersFirst):
    """Draws feed positions from a counter before it waits for the lock."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        if within is not None:
            return await super()._commit(appends, within)
        self._draw_places([a for a in appends if self._decide(self._state, a) is None])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await super()._commit(appends, within)


class FollowsTheClock(RamStore):
    """Takes the time of the last event for a position, and misses others of the same time."""

    def _feed_page(self, state: State, after: str | None, limit: int) -> FeedPage:
        since = -1 if after is None else self._read_time(state, after)
        everything = super()._feed_page(state, None, len(state.feed)).events
        events = sorted((e for e in everything if e.time > since), key=lambda e: e.time)[:limit]
        return FeedPage(events, f"{state.tag}.{events[-1].time if events else since}")

    def _read_time(self, state: State, position: str) -> int:
        tag, _, time = position.partition(".")
        if tag != state.tag or not time.removeprefix("-").isdecimal():
            raise FeedPositionLost(f"{position!r} is no position of this store")
        return int(time)


class RemembersItsOwnPositions(RamStore):
    """Hands out positions that only the handle understands that gave them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._secret = secrets.token_hex(4)

    def _feed_page(self, state: State, after: str | None, limit: int) -> FeedPage:
        own = State(f"{state.tag}-{self._secret}")
        own.runs, own.feed = state.runs, state.feed
        return super()._feed_page(own, after, limit)


class GuessesLostPositions(RamStore):
    """Begins at the beginning where it does not know a position."""

    def _read_position(self, state: State, position: str) -> int:
        try:
            return super()._read_position(state, position)
        except FeedPositionLost:
            return 0


class LeaksPositionErrors(RamStore):
    """Takes a position apart as if it always had two parts."""

    def _read_position(self, state: State, position: str) -> int:
        tag, place = position.split(".")
        return int(place) if tag == state.tag else super()._read_position(state, position)


class WakesItsOwnHandle(RamStore):
    """Wakes those who wait on the handle that appends, and no others."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._own: set[asyncio.Future[None]] = set()

    def _waiters(self) -> set[asyncio.Future[None]]:
        return self._own


class WakesForNewRuns(RamStore):
    """Tells who waits of a new run, and not of a hook that made a waiting one due."""

    def _tell_waiters(self, appends: Sequence[Append], answers: Sequence[Answer]) -> None:
        new = [(a, b) for a, b in zip(appends, answers, strict=True) if a.expected == 0]
        super()._tell_waiters([a for a, _ in new], [b for _, b in new])


class NeverWakes(RamStore):
    """Publishes wake-ups on a channel that nobody listens to."""

    def _wake_all(self) -> None:
        pass


class WakesOneOfAll(RamStore):
    """Wakes one of those who wait, who may not want that run at all."""

    def _wake_all(self) -> None:
        for waiter in list(self._waiters())[:1]:
            if not waiter.done():
                waiter.set_result(None)


class LeavesATask(RamStore):
    """Starts a task for each wait, and forgets it when the wait is cancelled."""

    async def _wait(self, timeout: int) -> None:
        await asyncio.shield(asyncio.ensure_future(super()._wait(timeout)))


class LeavesAWaiter(RamStore):
    """Takes a waiter off its list when it was woken, and not when it is cancelled."""

    async def _wait(self, timeout: int) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters().add(waiter)
        await asyncio.wait([waiter], timeout=timeout / 1e6)
        self._waiters().discard(waiter)


class SwallowsCancellation(RamStore):
    """Catches everything while it waits, the cancellation of the caller included."""

    async def _wait(self, timeout: int) -> None:
        try:
            await super()._wait(timeout)
        except asyncio.CancelledError:
            return


class WritesAtOnce(RamStore):
    """Writes on a connection of its own, not on the user's."""

    def _commit_within(self, appends: Sequence[Append], transaction: RamTransaction) -> list[Answer]:
        return [self._put(self._state, append) for append in appends]


class CommitsInParts(RamStore):
    """Makes the appends of a transaction that still fit, and passes over the others."""

    def _end_transaction(self, appends: Sequence[Append]) -> None:
        for append in appends:
            self._put(self._state, append)


class ForgetsWhatIsHeld(RamStore):
    """Answers within a transaction by what others see, without what it has itself written."""

    def _commit_within(self, appends: Sequence[Append], transaction: RamTransaction) -> list[Answer]:
        held, transaction.appends = transaction.appends, []
        answers = super()._commit_within(appends, transaction)
        transaction.appends = held + transaction.appends
        return answers


class LeasesOutsideOfTransactions(RamStore):
    """Joins the user's transaction with log and record, and changes the lease at once."""

    def _commit_within(self, appends: Sequence[Append], transaction: RamTransaction) -> list[Answer]:
        for append in appends:
            run = self._run(self._state, append.run_id)
            if append.lease is not None and run is not None:
                self._change_lease(run, append.lease)
        return super()._commit_within(appends, transaction)
