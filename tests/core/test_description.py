"""What a storage says of itself in words."""

from __future__ import annotations

from pyworkflow_core.description import describe_storage
from pyworkflow_core.storage import Capabilities, Limits


def test_every_promise_is_put_into_words() -> None:
    strong = Capabilities(
        durable=True, multi_process=True, feed=True, push=True, failover_loss="a second", clock="server"
    )
    assert describe_storage(strong, Limits()) == [
        "durable: what is acknowledged survives kill -9",
        "used by several processes at once",
        "a failover may lose a second",
        "a feed: yes; wakes idle workers: yes; commits within your transactions: no",
        "the server's clock says what is due; priorities hold over the whole namespace",
        "limits: event 4 MiB; append 1000 events, 8 MiB; commit 1000 appends, 16 MiB",
    ]


def test_a_weak_storage_says_that_it_is_weak() -> None:
    limits = Limits(event_bytes=None, append_events=None, append_bytes=1500, commit_bytes=10)
    lines = describe_storage(Capabilities(due_order="shard"), limits)
    assert lines[:2] == ["not durable: a crash loses runs", "used by one process only"]
    assert lines[-2].endswith("priorities hold within each part of the namespace")
    assert lines[-1] == (
        "limits: event any size; append any number of events, 1.465 KiB; commit 1000 appends, 10 bytes"
    )
