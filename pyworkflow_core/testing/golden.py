"""A fixed history, for stores that are kept: what one version wrote, every later one must open.

An author writes it once for each format of the backend's data, and keeps the files, or a dump::

    python -m pyworkflow_core.testing.golden URL

Law 55 opens a restored copy (`Subject.open_golden`) and looks whether all is as it was
written. The history never changes: bodies stand here as the text that is in the stores.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..events import Event
from ..plugins import open_storage, redact
from ..record import RunRecord, evolve
from ..storage import Append, Committed, Conflict, LeaseChange, RunQuery, StorageBackend
from .appends import after, created
from .broken import holds, same

_T = 1_763_820_000_000_000
LATER = _T + 10**12
"""A moment by which every lease of the history has ended."""


class Written(Struct, frozen=True):
    """One run of the history.

    Attributes:
        run_id: its id.
        appends: the bodies of each append.
        incarnation: its incarnation.
        lease: the lease that its last append takes.
        deleted: whether it is deleted at the end.
    """

    run_id: str
    appends: tuple[tuple[str, ...], ...]
    incarnation: str = "i1"
    lease: LeaseChange | None = None
    deleted: bool = False


def _at(kind: str, seconds: int, data: str = "{}") -> str:
    return f'["{kind}",1,{_T + seconds * 1_000_000},{data}]'


def _run(run_id: str, *bodies: str, **more: object) -> Written:
    """A run with one append for each body, after the one that starts it."""
    start = _at("workflow_started", 0, '{"workflow":"order"}')
    return Written(run_id, ((start,), *[(body,) for body in bodies]), **more)  # type: ignore[arg-type]


_FULL = (
    '{"workflow":"shop.order","args":[["Ångström",9007199254740993],{"e\\u0301":1.10}],"owner":"token-1",'
    '"queue":"nightly%","priority":0,"idempotency_key":"key/1","python":"3.11","workflow_version":"v2",'
    '"parent":"run/parent","depth":2,"tags":["a","b"],"attributes":{"a.b":"1","k\\"":"é"},'
    '"wake_at":-5,"deadline":1763830000000000,"max_recoveries":7}'
)
_NUMBERS = (
    '{"big":123456789012345678901234567890,"small":1.10,"text":"\\u2028\\ud83d\\ude00 \N{GRINNING FACE}"}'
)
_RECOVERED = '{"owner":"token-3","count":2}'
_ANSWER = '{"hook":"h","payload":{"ok":true}}'
_ODD_IDS = (
    "a",
    "A",
    "á",
    "a\N{COMBINING ACUTE ACCENT}",
    "a/b",
    "../x",
    "*",
    "a\tb\nc",
    "'; --",
    "日本",
    "x" * 255,
)

WRITTEN: tuple[Written, ...] = (
    Written(
        "run/full",
        (
            (_at("workflow_started", 1, _FULL),),
            (_at("step_started", 2, '{"step":"pay","args":[1]}'), _at("step_completed", 3, '{"step":"pay"}')),
            (
                _at("shop.noted", 3, _NUMBERS),
                _at("sleep_started", 4, '{"sleep":"sleep","duration":5000000,"wake_at":1763820009000000}'),
                _at("workflow_suspended", 4, '{"wake_at":1763820009000000,"waiting":["sleep"]}'),
            ),
        ),
        lease=LeaseChange("lease-1", "worker", _T + 60_000_000),
    ),
    _run("pending"),
    _run("running", _at("workflow_resumed", 1, '{"owner":"token-2"}'), _at("run_recovered", 2, _RECOVERED)),
    _run("asleep", _at("workflow_suspended", 1, '{"wake_at":4102444800000000}')),
    _run("waiting", _at("hook_created", 1, '{"hook":"h","token":"t"}'), _at("workflow_suspended", 2)),
    _run("answered", _at("workflow_suspended", 1), _at("hook_received", 2, _ANSWER)),
    _run("completed", _at("workflow_completed", 9, '{"result":{"n":[1,2,3]}}')),
    _run("failed", _at("workflow_failed", 9, '{"error":{"type":"ValueError"}}')),
    _run("cancelled", _at("cancellation_requested", 8, '{"reason":"no"}'), _at("workflow_cancelled", 9)),
    _run("interrupted", _at("workflow_interrupted", 9, '{"reason":"poison","recoveries":4}')),
    _run("leased", _at("shop.noted", 1), lease=LeaseChange("lease-2", "gone", _T + 60_000_000)),
    _run("large", _at("shop.noted", 1, '{"text":"' + "0123456789" * 1_500 + '"}')),
    _run("long", *[_at("shop.noted", n, f'{{"n":{n}}}') for n in range(40)]),
    Written("bare", ((_at("shop.noted", 1, '{"no":"workflow"}'),),)),
    _run("gone", _at("shop.noted", 1), deleted=True),
    _run("reborn", _at("shop.noted", 1, '{"life":1}'), deleted=True),
    _run("reborn", _at("shop.noted", 2, '{"life":2}'), incarnation="i2"),
    *[_run(run_id, _at("shop.noted", n)) for n, run_id in enumerate(_ODD_IDS)],
)  # fmt: skip
"""The history: these runs, one after the other."""


def appends_of(run: Written) -> list[Append]:
    """The appends of a run."""
    appends: list[Append] = []
    record: RunRecord | None = None
    for n, bodies in enumerate(run.appends):
        head = 0 if record is None else record.head
        events = tuple(
            Event(run.run_id, head + i, f"g{head + i}", b.encode()) for i, b in enumerate(bodies, 1)
        )
        record = evolve(record, events, incarnation=run.incarnation)
        lease = run.lease if n == len(run.appends) - 1 else None
        appends.append(Append(run.run_id, run.incarnation, head, events, record, lease))
    return appends


async def write(store: StorageBackend) -> None:
    """Write the history into an empty store.

    Raises:
        ValueError: there are runs in it.
    """
    if (await store.find(limit=1)).records:
        raise ValueError("the golden history needs an empty store, and there are runs in this one")
    for run in WRITTEN:
        appends = appends_of(run)
        for append in appends:
            answers = await store.commit([append])
            same(answers, [Committed(run.run_id, append.record.head)], f"a commit to run {run.run_id!r}")
        if run.deleted:
            await store.delete(run.run_id, expected=appends[-1].record.head)


async def same_as_written(store: StorageBackend) -> None:
    """Look whether a store is as `write` left it, and go on with it: it is changed by that.

    Raises:
        LawBroken: it is not.
    """
    runs = {run.run_id: appends_of(run) for run in WRITTEN if not run.deleted}
    for run_id, appends in runs.items():
        events = [event for append in appends for event in append.events]
        same(await store.read(run_id), events, f"read of run {run_id!r} of an older store")
        found = _as_today(await store.get(run_id))
        same(found, _as_today(appends[-1].record), f"get of run {run_id!r} of an older store")
    records = sorted([a[-1].record for a in runs.values()], key=lambda r: (-r.created_at, r.run_id))
    listed = [_as_today(record) for record in (await store.find(limit=500)).records]
    same(listed, [_as_today(record) for record in records], "find of every run of an older store")
    queue = RunQuery(queue="nightly%", attributes={"a.b": "1", 'k"': "é"})
    same([r.run_id for r in await store.list_runs(queue)], ["run/full"], "find by queue and attributes")
    for run in WRITTEN:
        first = appends_of(run)[0]
        if run.deleted:
            head = runs[run.run_id][-1].record.head if run.run_id in runs else 0
            answers = await store.commit([first])
            same(answers, [Conflict(run.run_id, head)], f"an append to {run.run_id!r}, deleted long ago")
    await _go_on(store, {run_id: appends[-1] for run_id, appends in runs.items()})


def _as_today(record: RunRecord | None) -> RunRecord | None:
    """The record without what the fold has learned since the history was written first.

    A store that keeps records has them as the fold of its time made them; one that derives
    them has what today's fold makes.
    """
    if record is None or not record.detail.hooks:
        return record
    return replace(record, rest=msgspec.json.encode(replace(record.detail, hooks=False)))


async def _go_on(store: StorageBackend, last: dict[str, Append]) -> None:
    """Claim what is due, and append to every run."""
    expected = sorted(i for i, a in last.items() if a.record.wake_at is not None and a.record.wake_at < LATER)
    claims = await store.claim(owner="golden", now=LATER, lease=10**9, limit=500)
    same(sorted(claim.run_id for claim in claims), expected, "claim of what is due in an older store")
    for claim in claims:
        holds(await store.release(claim), f"release of {claim.run_id!r} answered False")
    for run_id, append in last.items():
        head = append.record.head
        same(await store.commit([append]), [Committed(run_id, head)], f"resubmission to {run_id!r}")
        more = after(append.record, prefix="more")
        same(await store.commit([more]), [Committed(run_id, head + 1)], f"an append to {run_id!r}")
        same(await store.read(run_id, after=head), list(more.events), f"read of that append to {run_id!r}")
    same(await store.commit([created("new")]), [Committed("new", 1)], "a new run in an older store")


async def _main(url: str) -> None:
    async with open_storage(url) as store:
        await write(store)
    print(
        f"wrote {len(WRITTEN)} runs to {redact(url)}; keep its files, or a dump, and never write them again"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pyworkflow_core.testing.golden URL   (of an empty store)")
    asyncio.run(_main(sys.argv[1]))
