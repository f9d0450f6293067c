"""Checks of what escapes from a backend: answers, or the errors that are documented."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...errors import WorkflowError
from ...storage import Append, Claim, LeaseChange, RunQuery, StorageBackend
from ..appends import after, created
from ..broken import LawBroken, same
from ..place import Place
from .given import due_run, given, take_one
from .registry import proves

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A method's name and its arguments."""

ODD_TEXT = (
    "",
    "\0",
    "\ud800",
    "x" * 256,
    "é" * 128,
    "../x",
    "*",
    "'; --",
    "\n",
    "{}",
    "$where",
    "%s",
    "\x7f",
)
ODD_NUMBERS = (-(2**70), -(2**63), -1, 0, 2**53 + 1, 2**63 - 1, 2**63, 2**70)


async def survives(store: StorageBackend, calls: list[Call], *, values: bool = False) -> None:
    """Make the calls; each may answer, or raise an error that its documentation names.

    Args:
        store: where.
        calls: the calls.
        values: whether a plain ValueError is such an error. Its subclasses are not: they are
            what a codec or a driver raised.
    """
    for method, arguments, options in calls:
        try:
            await getattr(store, method)(*arguments, **options)
        except (WorkflowError, NotImplementedError):
            continue
        except Exception as error:
            if values and type(error) is ValueError:
                continue
            given_as = ", ".join([*map(repr, arguments), *[f"{k}={v!r}" for k, v in options.items()]])
            said = f"{method}({given_as}) raised {type(error).__name__}: {error}"
            raise LawBroken(said[:1000]) from error


def calls_with_text(text: str) -> list[Call]:
    """Every call that takes text, with this one."""
    claimed = {"owner": "x", "now": 0, "lease": 1}
    queries = [RunQuery(workflow=text), RunQuery(queue=text), RunQuery(parent=text)]
    queries += [RunQuery(attributes={text: "v"}), RunQuery(attributes={"k": text})]
    return [
        ("read", (text,), {}),
        ("get", (text,), {}),
        ("delete", (text,), {"expected": 1}),
        ("claim", (), {**claimed, "owner": text, "run_id": "nobody"}),
        ("claim", (), {**claimed, "queues": [text]}),
        ("claim", (), {**claimed, "run_id": text}),
        ("feed", (), {"after": text}),
        *[("find", (query,), {}) for query in queries],
    ]


def calls_with_number(number: int) -> list[Call]:
    """Every call that takes a number, with this one."""
    claimed = {"owner": "x", "now": 0, "lease": 1, "run_id": "nobody"}
    return [
        ("read", ("a",), {"after": number}),
        ("read", ("a",), {"limit": number}),
        ("find", (), {"limit": number}),
        ("find", (RunQuery(created_from=number),), {}),
        ("find", (RunQuery(created_before=number),), {}),
        *[("claim", (), {**claimed, name: number}) for name in ("now", "lease", "limit")],
        ("delete", ("nobody",), {"expected": number}),
        ("feed", (), {"limit": number}),
    ]


def calls_with_claim(claim: Claim, text: str) -> list[Call]:
    """Extends and releases by a claim that nobody was given."""
    forged = [replace(claim, run_id=text), replace(claim, token=text)]
    extends: list[Call] = [("extend", (claim, claim.until), {}) for claim in forged]
    return [*extends, *[("release", (claim,), {}) for claim in forged]]


def odd_appends(good: Append, text: str) -> list[Append]:
    """Appends that are made wrongly: of no events, with gaps, of another run, with this text as an id."""
    event, record = good.events[0], good.record
    return [
        replace(good, run_id=text),
        replace(good, incarnation=text),
        replace(good, events=(replace(event, event_id=text),)),
        replace(good, events=(replace(event, run_id=text),)),
        replace(good, record=replace(record, queue=text)),
        replace(good, record=replace(record, parent=text)),
        replace(good, record=replace(record, run_id=text)),
        replace(good, lease=LeaseChange(text, "x", 1)),
        replace(good, lease=LeaseChange("t", text, 1)),
        replace(good, events=()),
        replace(good, expected=-1),
        replace(good, expected=7),
        replace(good, events=(event, event)),
    ]


async def is_unharmed(store: StorageBackend, first: Append) -> None:
    """Show that the run which was there before is there, and that the handle works."""
    same(await store.read("a"), list(first.events), "read of a run, after the calls")
    same(await store.get("a"), first.record, "get of a run, after the calls")
    same([r.run_id for r in (await store.find()).records], ["a"], "find of all runs, after the calls")
    await given(store, after(first.record))


@proves(53)
async def odd_text_raises_documented_errors_only(place: Place) -> None:
    """Ids, names, cursors and positions of any text are answered, or refused with a documented error."""
    store = await place.open()
    first = due_run(place, "a")
    await given(store, first)
    for text in ODD_TEXT:
        await survives(store, calls_with_text(text))
    await is_unharmed(store, first)


@proves(53)
async def odd_numbers_raise_documented_errors_only(place: Place) -> None:
    """Numbers below zero and beyond 64 bits are answered, or refused with a documented error."""
    store = await place.open()
    first = due_run(place, "a")
    await given(store, first)
    for number in ODD_NUMBERS:
        await survives(store, calls_with_number(number), values=True)
    await is_unharmed(store, first)


@proves(53)
async def odd_claims_raise_documented_errors_only(place: Place) -> None:
    """A claim that nobody was given, or any end of a lease, raises nothing that is not documented."""
    store = await place.open()
    first = due_run(place, "a")
    await given(store, first)
    claim = await take_one(place, store, "a")
    for text in ODD_TEXT:
        await survives(store, calls_with_claim(claim, text))
    extends: list[Call] = [("extend", (claim, number), {}) for number in ODD_NUMBERS]
    await survives(store, extends, values=True)
    await is_unharmed(store, first)


@proves(53)
async def odd_appends_raise_documented_errors_only(place: Place) -> None:
    """An append that is made wrongly is refused with a documented error, as is a transaction that is none."""
    store = await place.open()
    first = due_run(place, "a")
    await given(store, first)
    for text in ("", "\0", "\ud800", "x" * 256):
        calls: list[Call] = [("commit", ([append],), {}) for append in odd_appends(after(first.record), text)]
        await survives(store, calls, values=True)
    if not store.capabilities.transactions:
        within: Call = ("commit", ([after(first.record)],), {"within": object()})
        await survives(store, [within], values=True)
    await is_unharmed(store, first)


@proves(53)
async def times_far_away_raise_documented_errors_only(place: Place) -> None:
    """Wake times, creation times and ends of leases at the borders of 64 bits are stored, or refused."""
    store = await place.open()
    for n, time in enumerate((-(2**63), -(2**53) - 1, 2**53 + 1, 2**63 - 1)):
        lease = LeaseChange("t", "x", time)
        runs = [created(f"c{n}", at=time), created(f"w{n}", wake_at=time), created(f"l{n}", lease=lease)]
        await survives(store, [("commit", ([run],), {}) for run in runs], values=True)
        for run in runs:
            if await store.get(run.run_id) is not None:
                same(await store.get(run.run_id), run.record, f"get of a run with a time of {time}")
                same(await store.read(run.run_id), list(run.events), f"read of a run with a time of {time}")
    await given(store, due_run(place, "a"))
    same((await take_one(place, store, "a")).run_id, "a", "claim of a run with a usual time")
