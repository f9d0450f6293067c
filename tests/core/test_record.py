"""The fold: what each event does to a run's record, and that it can be made in any pieces."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from pyworkflow_core.carried import Carried, CarriedHook
from pyworkflow_core.errors import LimitExceeded, MalformedValueError
from pyworkflow_core.events import Envelope, Event, encode_body
from pyworkflow_core.payloads import (
    CancellationRequested,
    ChildWorkflowCancelled,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowReleased,
    ChildWorkflowStarted,
    DeliveriesMade,
    HookCreated,
    HookReceived,
    HookTokenTaken,
    Payload,
    RunRecovered,
    SleepStarted,
    StepCheckpointDeleted,
    StepCheckpointSaved,
    StepCompleted,
    StepFailed,
    StepHeartbeat,
    StepStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinuedAsNew,
    WorkflowFailed,
    WorkflowInterrupted,
    WorkflowResumed,
    WorkflowStarted,
    WorkflowSuspended,
)
from pyworkflow_core.record import (
    RunRecord,
    RunStatus,
    check_record,
    decode_record,
    encode_record,
    evolve,
)


def fold(*payloads: Payload, first_at: int = 100) -> RunRecord:
    """The record after these payloads, one every ten microseconds."""
    return evolve(None, _events(payloads, first_at), incarnation="inc")


def _events(payloads: Any, first_at: int = 100) -> list[Event]:
    return [Event("run", n + 1, f"e{n}", encode_body(p, first_at + 10 * n)) for n, p in enumerate(payloads)]


DRIVEN = WorkflowStarted("order", owner="me")
QUEUED = WorkflowStarted("order", queue="mail", priority=2, wake_at=5000, tags=("x",), attributes={"a": "b"})


def test_a_run_that_is_started_here_is_running_and_due() -> None:
    record = fold(DRIVEN)
    assert (record.status, record.wake_at, record.head) == (RunStatus.RUNNING, 100, 1)
    assert (record.detail.owner, record.detail.started_at) == ("me", 100)


def test_a_run_that_is_enqueued_is_pending_until_its_time() -> None:
    record = fold(QUEUED)
    assert (record.status, record.wake_at, record.queue, record.priority) == (
        RunStatus.PENDING,
        5000,
        "mail",
        2,
    )
    assert (record.detail.started_at, record.detail.tags, record.attributes) == (None, ("x",), {"a": "b"})
    taken = fold(QUEUED, WorkflowResumed("w"))
    assert (taken.status, taken.wake_at, taken.detail.started_at) == (RunStatus.RUNNING, 110, 110)


def test_a_suspended_run_is_due_when_it_says() -> None:
    assert fold(DRIVEN, WorkflowSuspended(7000)).wake_at == 7000
    record = fold(DRIVEN, WorkflowSuspended(None))
    assert (record.status, record.wake_at) == (RunStatus.SUSPENDED, None)


@pytest.mark.parametrize(
    "outside",
    [
        HookReceived("approval"),
        CancellationRequested("stop"),
        ChildWorkflowCompleted("order", "r"),
        ChildWorkflowFailed("order", "r"),
        ChildWorkflowCancelled("order", "r"),
    ],
)
def test_an_event_from_outside_makes_the_run_due_and_nothing_else(outside: Payload) -> None:
    record = fold(DRIVEN, WorkflowSuspended(None), outside)
    assert (record.status, record.wake_at) == (RunStatus.SUSPENDED, 120)
    assert fold(DRIVEN, WorkflowSuspended(110), outside).wake_at == 110, "it was due before"
    assert fold(DRIVEN, WorkflowCompleted(), outside).wake_at is None, "it has ended"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (WorkflowCompleted(Raw(b"1")), RunStatus.COMPLETED),
        (WorkflowFailed(Raw(b"1")), RunStatus.FAILED),
        (WorkflowCancelled("x"), RunStatus.CANCELLED),
        (WorkflowInterrupted("x", 3), RunStatus.INTERRUPTED),
    ],
)
def test_an_ended_run_is_never_due_again(end: Payload, status: RunStatus) -> None:
    record = fold(DRIVEN, end)
    assert (record.status, record.wake_at, record.detail.ended_at) == (status, None, 110)
    assert record.status.is_terminal


CHILD = ChildWorkflowStarted("order", 1, "run_child", WorkflowStarted("order"))
NEXT = WorkflowContinuedAsNew("run_next", WorkflowStarted("order"))


@pytest.mark.parametrize(
    "payloads",
    [
        (WorkflowStarted("order", parent="run_parent"), WorkflowCompleted()),
        (WorkflowStarted("order", parent="run_parent"), WorkflowInterrupted("x", 3)),
        (DRIVEN, CHILD, WorkflowCompleted()),
        (DRIVEN, CHILD, DeliveriesMade(), WorkflowCancelled("x")),
        (DRIVEN, NEXT),
    ],
)
def test_an_ended_run_that_owes_deliveries_is_due_until_they_are_made(payloads: tuple[Payload, ...]) -> None:
    record = fold(*payloads)
    assert record.status.is_terminal
    assert (record.detail.owes, record.wake_at) == (True, record.updated_at)
    paid = fold(*payloads, DeliveriesMade())
    assert (paid.detail.owes, paid.wake_at, paid.status) == (False, None, record.status)
    assert paid.detail.ended_at == record.updated_at


def test_a_run_that_goes_on_owes_until_deliveries_are_made_and_wakes_as_it_did() -> None:
    assert fold(DRIVEN, CHILD).detail.owes
    assert not fold(DRIVEN, CHILD, DeliveriesMade()).detail.owes
    assert fold(DRIVEN, ChildWorkflowReleased("order", "r", True)).detail.owes
    assert not fold(DRIVEN, ChildWorkflowReleased("order", "r")).detail.owes
    assert fold(DRIVEN, CHILD, DeliveriesMade(), WorkflowSuspended(7000)).wake_at == 7000


def test_a_record_names_its_neighbours_in_the_chain_and_stays_small() -> None:
    long = "x" * 200
    first = WorkflowStarted(long, queue=long, parent=long, owner=64 * "o", continued_from=30 * "c")
    record = fold(first, CHILD, RunRecovered(64 * "p", 3), CancellationRequested(), NEXT)
    assert (record.detail.continued_from, record.detail.continued_to) == (30 * "c", "run_next")
    assert record.status is RunStatus.CONTINUED_AS_NEW
    assert len(encode_record(record)) < 2048


def test_recoveries_are_counted_until_a_step_completes() -> None:
    assert fold(DRIVEN, RunRecovered("a", 1), RunRecovered("b", 2)).detail.recoveries == 2
    assert fold(DRIVEN, RunRecovered("a", 1), StepCompleted("s")).detail.recoveries == 0
    assert fold(DRIVEN, RunRecovered("a", 1), StepFailed("s"), StepStarted("s")).detail.recoveries == 1


def test_a_running_run_keeps_its_wake_time_in_the_past() -> None:
    record = fold(DRIVEN, StepStarted("s"), StepCompleted("s"), SleepStarted("z", wake_at=9_999_999))
    assert (record.status, record.wake_at, record.updated_at) == (RunStatus.RUNNING, 100, 130)


payloads = st.lists(
    st.sampled_from(
        [
            StepStarted("s"),
            StepCompleted("s"),
            WorkflowSuspended(7000),
            WorkflowSuspended(None),
            HookCreated("h"),
            WorkflowResumed("o"),
            RunRecovered("o", 2),
            HookReceived("h"),
            CancellationRequested(),
            WorkflowCompleted(),
            ChildWorkflowStarted("order", 1, "run_child", WorkflowStarted("order")),
            ChildWorkflowReleased("order", "run_child", True),
            ChildWorkflowCompleted("order", "run_child"),
            DeliveriesMade(),
            WorkflowContinuedAsNew("run_next", WorkflowStarted("order")),
        ]
    ),
    max_size=12,
)


@given(payloads, st.data())
def test_folding_in_pieces_gives_the_same_record_as_folding_the_whole(
    rest: list[Payload], data: st.DataObject
) -> None:
    events = _events([DRIVEN, *rest])
    whole = evolve(None, events, incarnation="inc")
    cut = data.draw(st.integers(1, len(events)))
    record = evolve(None, events[:cut], incarnation="inc")
    if cut < len(events):
        envelopes = [Envelope(1, 100 + 10 * n, p) for n, p in enumerate([DRIVEN, *rest])]
        assert evolve(record, events[cut:]) == evolve(record, events[cut:], envelopes=envelopes[cut:])
        record = evolve(record, events[cut:])
    assert record == whole
    assert decode_record(encode_record(record)) == record


def test_events_that_do_not_follow_the_record_are_refused() -> None:
    record = fold(DRIVEN)
    (gap,) = _events([StepStarted("s")])
    with pytest.raises(ValueError, match="does not follow"):
        evolve(record, [gap])
    foreign = Event("other", 2, "e", gap.body)
    with pytest.raises(ValueError, match="does not follow"):
        evolve(record, [foreign])
    with pytest.raises(ValueError, match="no events"):
        evolve(record, [])


def test_a_record_that_is_too_large_is_refused_with_what_to_do() -> None:
    large = msgspec.structs.replace(fold(DRIVEN), attributes={"note": "x" * 600})
    with pytest.raises(LimitExceeded, match="Keep large values in the workflow's arguments"):
        check_record(large)
    tagged = fold(WorkflowStarted("order", owner="me", tags=("t" * 100,) * 30))
    with pytest.raises(LimitExceeded, match="Shorten tags"):
        check_record(tagged)
    check_record(fold(QUEUED))


def test_a_small_record_takes_few_bytes() -> None:
    assert len(encode_record(fold(DRIVEN))) < 400


def test_bytes_that_are_no_record_are_called_unreadable() -> None:
    for data in (b"", b"{}", b"[]", b'{"run_id":"r","incarnation":"i","head":"x"}'):
        with pytest.raises(MalformedValueError):
            decode_record(data)


def test_a_hook_is_noted_and_one_with_a_token_of_its_own_owes_the_taking_of_it() -> None:
    drawn, own = HookCreated("h", token="a1b2"), HookCreated("h", token="=order-17")
    assert (fold(DRIVEN).detail.hooks, fold(DRIVEN, drawn).detail.hooks) == (False, True)
    assert not fold(DRIVEN, drawn).detail.owes
    assert fold(DRIVEN, own).detail.owes
    assert not fold(DRIVEN, own, DeliveriesMade()).detail.owes
    carried = msgspec.structs.replace(DRIVEN, carried=Carried((CarriedHook("h", 1, "a1b2"),)))
    assert fold(carried).detail.hooks


def test_the_log_of_a_token_is_no_workflows_and_never_due() -> None:
    record = fold(HookTokenTaken("order-17", "run", "h"), HookTokenTaken("order-17", "other", "h"))
    assert (record.workflow, record.wake_at, record.head) == ("", None, 2)


def test_what_a_step_records_while_it_runs_changes_nothing_but_the_head() -> None:
    recorded = (
        StepHeartbeat("s", 1, Raw(b"1")),
        StepCheckpointSaved("s", 1, "c", Raw(b"1")),
        StepCheckpointDeleted("s", 1, "c"),
    )
    before = fold(DRIVEN, StepStarted("s"))
    after = fold(DRIVEN, StepStarted("s"), *recorded)
    assert msgspec.structs.replace(after, head=2, updated_at=before.updated_at) == before
