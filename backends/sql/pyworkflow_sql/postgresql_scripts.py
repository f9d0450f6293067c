"""What is done with the statements that only PostgreSQL has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyworkflow_core.errors import FeedPositionLost
from pyworkflow_core.events import Event
from pyworkflow_core.sequencing import answer_moved
from pyworkflow_core.storage import Answer, Append, Claim, Committed, FeedPage

from .postgresql_statements import PostgresqlStatements
from .rows import LARGEST, Lease, fit, grave, is_text, lease_after, read_record, run_values
from .scripts import Call, Script, lease_values
from .statements import WRITTEN

_NO_LEASE = Lease(None, None, None)


def commit(
    s: PostgresqlStatements, appends: Sequence[Append], on_due: Callable[[int], None]
) -> Script[list[Answer]]:
    """Answer each append; `on_due` is told when each run that was written is due.

    One statement, and another one where some append was not written.
    """
    rows = yield Call(s.commit, _commit_values(appends))
    written = set()
    for run_id, due_at in rows:
        written.add(run_id)
        if due_at is not None:
            on_due(due_at)
    lost = [append for append in appends if append.run_id not in written]
    settled = (yield from _settle(s, lost)) if lost else {}
    return [settled.get(a.run_id) or Committed(a.run_id, a.record.head) for a in appends]


def _commit_values(appends: Sequence[Append]) -> dict[str, Any]:
    rows = [run_values(append, lease_after(append, _NO_LEASE)) for append in appends]
    values: dict[str, Any] = {f"new_{name}": [row[f"new_{name}"] for row in rows] for name in WRITTEN}
    values["new_expected"] = [append.expected for append in appends]
    values["new_grave"] = [grave(a.incarnation) if a.expected == 0 else None for a in appends]
    values["new_guard"] = [None if a.lease is None else a.lease.token for a in appends]
    events = [event for append in appends for event in append.events]
    values["event_run_id"] = [event.run_id for event in events]
    values["event_sequence"] = [event.sequence for event in events]
    values["event_event_id"] = [event.event_id for event in events]
    values["event_body"] = [event.body for event in events]
    return values


def _settle(s: PostgresqlStatements, lost: Sequence[Append]) -> Script[dict[str, Answer]]:
    """What to answer those that were not written: they may have been there already."""
    rows = yield Call(
        s.losers,
        {
            "run_id": [append.run_id for append in lost],
            "expected": [fit(append.expected) for append in lost],
            "last": [fit(append.record.head) for append in lost],
        },
    )
    heads: dict[str, tuple[int, str]] = {}
    stored: dict[str, list[Event]] = {}
    for run_id, head, incarnation, sequence, event_id, body in rows:
        heads[run_id] = head, incarnation
        if sequence is not None:
            stored.setdefault(run_id, []).append(Event(run_id, sequence, event_id, body))
    answers: dict[str, Answer] = {}
    for append in lost:
        head, incarnation = heads.get(append.run_id, (0, ""))
        own = incarnation == append.incarnation and head > 0
        answers[append.run_id] = answer_moved(append, head, stored.get(append.run_id, []) if own else [])
    return answers


def claim(
    s: PostgresqlStatements,
    owner: str,
    now: int,
    lease: int,
    limit: int,
    queues: tuple[str, ...] | None,
    run_id: str | None,
) -> Script[list[Claim]]:
    """Lease due runs, in one statement."""
    until = fit(now + lease)
    values: dict[str, Any] = {"now": fit(now), "new_owner": owner, "until": until}
    if run_id is not None:
        wanted = None if queues is None else list(queues)
        rows = yield Call(s.claim_run, values | {"run_id": run_id, "queues": wanted})
    else:
        names = None if queues is None else list(dict.fromkeys(queues))
        values |= {f"queue{n}": name for n, name in enumerate(names or ())}
        values["limit"] = min(limit, LARGEST)
        rows = yield Call(s.claim(None if names is None else len(names)), values)
    token, was_due = len(rows[0]) - 2 if rows else 0, -1
    found = [(read_record(row), row[token], row[was_due] or 0) for row in rows]
    found.sort(key=lambda item: (item[0].priority, item[2], item[0].run_id))
    return [Claim(record.run_id, owner, drawn, until, record) for record, drawn, _ in found]


def feed(s: PostgresqlStatements, tag: str, after: str | None, limit: int) -> Script[FeedPage]:
    """The next events of living runs, in front of which nothing can come any more."""
    position, sequence, run_id = (-LARGEST - 1, 0, "") if after is None else _read_place(tag, after)
    rows: Sequence[Any] = ()
    if limit:
        place = {"position": position, "run_id": run_id, "sequence": sequence}
        rows = yield Call(s.feed, {**place, "limit": fit(limit)})
    events = [Event(row[1], row[2], row[3], row[4]) for row in rows]
    if rows:
        position, run_id, sequence = rows[-1][:3]
    elif after is None:
        position = 0
    return FeedPage(events, f"{tag}.{position}.{sequence}.{run_id}")


def _read_place(tag: str, position: str) -> tuple[int, int, str]:
    mark, *parts = position.split(".", 3)
    if mark == tag and len(parts) == 3 and is_text(parts[2]):
        numbers = [int(part) for part in parts[:2] if part.isascii() and part.isdecimal() and len(part) < 19]
        if len(numbers) == 2:
            return numbers[0], numbers[1], parts[2]
    raise FeedPositionLost(f"{position!r} is no position of this namespace; begin again with None")


def move_lease(
    s: PostgresqlStatements, claim: Claim, until: int | None, on_due: Callable[[int], None]
) -> Script[bool]:
    """As `scripts.move_lease`; `on_due` is told when the run is due from now on."""
    if not (is_text(claim.run_id) and is_text(claim.token)):
        return False
    rows = yield Call(s.move_lease, lease_values(claim, until))
    for (due_at,) in rows:
        if due_at is not None:
            on_due(due_at)
    return bool(rows)


def notify(s: PostgresqlStatements, channel: str) -> Script[None]:
    """Wake those who listen on the channel."""
    yield Call(s.notify, {"channel": channel})
