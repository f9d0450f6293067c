"""Sequencing: what an append is answered whose expected sequence is not where the log stands."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import EventIdReused
from .events import Event
from .storage import Answer, Append, Committed, Conflict, Refused


def answer_moved(append: Append, head: int, stored: Sequence[Event]) -> Answer:
    """What to answer an append whose expected sequence is not where the log stands.

    Args:
        append: the append.
        head: the run's head; 0 if there is no such run.
        stored: the events that the log holds at the append's positions. None of them if the
            run is of another incarnation.

    Returns:
        `Committed` if the append is there already, `Refused` if one of its event ids is there
        with another body, otherwise `Conflict`.
    """
    for event, there in zip(append.events, stored, strict=False):
        if event.event_id == there.event_id and event.body != there.body:
            where = f"run {append.run_id!r}: event {event.sequence}"
            error = EventIdReused(f"{where} has the id {event.event_id!r} and another body")
            return Refused(append.run_id, error)
    if [e.event_id for e in stored] == [e.event_id for e in append.events]:
        return Committed(append.run_id, append.events[-1].sequence)
    return Conflict(append.run_id, head)
