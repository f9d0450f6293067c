"""The rules of the storage contract, written for plain dictionaries and lists.

Every method here is synchronous and looks at, or changes, one `State`. Where the state
lives, who else sees it and how it is made to last is left to the subclasses.
"""

from __future__ import annotations

import secrets

import msgspec

from ...checks import read_cursor, write_cursor
from ...errors import FeedPositionLost
from ...events import Event
from ...record import RunRecord
from ...sequencing import answer_moved
from ...storage import (
    Answer,
    Append,
    Claim,
    Committed,
    Conflict,
    FeedPage,
    LeaseChange,
    Page,
    RunQuery,
    StorageBackend,
)
from .state import Run, State


class PlainStore(StorageBackend):
    """What a store does to its state, in small steps."""

    # ---- appends -------------------------------------------------------------------

    def _key(self, run_id: str) -> str:
        """What a run is filed under: its id, exactly."""
        return run_id

    def _run(self, state: State, run_id: str) -> Run | None:
        return state.runs.get(self._key(run_id))

    def _decide(self, state: State, append: Append) -> Answer | None:
        """The answer to an append that must not be made; None if it fits and must be."""
        run = self._run(state, append.run_id)
        if run is None:
            fits = append.expected == 0 and not self._is_buried(state, append)
            return None if fits else Conflict(append.run_id, 0)
        if not self._is_same_incarnation(run, append):
            return Conflict(append.run_id, run.record.head)
        if append.expected == run.record.head:
            return None
        return self._answer_moved(run, append)

    def _is_buried(self, state: State, append: Append) -> bool:
        """Whether the append was made for a run that has been deleted since."""
        return (append.run_id, append.incarnation) in state.buried

    def _is_same_incarnation(self, run: Run, append: Append) -> bool:
        return run.record.incarnation == append.incarnation

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        """The answer where the head is another one: the append may be there already."""
        stored = run.events[append.expected : append.expected + len(append.events)]
        return answer_moved(append, run.record.head, stored)

    def _committed(self, append: Append) -> Answer:
        return Committed(append.run_id, append.record.head)

    def _apply(self, state: State, append: Append) -> None:
        """Make an append that fits: its events, its record and its change of the lease."""
        run = self._run(state, append.run_id)
        if run is None:
            run = state.runs[self._key(append.run_id)] = Run(append.record)
        self._add_events(state, run, append)
        self._set_record(run, append.record)
        if append.lease is not None:
            self._change_lease(run, append.lease)

    def _add_events(self, state: State, run: Run, append: Append) -> None:
        for event in append.events:
            run.events.append(self._keep_event(event))
            self._publish(state, append, event)

    def _keep_event(self, event: Event) -> Event:
        """What is kept of an event: all of it, body byte for byte."""
        return event

    def _publish(self, state: State, append: Append, event: Event) -> None:
        state.feed.append((append.run_id, append.incarnation, event.sequence))

    def _set_record(self, run: Run, record: RunRecord) -> None:
        run.record = self._copy(record)

    def _copy(self, record: RunRecord) -> RunRecord:
        """The record with attributes of its own: they are a dictionary, which anybody could change."""
        return msgspec.structs.replace(record, attributes=dict(record.attributes))

    # ---- reading -------------------------------------------------------------------

    def _slice(self, run: Run, after: int, limit: int | None) -> list[Event]:
        return run.events[after : None if limit is None else after + limit]

    def _page(self, state: State, query: RunQuery, cursor: str | None, limit: int) -> Page:
        """One page: what lies behind the cursor, filtered, and only then cut to the limit."""
        place = None if cursor is None else self._read_cursor(cursor)
        found: list[RunRecord] = []
        for record in self._listed(state):
            if not self._is_behind(record, place) or not self._matches(query, record):
                continue
            if len(found) == limit:
                return Page(found, write_cursor(found[-1]))
            found.append(self._copy(record))
        return Page(found, None)

    def _read_cursor(self, cursor: str) -> tuple[int, str]:
        created_at, run_id = read_cursor(cursor)
        return -created_at, run_id

    def _listed(self, state: State) -> list[RunRecord]:
        return sorted((run.record for run in state.runs.values()), key=self._place)

    def _place(self, record: RunRecord) -> tuple[int, str]:
        """Where a run stands in listings: newest first, then by id."""
        return -record.created_at, record.run_id

    def _is_behind(self, record: RunRecord, place: tuple[int, str] | None) -> bool:
        return place is None or self._place(record) > place

    def _matches(self, query: RunQuery, record: RunRecord) -> bool:
        return query.matches(record)

    # ---- claims --------------------------------------------------------------------

    def _pick(
        self, state: State, now: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Run]:
        """The runs that a claim gets, in order."""
        chosen = [
            run
            for run in state.runs.values()
            if self._is_due(run, now)
            and self._is_wanted_queue(run, queues)
            and (run_id is None or run.record.run_id == run_id)
        ]
        return sorted(chosen, key=self._claim_order)[:limit]

    def _due_at(self, run: Run) -> int | None:
        """When the run is due: the later of its wake time and the end of its lease."""
        wake_at = run.record.wake_at
        return wake_at if wake_at is None or run.token is None else max(wake_at, run.until)

    def _is_due(self, run: Run, now: int) -> bool:
        due_at = self._due_at(run)
        return due_at is not None and due_at <= now

    def _is_wanted_queue(self, run: Run, queues: tuple[str, ...] | None) -> bool:
        return queues is None or run.record.queue in queues

    def _claim_order(self, run: Run) -> tuple[int, int, str]:
        return run.record.priority, self._due_at(run) or 0, run.record.run_id

    def _new_claim(self, run: Run, owner: str, until: int) -> Claim:
        """A claim of the run, with a token that no other claim has. Nothing is changed yet."""
        return Claim(run.record.run_id, owner, secrets.token_hex(8), until, self._copy(run.record))

    def _held_run(self, state: State, claim: Claim) -> Run | None:
        """The claimed run, if its lease is still the claim's."""
        run = self._run(state, claim.run_id)
        return run if run is not None and run.token == claim.token else None

    def _set_lease(self, run: Run, owner: str, token: str, until: int | None) -> None:
        """Let the lease be this one; none if `until` is None."""
        run.owner, run.token, run.until = owner, (None if until is None else token), until or 0

    def _change_lease(self, run: Run, change: LeaseChange) -> None:
        """What an append does to the lease: nothing, if it is somebody else's."""
        if run.token in (None, change.token):
            self._set_lease(run, change.owner, change.token, change.until)

    # ---- deleting ------------------------------------------------------------------

    def _deletable(self, state: State, run_id: str, expected: int) -> Run | None:
        """The run to delete; None if there is none."""
        run = self._run(state, run_id)
        if run is not None and run.record.head != expected:
            raise ValueError(
                f"run {run_id!r}: its head is {run.record.head}, not {expected}; nothing was removed"
            )
        return run

    def _bury(self, state: State, run: Run) -> None:
        """Forget the run, and remember that this incarnation of it is over."""
        del state.runs[self._key(run.record.run_id)]
        state.buried.add((run.record.run_id, run.record.incarnation))

    # ---- feed ----------------------------------------------------------------------

    def _feed_page(self, state: State, after: str | None, limit: int) -> FeedPage:
        """The next events of living runs; a position is how many entries lie before it."""
        place = 0 if after is None else self._read_position(state, after)
        events: list[Event] = []
        while place < len(state.feed) and len(events) < limit:
            run_id, incarnation, sequence = state.feed[place]
            run = self._run(state, run_id)
            if run is not None and run.record.incarnation == incarnation:
                events.append(run.events[sequence - 1])
            place += 1
        return FeedPage(events, self._write_position(state, place))

    def _write_position(self, state: State, place: int) -> str:
        return f"{state.tag}.{place}"

    def _read_position(self, state: State, position: str) -> int:
        tag, _, place = position.partition(".")
        if tag == state.tag and place.isascii() and place.isdecimal() and int(place) <= len(state.feed):
            return int(place)
        raise FeedPositionLost(f"{position!r} is no position of this store; begin again with None")
