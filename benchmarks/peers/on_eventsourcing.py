"""The storage work alone, on eventsourcing's recorders: it has no workflows, and is a lower bound.

A step is one insertion of two events of 150 bytes; the replay of a step is the reading of its two events;
many runs take turns in one thread.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
from work import AT_ONCE, EACH, NOT_DURABLE, REPLAY, RUNS, SEQUENCE, STEPS, SYNCED, place, tell

BODY = b"x" * 150


def append(recorder: Any, run: Any, number: int) -> None:
    events = [StoredEvent(run, 2 * number + n, "step", BODY) for n in (1, 2)]
    recorder.insert_events(events)


def measure(store: str, recorder: Any, durable: str) -> None:
    append(recorder, uuid4(), 0)
    run = uuid4()
    began = time.perf_counter()
    for number in range(STEPS):
        append(recorder, run, number)
    tell(store, SEQUENCE, time.perf_counter() - began, durable)
    began = time.perf_counter()
    assert len(recorder.select_events(run)) == 2 * STEPS
    tell(store, REPLAY, time.perf_counter() - began, durable)
    runs = [uuid4() for _ in range(RUNS)]
    began = time.perf_counter()
    for number in range(EACH):
        for each in runs:
            append(recorder, each, number)
    tell(store, AT_ONCE, time.perf_counter() - began, durable)


if __name__ == "__main__":
    with place() as here:
        measure("memory", POPOApplicationRecorder(), NOT_DURABLE)
        sqlite = SQLiteDatastore(f"{here.folder}/events.db")
        recorder: Any = SQLiteApplicationRecorder(sqlite)
        recorder.create_table()
        measure("sqlite", recorder, SYNCED)
        sqlite.close()
        if here.postgresql:
            url = urlsplit(here.postgresql)
            words = [unquote(word or "") for word in (url.username, url.password)]
            postgresql = PostgresDatastore(url.path.strip("/"), url.hostname, url.port, *words)
            recorder = PostgresApplicationRecorder(postgresql, events_table_name="events")
            recorder.create_table()
            measure("postgresql", recorder, SYNCED)
            postgresql.close()
