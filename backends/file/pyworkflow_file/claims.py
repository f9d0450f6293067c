"""Claims and listings: what is asked of the index beyond single runs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pyworkflow_core.checks import read_cursor, write_cursor
from pyworkflow_core.record import RunRecord, decode_record
from pyworkflow_core.storage import Claim, Page, RunQuery

from .index import fit

if TYPE_CHECKING:
    from .index import Index

_NEXT_QUEUE = "SELECT min(queue) FROM runs WHERE due IS NOT NULL AND queue > ?"
_NEXT_PRIORITY = "SELECT min(priority) FROM runs WHERE due IS NOT NULL AND queue = ? AND priority > ?"
_DUE = (
    "SELECT priority, due, id, record FROM runs "
    "WHERE due IS NOT NULL AND queue = ? AND priority = ? AND due <= ? ORDER BY due, id LIMIT ?"
)
_DUE_RUN = "SELECT priority, due, id, record FROM runs WHERE id = ? AND due <= ?"


def claim_due(
    index: Index,
    owner: str,
    now: int,
    lease: int,
    limit: int,
    queues: tuple[str, ...] | None,
    run_id: str | None,
) -> list[Claim]:
    """Lease due runs: the lowest priority number first, then the earliest, then by id."""
    until = now + lease
    with index.transaction():
        if run_id is not None:
            rows = index.db.execute(_DUE_RUN, (run_id, fit(now))).fetchall()
        else:
            rows = []
            for queue in _queues(index) if queues is None else dict.fromkeys(queues):
                rows += _due_of_queue(index, queue, now, limit)
            rows.sort(key=lambda row: row[:3])
        claims: list[Claim] = []
        for _, _, name, data in rows:
            record = decode_record(data)
            if len(claims) == limit or (
                run_id is not None and queues is not None and record.queue not in queues
            ):
                break
            claims.append(Claim(name, owner, secrets.token_hex(8), until, record))
            index.set_lease(name, claims[-1].token, owner, until)
    return claims


def _queues(index: Index) -> list[str]:
    """The queues that have runs with a due time: one seek in the index for each."""
    found: list[str] = []
    while (name := index.db.execute(_NEXT_QUEUE, (found[-1] if found else "",)).fetchone()[0]) is not None:
        found.append(name)
    return found


def _due_of_queue(index: Index, queue: str, now: int, limit: int) -> list[tuple[int, int, str, bytes]]:
    """Up to `limit` due runs of a queue, priority by priority, so that sleeping runs cost nothing."""
    rows: list[tuple[int, int, str, bytes]] = []
    priority = -(2**63)
    while len(rows) < limit:
        priority = index.db.execute(_NEXT_PRIORITY, (queue, priority)).fetchone()[0]
        if priority is None:
            break
        rows += index.db.execute(_DUE, (queue, priority, fit(now), limit - len(rows)))
    return rows


def move_lease(index: Index, claim: Claim, until: int | None) -> bool:
    """Let the claim's lease end at `until`, or now; False if it is no longer the claim's."""
    with index.transaction():
        row = index.db.execute("SELECT token FROM runs WHERE id = ?", (claim.run_id,)).fetchone()
        if row is None or row[0] != claim.token:
            return False
        index.set_lease(claim.run_id, None if until is None else claim.token, claim.owner, until)
    return True


def find_page(index: Index, query: RunQuery, cursor: str | None, limit: int) -> Page:
    """One page, newest first, then by id."""
    tests, values = ["1"], list[object]()
    for column, wanted in (("workflow", query.workflow), ("queue", query.queue), ("parent", query.parent)):
        if wanted is not None:
            tests.append(f"{column} = ?")
            values.append(wanted)
    if query.status is not None:
        tests.append(f"status IN ({','.join('?' * len(query.status))})")
        values += [str(status) for status in query.status]
    if query.created_from is not None:
        tests.append("created >= ?")
        values.append(fit(query.created_from))
    if query.created_before is not None:
        tests.append("created < ?")
        values.append(fit(query.created_before))
    if cursor is not None:
        created, run_id = read_cursor(cursor)
        tests.append("created <= ? AND (created < ? OR id > ?)")
        values += [fit(created), fit(created), run_id]
    sql = f"SELECT record FROM runs WHERE {' AND '.join(tests)} ORDER BY created DESC, id"
    found: list[RunRecord] = []
    try:
        rows = index.db.execute(sql, values)
    except UnicodeEncodeError:
        return Page([], None)  # a lone surrogate: nothing is called that
    for (data,) in rows:
        record = decode_record(data)
        if query.matches(record):  # attributes are compared here, so that any key will do
            if len(found) == limit:
                return Page(found, write_cursor(found[-1]))
            found.append(record)
    return Page(found, None)
