"""Checks of filters: each selects exactly what it says, alone and with others."""

from __future__ import annotations

from typing import Any

from ...events import Event, encode_body
from ...payloads import WorkflowCompleted, WorkflowFailed
from ...record import RunRecord, RunStatus, evolve
from ...storage import Append, RunQuery, StorageBackend
from ..appends import after, created, noted, resumed, suspended
from ..broken import same
from ..place import Place
from .given import given
from .listing import list_all
from .registry import proves

ODD_ATTRIBUTES = {
    "k": "1",
    "a.b": "1",
    "$x": "é",
    'q"uote': "x'",
    "": "",
    "[0]": "e\N{COMBINING ACUTE ACCENT}",
    "k%": "%",
    "K": "true",
    "é": "null",
}
STATUSES = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.SUSPENDED, RunStatus.COMPLETED, RunStatus.FAILED)


def filtered_runs() -> tuple[list[list[Append]], list[RunRecord]]:
    """Runs that differ in all that a filter asks for: the commits that make them, and their records."""
    first: list[Append] = []
    then: list[Append] = []
    for n in range(36):
        odd = dict([list(ODD_ATTRIBUTES.items())[n % len(ODD_ATTRIBUTES)]])
        run = created(
            f"r{n:02}",
            at=n // 4 - 3,
            workflow=("w", "W", "w.x", "wé")[n % 4],
            queue=("q", "Q", "q%")[n % 3],
            parent=(None, "p", "P", "p/1")[n // 2 % 4],
            attributes={} if n % 7 == 0 else {**odd, "n": str(n % 3), "k": f"0{n % 2}"[n % 4 // 2 :]},
        )
        first.append(run)
        match STATUSES[n % 5]:
            case RunStatus.RUNNING:
                then.append(resumed(run.record, at=20))
            case RunStatus.SUSPENDED:
                then.append(suspended(run.record, 30))
            case RunStatus.COMPLETED:
                then.append(after(run.record, encode_body(WorkflowCompleted(), 40)))
            case RunStatus.FAILED:
                then.append(after(run.record, encode_body(WorkflowFailed(), 50)))
    bare = Event("bare", 1, "e1", noted(at=2))
    record = evolve(None, [bare], incarnation="i1")  # a log that is not a workflow's
    first.append(Append("bare", "i1", 0, (bare,), record))
    records = {append.run_id: append.record for append in [*first, *then]}
    return [first, then], list(records.values())


def selects(query: RunQuery, record: RunRecord) -> bool:
    """The model of every filter."""
    exact = ((query.workflow, record.workflow), (query.queue, record.queue), (query.parent, record.parent))
    if any(wanted is not None and wanted != actual for wanted, actual in exact):
        return False
    if query.status is not None and record.status not in query.status:
        return False
    if query.created_from is not None and not query.created_from <= record.created_at:
        return False
    if query.created_before is not None and not record.created_at < query.created_before:
        return False
    return set(query.attributes.items()) <= set(record.attributes.items())


async def compare_listing(store: StorageBackend, records: list[RunRecord], parts: dict[str, Any]) -> None:
    """Compare a listing with the model."""
    query = RunQuery(**parts)
    expected = sorted(record.run_id for record in records if selects(query, record))
    found = sorted(record.run_id for record in await list_all(store, query, 50))
    same(found, expected, f"runs with {parts}")


@proves(32)
async def each_filter_selects_exactly_what_it_says(place: Place) -> None:
    """Every filter alone: values are compared exactly, and those that nothing has select nothing."""
    store = await place.open()
    commits, records = filtered_runs()
    for commit in commits:
        await given(store, *commit)
    await compare_listing(store, records, {})
    for part, values in (
        ("workflow", ("w", "W", "w.x", "w%", "", "we\N{COMBINING ACUTE ACCENT}", "wé")),
        ("queue", ("q", "Q", "q%", "q_", "default", "")),
        ("parent", ("p", "P", "p/1", "p/", "p%", "none")),
        ("status", tuple(frozenset({status}) for status in RunStatus)),
        ("created_from", (-99, -3, 0, 2, 5, 6, 99)),
        ("created_before", (-99, -3, -2, 0, 2, 5, 6, 99)),
    ):
        for value in values:
            await compare_listing(store, records, {part: value})


@proves(32)
async def odd_attributes_select_exactly(place: Place) -> None:
    """Attributes are compared by key and value, exactly, and every one that is given must be there."""
    store = await place.open()
    commits, records = filtered_runs()
    for commit in commits:
        await given(store, *commit)
    for key, value in ODD_ATTRIBUTES.items():
        await compare_listing(store, records, {"attributes": {key: value}})
        await compare_listing(store, records, {"attributes": {key: value + " "}})
        await compare_listing(store, records, {"attributes": {key: value, "n": "1"}})
    for odd in ({"k": "01"}, {"k": "1.0"}, {"k": "0"}, {"n": "%"}, {"n": ""}, {"absent": ""}, {"N": "1"}):
        await compare_listing(store, records, {"attributes": odd})


@proves(32)
async def filters_together_select_what_each_selects(place: Place) -> None:
    """A combination selects the runs that every part of it selects."""
    store = await place.open()
    commits, records = filtered_runs()
    for commit in commits:
        await given(store, *commit)
    choice = place.random
    await compare_listing(store, records, {"status": frozenset()})
    await compare_listing(store, records, {"created_from": 2, "created_before": 2})
    for _ in range(20 * place.profile.rounds):
        like = choice.choice(records)  # so that most combinations select something
        parts = {
            "workflow": like.workflow,
            "queue": like.queue,
            "parent": like.parent,
            "status": frozenset(choice.sample(list(RunStatus), 2)) | {like.status},
            "created_from": like.created_at - choice.randrange(2),
            "created_before": like.created_at + choice.randrange(3),
            "attributes": dict(list(like.attributes.items())[: choice.randrange(3)]),
        }
        names = choice.sample(sorted(parts), choice.randrange(2, 5))
        await compare_listing(store, records, {name: parts[name] for name in names})
