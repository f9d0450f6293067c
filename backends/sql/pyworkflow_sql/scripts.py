"""What is done with the statements, without doing it: generators that yield calls and take rows.

A script neither knows nor cares who executes it: a thread with a SQLite file, a connection to
a server, or the user's own transaction. So each procedure is written once. What a script
needs in one transaction is the business of whoever runs it.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from pyworkflow_core.checks import read_cursor, write_cursor
from pyworkflow_core.errors import FeedPositionLost
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord
from pyworkflow_core.sequencing import answer_moved
from pyworkflow_core.storage import Answer, Append, Claim, Committed, FeedPage, Page, RunQuery

from .rows import (
    LARGEST,
    Lease,
    Locked,
    event_values,
    fit,
    grave,
    is_text,
    lease_after,
    read_events,
    read_locked,
    read_record,
    run_values,
    text,
)
from .statements import Statement, Statements

T = TypeVar("T")
_NO_LEASE = Lease(None, None, None)


class Call(Struct, frozen=True):
    """One execution.

    Attributes:
        statement: what to execute.
        values: its parameters, by name; a list of them to execute it for each.
    """

    statement: Statement
    values: dict[str, Any] | list[dict[str, Any]] = {}


Script = Generator[Call, Any, T]
"""Yields calls; takes rows, or how many rows were changed; returns its result."""


# ---- commit --------------------------------------------------------------------------


def commit(s: Statements, appends: Sequence[Append], *, feed: bool) -> Script[list[Answer]]:
    """Answer each append. Needs a transaction; rows are locked in the order of their ids."""
    rows = yield Call(s.lock_runs(shape := _shape(len(appends))), _ids([a.run_id for a in appends], shape))
    there = {text(row[0]): read_locked(row) for row in rows}
    winners = []
    for append in appends:
        locked = there.get(append.run_id)
        if append.expected == 0 if locked is None else locked.takes(append):
            winners.append(append)
    position = (yield from _take_positions(s, winners)) if feed and winners else None
    yield from _write(s, winners, there, position)
    won = {append.run_id for append in winners}
    answers: list[Answer] = []
    for append in appends:
        if append.run_id in won:
            answers.append(Committed(append.run_id, append.record.head))
        else:
            answers.append((yield from _settle(s, append, there.get(append.run_id))))
    return answers


def touch(s: Statements) -> Script[None]:
    """Write nothing, so that a transaction is one that writes."""
    yield Call(s.set_fact, {"of_name": "", "new_value": ""})


def _write(
    s: Statements, winners: Sequence[Append], there: dict[str, Locked], position: int | None
) -> Script[None]:
    new: list[dict[str, Any]] = []
    old: list[dict[str, Any]] = []
    advanced: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for append in sorted(winners, key=lambda a: a.run_id):
        locked = there.get(append.run_id)
        lease = lease_after(append, _NO_LEASE if locked is None else locked.lease)
        values = run_values(append, lease)
        if locked is None:
            new.append(values)
        elif locked.head and lease == locked.lease and s.is_settled(locked.settled, values):
            advanced.append(values)
        else:
            old.append(values)
        events += event_values(append, None if position is None else position + len(events))
    for statement, many in ((s.advance_run, advanced), (s.update_run, old), (s.insert_run, new)):
        if many:
            yield Call(statement, many)
    if events:
        yield Call(s.insert_event, events)


def _take_positions(s: Statements, winners: Sequence[Append]) -> Script[int]:
    """The first of the feed positions that the events of `winners` get; the lock on them is held."""
    ((last,),) = yield Call(s.lock_fact, {"name": "position"})
    count = sum(len(append.events) for append in winners)
    yield Call(s.set_fact, [{"of_name": "position", "new_value": str(int(last) + count)}])
    return int(last) + 1


def _settle(s: Statements, append: Append, locked: Locked | None) -> Script[Answer]:
    """What to answer an append that is not where the log stands: it may be there already."""
    if locked is None or locked.head == 0:
        return answer_moved(append, 0, [])
    stored: list[Event] = []
    if locked.incarnation == append.incarnation:
        count = len(append.events)
        values = {"run_id": append.run_id, "after": fit(append.expected), "limit": count}
        stored = read_events(append.run_id, (yield Call(s.read, values)))
    return answer_moved(append, locked.head, stored)


def _shape(count: int) -> int:
    """A power of two that is not below `count`, so that few statements serve every count."""
    return 1 << (count - 1).bit_length()


def _ids(run_ids: Sequence[str], shape: int) -> dict[str, Any]:
    """Parameters ``id0, id1, …``: the ids, and the last of them again where the shape is larger."""
    filled = [*run_ids, *[run_ids[-1]] * (shape - len(run_ids))]
    return {f"id{n}": run_id for n, run_id in enumerate(filled)}


# ---- one run -------------------------------------------------------------------------


def get(s: Statements, run_id: str) -> Script[RunRecord | None]:
    """The run's record."""
    rows = yield Call(s.get, {"run_id": run_id})
    return read_record(rows[0]) if rows else None


def read(s: Statements, run_id: str, after: int, limit: int | None) -> Script[list[Event]]:
    """The run's events above `after`."""
    most = LARGEST if limit is None else fit(limit)
    rows = yield Call(s.read, {"run_id": run_id, "after": fit(after), "limit": most})
    return read_events(run_id, rows)


def delete(s: Statements, run_id: str, expected: int) -> Script[None]:
    """Remove the run. Needs a transaction.

    Raises:
        ValueError: the head is another one.
    """
    rows = yield Call(s.lock_runs(1), {"id0": run_id})
    locked = read_locked(rows[0]) if rows else None
    if locked is None or locked.head == 0:
        return
    if locked.head != expected:
        raise ValueError(f"run {run_id!r}: its head is {locked.head}, not {expected}; nothing was removed")
    buried = (locked.buried or b"") + grave(locked.incarnation)
    yield Call(s.bury_run, {"of_run": run_id, "buried": buried})
    yield Call(s.delete_events, {"run_id": run_id})


# ---- claims --------------------------------------------------------------------------


def claim(
    s: Statements,
    owner: str,
    now: int,
    lease: int,
    limit: int,
    queues: tuple[str, ...] | None,
    run_id: str | None,
) -> Script[list[Claim]]:
    """Lease due runs. Needs a transaction; runs that others have locked are left to them."""
    until = fit(now + lease)
    if run_id is not None:
        found = yield Call(s.due_run, {"run_id": run_id, "now": fit(now)})
        found = [row for row in found if queues is None or text(row[5]) in queues]
    else:
        found = yield from _due_runs(s, fit(now), min(limit, LARGEST), queues)
    if not found:
        return []
    records = [read_record(row) for row in found]
    claims = [Claim(r.run_id, owner, secrets.token_hex(8), until, r) for r in records]
    leases = [
        {"of_run": c.run_id, "new_token": c.token, "new_owner": owner, "new_lease_until": until}
        for c in claims
    ]
    yield Call(s.lease_run, leases)
    return claims


def _due_runs(
    s: Statements, now: int, limit: int, queues: tuple[str, ...] | None
) -> Script[list[Sequence[Any]]]:
    """Rows of due runs: by priority; queues of equal priority take turns at being first."""
    names = None if queues is None else list(dict.fromkeys(queues))
    count = None if names is None else len(names)
    values = {f"queue{n}": name for n, name in enumerate(names or ())}
    levels = list((yield Call(s.levels(count), values)))
    random.shuffle(levels)
    levels.sort(key=lambda level: level[1])
    found: list[Sequence[Any]] = []
    for queue, priority in levels:
        if len(found) == limit:
            break
        room = {"queue": text(queue), "priority": priority, "now": now, "limit": limit - len(found)}
        found += yield Call(s.due_runs, room)
    return found


def move_lease(s: Statements, claim: Claim, until: int | None) -> Script[bool]:
    """Let the claim's lease end at `until`, or now; False if it is no longer the claim's."""
    if not (is_text(claim.run_id) and is_text(claim.token)):
        return False
    moved: int = yield Call(s.move_lease, lease_values(claim, until))
    return moved > 0


def lease_values(claim: Claim, until: int | None) -> dict[str, Any]:
    """The parameters of `Statements.move_lease`."""
    return {
        "of_run": claim.run_id,
        "of_token": claim.token,
        "new_token": None if until is None else claim.token,
        "new_lease_until": None if until is None else fit(until),
    }


# ---- listing -------------------------------------------------------------------------


def find(s: Statements, query: RunQuery, cursor: str | None, limit: int) -> Script[Page]:
    """One page, newest first, then by id. Attributes are compared here, so that any key will do."""
    behind = None if cursor is None else read_cursor(cursor)
    values: dict[str, Any] = {
        name: value
        for name in ("workflow", "queue", "parent", "created_from", "created_before")
        if (value := getattr(query, name)) is not None
    }
    if not all(is_text(value) for value in values.values() if isinstance(value, str)):
        return Page([], None)  # nothing is called that
    values = {name: fit(v) if isinstance(v, int) else v for name, v in values.items()}
    filters = tuple(values)
    statuses = [] if query.status is None else sorted(str(status) for status in query.status)
    if query.status is not None and not statuses:
        return Page([], None)
    values |= {f"status{n}": status for n, status in enumerate(statuses)}
    found: list[RunRecord] = []
    while True:
        # One more than fits says whether there is another page.
        room = min(limit + 1 - len(found), 1000) if not query.attributes else 1000
        values["limit"] = room
        if behind is not None:
            if not is_text(behind[1]):
                return Page(found, None)
            values |= {"created": fit(behind[0]), "run_id": behind[1]}
        rows = yield Call(s.find(filters, len(statuses), behind is not None), values)
        for row in rows:
            record = read_record(row)
            if query.matches(record):
                if len(found) == limit:
                    return Page(found, write_cursor(found[-1]))
                found.append(record)
        if len(rows) < room:
            return Page(found, None)
        behind = (record.created_at, record.run_id)


# ---- feed ----------------------------------------------------------------------------


def feed(s: Statements, tag: str, after: str | None, limit: int) -> Script[FeedPage]:
    """The next events of living runs, where positions are counted."""
    place = 0 if after is None else read_place(tag, after)
    rows = (yield Call(s.feed, {"after": fit(place), "limit": fit(limit)})) if limit else []
    if rows:
        place = rows[-1][0]
    elif place:
        ((last,),) = yield Call(s.fact, {"name": "position"})
        if place > int(last):
            raise FeedPositionLost(
                f"{after!r} is ahead of the feed, as after a restore; begin again with None"
            )
    return FeedPage([Event(text(r[1]), r[2], text(r[3]), bytes(r[4])) for r in rows], f"{tag}.{place}")


def read_place(tag: str, position: str) -> int:
    """The number in a position of this namespace.

    Raises:
        FeedPositionLost: it is of another namespace, or none.
    """
    mark, _, place = position.partition(".")
    if mark == tag and place.isascii() and place.isdecimal() and len(place) < 20:
        return int(place)
    raise FeedPositionLost(f"{position!r} is no position of this namespace; begin again with None")
