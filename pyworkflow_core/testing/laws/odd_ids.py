"""Law 47: what cannot be an id is refused before it is used, and whatever can comes back exactly."""

from __future__ import annotations

from typing import Any

from ...errors import InvalidIdError, UnserializableValueError
from ...events import Event
from ...storage import Append, LeaseChange
from ..appends import after, created, noted
from ..broken import raises, same
from ..looks import event_ids, outcome, run_ids
from ..place import Place
from .registry import proves

BAD_IDS: tuple[Any, ...] = (
    "",
    "x" * 256,
    "\u00e9" * 128,
    "\0",
    "a\0b",
    "\ud800",
    "a\udfff",
    None,
    7,
    b"a",
)
"""Empty, over 255 bytes, with NUL, with a lone surrogate, no text."""

ODD_IDS = (
    "../x",
    "x",
    "x/",
    "./x",
    "/x",
    "a/../x",
    "..",
    ".",
    "a/b",
    "a//b",
    "a\\b",
    "~",
    "C:\\x",
    "a\nb",
    "a\r\nb",
    "ab",
    "\t",
    " ",
    "a",
    "a ",
    " a ",
    "\x01\x1f\x7f\x85",
    "*",
    "a*",
    "?[a-z]",
    "a%",
    "a_",
    "_",
    "%00",
    "a%2Fb",
    "'; DROP TABLE runs; --",
    '"',
    "`",
    "{a}:b",
    "a:{b}",
    "$where",
    "a.b",
    "a b&c=d#e",
    "?x=1",
    "null",
    "-1",
    "0",
    '["a"]',
    "\u2028\u2029",
    "\ufeffa",
    "a\u200d",
    "a\u00ad",
    "\u202eabc",
    "\uffff",
    "日本",
    "\U0001f600",
    "\u00e9",
    "x" * 255,
    "x" * 254 + "y",
    "\u00e9" * 127,
    "\U0001f600" * 63,
)
"""Paths, control characters, patterns, key and query syntax, scripts, the longest there is."""


@proves(47)
async def bad_ids_are_refused_everywhere(place: Place) -> None:
    """A run that cannot be named is InvalidIdError in every call, and nothing is written."""
    store = await place.open()
    await store.commit([created("a")])
    for bad in BAD_IDS:
        said = f"the run id {bad!r}"[:60]
        await raises(InvalidIdError, store.read(bad), f"read of {said}")
        await raises(InvalidIdError, store.get(bad), f"get of {said}")
        await raises(InvalidIdError, store.delete(bad, expected=0), f"delete of {said}")
        if bad is not None:
            claiming = store.claim(owner="x", now=place.now, lease=place.unit, run_id=bad)
            await raises(InvalidIdError, claiming, f"claim of {said}")
        call = store.commit([created("b"), named(bad)])
        await raises((InvalidIdError, UnserializableValueError), call, f"an append to {said}")
        same(await run_ids(store), ["a"], f"the listing after calls with {said}")


@proves(47)
async def bad_names_are_refused_in_an_append(place: Place) -> None:
    """So are event ids, incarnations, queues, workflows and parents that cannot be, and owners of claims."""
    store = await place.open()
    await store.commit([created("a")])
    for bad in ("x" * 256, "a\0b", "\ud800"):
        appends = {
            "event id": with_names(bad, "i1", "q", "w", "p"),
            "incarnation": with_names("e", bad, "q", "w", "p"),
            "queue": with_names("e", "i1", bad, "w", "p"),
            "workflow": with_names("e", "i1", "q", bad, "p"),
            "parent": with_names("e", "i1", "q", "w", bad),
            "lease token": created("b", lease=LeaseChange(bad, "x", place.now + place.unit)),
            "lease owner": created("b", lease=LeaseChange("t", bad, place.now + place.unit)),
        }
        for what, append in appends.items():
            said = f"an append with the {what} {bad[:8]!r}"
            call = store.commit([created("c"), append, created("d")])
            await raises((InvalidIdError, UnserializableValueError), call, said)
            same(await run_ids(store), ["a"], f"the listing after {said}")
        now, lease = place.now, place.unit
        await raises(InvalidIdError, store.claim(owner=bad, now=now, lease=lease), f"the owner {bad[:8]!r}")
        claiming = store.claim(owner="x", now=now, lease=lease, queues=["default", bad])
        await raises(InvalidIdError, claiming, f"a claim of the queue {bad[:8]!r}")
    claims = await store.claim(owner="x", now=place.now, lease=place.unit)
    same([claim.run_id for claim in claims], ["a"], "a good claim after those")


@proves(47)
async def odd_ids_come_back_exactly(place: Place) -> None:
    """Runs with ids that look like paths, patterns and commands are each stored under their own."""
    store = await place.open()
    for name in ODD_IDS:
        await store.commit([with_all_names(name)])
    for name in ODD_IDS:
        expected = (name,) * 5
        record = await store.get(name)
        names = record and (record.run_id, record.incarnation, record.workflow, record.queue, record.parent)
        same(names, expected, f"id, incarnation, workflow, queue and parent of the run {name!r}, all alike")
        same(await event_ids(store, name), [name], f"event ids of the run {name!r}: its name again")
    same(await run_ids(store), sorted(ODD_IDS), "the listing of runs with odd ids")


@proves(47)
async def runs_with_odd_ids_go_on_and_end(place: Place) -> None:
    """Each is appended to and deleted, and no other one with it."""
    store = await place.open()
    await store.commit([created(name) for name in ODD_IDS])
    left = list(ODD_IDS)
    for name in ODD_IDS:
        second = after(created(name).record, prefix=name[:20])
        same(await outcome(store, second), "Committed", f"an append to the run {name!r}")
        ids = ["e1", second.events[0].event_id]
        same(await event_ids(store, name), ids, f"event ids of the run {name!r} after a second append")
        left.remove(name)
        await store.delete(name, expected=2)
        same(await run_ids(store), sorted(left), f"the runs that are left when {name!r} is deleted")


@proves(47)
async def odd_queues_and_owners_come_back_exactly(place: Place) -> None:
    """A claim of a queue with an odd name gets its one run, and knows its odd owner."""
    store = await place.open()
    await store.commit([created(f"r{n}", queue=name) for n, name in enumerate(ODD_IDS)])
    for number, name in enumerate(ODD_IDS):
        claims = await store.claim(owner=name, now=place.now, lease=place.unit, queues=[name], limit=9)
        got = [(claim.run_id, claim.owner, claim.record.queue) for claim in claims]
        same(got, [(f"r{number}", name, name)], f"run, owner and queue of a claim of the queue {name!r}")
        same(await store.release(claims[0]), True, f"the release by the owner {name!r}")


@proves(47)
async def odd_ids_never_find_other_runs(place: Place) -> None:
    """A pattern, a path or a command that names no run gives no other run's data, and deletes none."""
    store = await place.open()
    others = ["abc", "abd", "b/c"]
    await store.commit([created(name, event_id=name) for name in others])
    for name in ODD_IDS:
        record = await store.get(name)
        strange = [record.run_id] if record is not None and record.run_id != name else []
        strange += [event_id for event_id in await event_ids(store, name) if event_id in others]
        same(strange, [], f"runs that get and read of {name!r} found")
        claims = await store.claim(owner="x", now=place.now, lease=place.unit, run_id=name)
        same([claim.run_id for claim in claims], [], f"runs that a claim of {name!r} found")
        await store.delete(name, expected=0)
    same(await run_ids(store), others, "the listing after looks for odd ids, and deletions of them")


def named(run_id: str) -> Append:
    """The append that creates a run, with any run id."""
    record = created("a").record
    fields = {name: getattr(record, name) for name in record.__struct_fields__} | {"run_id": run_id}
    return Append(run_id, "i1", 0, (Event(run_id, 1, "e1", noted()),), type(record)(**fields))


def with_names(event_id: str, incarnation: str, queue: str, workflow: str, parent: str) -> Append:
    """The append that creates run ``b``, with any names, good or bad."""
    record = created("b").record
    fields: dict[str, Any] = {name: getattr(record, name) for name in record.__struct_fields__}
    fields |= {"incarnation": incarnation, "queue": queue, "workflow": workflow, "parent": parent}
    return Append("b", incarnation, 0, (Event("b", 1, event_id, noted()),), type(record)(**fields))


def with_all_names(name: str) -> Append:
    """The append that creates a run which has one name everywhere."""
    return created(name, event_id=name, incarnation=name, workflow=name, queue=name, parent=name)
