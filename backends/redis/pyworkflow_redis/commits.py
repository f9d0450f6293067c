"""Appends as calls of the commit script, and its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyworkflow_core.errors import CorruptLog, StorageUnavailable
from pyworkflow_core.sequencing import answer_moved
from pyworkflow_core.storage import Answer, Append, Committed, Refused, Unknown

from .connections import Lost
from .link import typed
from .rows import decode_events, encode_event, encode_row

MOST_EVENTS = 5000
"""Events in one run of the script, unless one append has more: the server does nothing else meanwhile."""


def in_parts(appends: Sequence[Append]) -> Iterator[Sequence[Append]]:
    """The appends of a bucket, in parts that do not keep the server busy for long."""
    if sum(len(append.events) for append in appends) <= MOST_EVENTS:
        yield appends
        return
    part: list[Append] = []
    count = 0
    for append in appends:
        if part and count + len(append.events) > MOST_EVENTS:
            yield part
            part, count = [], 0
        part.append(append)
        count += len(append.events)
    yield part


def arguments(appends: Sequence[Append]) -> list[Any]:
    """What the script takes for each append."""
    words: list[Any] = []
    for append in appends:
        lease = append.lease
        events = append.events
        words += (append.run_id, append.expected, append.incarnation, len(events))
        if lease is None:
            words += ("", "", "")
        else:
            words += (lease.token, lease.owner, "" if lease.until is None else lease.until)
        words.append(encode_row(append.record))
        words += map(encode_event, events)
    return words


def read_answers(appends: Sequence[Append], answers: list[Any]) -> list[Answer]:
    """What the script's answers mean."""
    return [_read_answer(append, answer) for append, answer in zip(appends, answers, strict=True)]


def _read_answer(append: Append, answer: Any) -> Answer:
    run_id = append.run_id
    if answer == 1:
        return Committed(run_id, append.expected + len(append.events))
    if answer == b"damaged":
        text = f"run {run_id!r}: its log has not as many events as its head says"
        return Refused(run_id, CorruptLog(text, location=run_id))
    head, *entries = answer
    try:
        stored = decode_events(run_id, append.expected, entries)
    except CorruptLog as error:
        return Refused(run_id, error)
    return answer_moved(append, int(head), stored)


def read_failures(
    failures: Sequence[tuple[Sequence[Append], Exception]], all_failed: bool
) -> dict[str, Answer]:
    """What errors of whole scripts mean, by run.

    Raises:
        StorageUnavailable: nothing at all was written.
    """
    answers: dict[str, Answer] = {}
    unwritten = all_failed
    for appends, error in failures:
        if isinstance(error, Lost) or str(error).startswith("HALFWAY "):
            unwritten = False
            cause = StorageUnavailable(str(error))
        else:
            cause = typed(error)  # type: ignore[assignment]
        answers |= {append.run_id: Unknown(append.run_id, cause) for append in appends}
    if unwritten:
        raise typed(failures[0][1]) from failures[0][1]
    return answers
