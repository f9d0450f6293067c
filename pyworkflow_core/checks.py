"""Checks that every backend needs, made once: appends, paging, cursors."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from .errors import InvalidCursor, LimitExceeded, StorageError, UnserializableValueError
from .ids import is_plain, validate_id
from .record import GROWTH_BYTES, MAX_ATTRIBUTE_BYTES, check_record

if TYPE_CHECKING:
    from .record import RunRecord
    from .storage import Append, Claim, Limits, RunQuery


def check_appends(appends: Sequence[Append]) -> None:
    """Refuse a commit that is a programming error, before any I/O.

    Raises:
        ValueError: no events, a run named twice, a gap, or events of another run.
        InvalidIdError: an id that cannot be stored.
        UnserializableValueError: an event's body is not bytes.
    """
    if len(appends) > 1:
        runs = {a.run_id for a in appends}
        if len(runs) != len(appends):
            twice = next(
                a.run_id for i, a in enumerate(appends) if a.run_id in {b.run_id for b in appends[:i]}
            )
            raise ValueError(f"a commit names run {twice!r} twice; commit one append after the other")
    for append in appends:
        _check_append(append)


def _check_append(append: Append) -> None:
    run_id, sequence = append.run_id, append.expected
    validate_id(run_id)
    if sequence < 0:
        raise ValueError(f"run {run_id!r}: expected sequence {sequence} is negative")
    if not append.events:
        raise ValueError(f"run {run_id!r}: an append needs at least one event")
    validate_id(append.incarnation, "incarnation")
    for event in append.events:
        sequence += 1
        if event.sequence != sequence or event.run_id != run_id:
            raise ValueError(
                f"run {run_id!r}: event {event.event_id!r} is number {event.sequence} of run "
                f"{event.run_id!r}; the append needs number {sequence} of {run_id!r}"
            )
        if not is_plain(event.event_id):
            validate_id(event.event_id, "event id")
        if type(event.body) is not bytes:
            raise UnserializableValueError(
                f"run {run_id!r}: the body of event {sequence} is {type(event.body).__name__}, not bytes; "
                "write it with encode_body"
            )
    _check_append_record(append.record, append, sequence)
    if append.lease is not None:
        validate_id(append.lease.token, "lease token")
        validate_id(append.lease.owner, "owner")


def _check_append_record(record: RunRecord, append: Append, head: int) -> None:
    if record.run_id != append.run_id or record.head != head or record.incarnation != append.incarnation:
        raise ValueError(
            f"run {append.run_id!r}: the record is not the one after event {head} of incarnation "
            f"{append.incarnation!r}"
        )
    validate_id(record.queue, "queue")
    if record.workflow:
        validate_id(record.workflow, "workflow name")
    if record.parent is not None:
        validate_id(record.parent, "parent run id")


def find_over_limit(appends: Sequence[Append], limits: Limits) -> dict[str, StorageError]:
    """Why each append that `limits` refuse is refused, by run id; the others are unaffected."""
    refused: dict[str, StorageError] = {}
    unlimited = limits.append_events is limits.event_bytes is limits.append_bytes is None
    for append in appends:
        record = append.record
        small = not record.attributes and len(record.rest) <= MAX_ATTRIBUTE_BYTES
        if small and unlimited and append.expected:
            continue
        if (error := _over_limit(append, limits)) is not None:
            refused[append.run_id] = error
    return refused


def _over_limit(append: Append, limits: Limits) -> StorageError | None:
    run_id = append.run_id
    if limits.append_events is not None and len(append.events) > limits.append_events:
        return LimitExceeded(
            f"run {run_id!r}: an append of {len(append.events)} events; at most {limits.append_events} fit"
        )
    total = 0
    for event in append.events:
        size = len(event.body)
        total += size
        if limits.event_bytes is not None and size > limits.event_bytes:
            return LimitExceeded(
                f"run {run_id!r}: event {event.sequence} has {size} bytes; at most {limits.event_bytes} "
                "fit. Keep large values elsewhere and return a reference to them."
            )
    if limits.append_bytes is not None and total > limits.append_bytes:
        return LimitExceeded(f"run {run_id!r}: an append of {total} bytes; at most {limits.append_bytes} fit")
    record = append.record
    if append.expected == 0 or len(record.rest) + len(record.attributes) * 8 > MAX_ATTRIBUTE_BYTES:
        try:
            check_record(record, growth=GROWTH_BYTES if append.expected == 0 else 0)
        except LimitExceeded as error:
            return error
    return None


def check_paging(after: int, limit: int | None) -> None:
    """Refuse a negative sequence or limit.

    Raises:
        ValueError: one of them is negative.
    """
    if after < 0:
        raise ValueError(f"sequence {after} is negative")
    if limit is not None and limit < 0:
        raise ValueError(f"limit {limit} is negative")


def check_claiming(
    owner: str, lease: int, limit: int, queues: Sequence[str] | None, run_id: str | None
) -> None:
    """Refuse to claim for a time that is none, or by a name that nothing can have.

    Raises:
        ValueError: the lease is not positive, or `limit` is negative.
        InvalidIdError: a name that cannot be stored.
    """
    check_paging(0, limit)
    validate_id(owner, "owner")
    if lease <= 0:
        raise ValueError(f"a lease of {lease} µs is over before it begins")
    if run_id is not None:
        validate_id(run_id)
    for queue in queues or ():
        validate_id(queue, "queue")


def check_claim(claim: Claim) -> None:
    """Refuse a claim of a run that nothing can be called.

    Raises:
        InvalidIdError: run id, token or owner cannot be stored.
    """
    validate_id(claim.run_id)
    validate_id(claim.token, "lease token")
    validate_id(claim.owner, "owner")


def can_match(query: RunQuery | None) -> bool:
    """Whether any run can match: names with lone surrogates are never stored, so nobody need look."""
    if query is None:
        return True
    texts = [*query.attributes, *query.attributes.values()]
    texts += [text for text in (query.workflow, query.queue, query.parent) if text is not None]
    return not any(_is_no_text(text) for text in texts)


def _is_no_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def write_cursor(record: RunRecord) -> str:
    """The cursor that stands behind `record` in a listing."""
    text = msgspec.json.encode((record.created_at, record.run_id))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """The creation time and id that `cursor` stands behind.

    Raises:
        InvalidCursor: it is not one of `write_cursor`.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, run_id = msgspec.json.decode(raw, type=tuple[int, str])
    except (ValueError, TypeError, AttributeError, msgspec.MsgspecError):
        raise InvalidCursor(
            f"{cursor!r} is not a listing cursor; pass Page.cursor, or None to begin"
        ) from None
    return created_at, run_id
