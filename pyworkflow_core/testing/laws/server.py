"""Checks of a store behind a server: connections that are cut, a server that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from ...errors import OutcomeUnknown, StorageUnavailable
from ...storage import Answer, Append, Committed, StorageBackend, Unknown
from ..appends import after, created, noted
from ..at_once import at_once
from ..broken import NotChecked, holds, same
from ..histories import committed, count_stored, grown
from ..place import Place
from ..proxy import Cut, Moment, Proxy
from .registry import proves

T = TypeVar("T")
_TRIES = 100
_PAUSE = 0.05
_BOUND = 30.0
"""Seconds within which a call has to say what became of it."""


@asynccontextmanager
async def proxied(place: Place) -> AsyncIterator[tuple[Proxy, StorageBackend]]:
    """A proxy before the server, and a handle that reaches the server through it.

    Raises:
        NotChecked: the subject does not tell where the server is, or how to reach it elsewhere.
    """
    address = place.subject.address()
    if address is None:
        raise NotChecked("define address() on the subject: the server's host and port")
    async with Proxy(*address) as proxy:
        opened = place.subject.open_at(place.namespace, place.clock, proxy.host, proxy.port)
        if opened is None:
            raise NotChecked("define open_at(namespace, clock, host, port) on the subject: a handle there")
        store = await place.enter(opened)
        yield proxy, store
        await place.close(store)


def count_exchanges(proxy: Proxy) -> int:
    """How many exchanges there were since the latest plan.

    Raises:
        NotChecked: none.
    """
    if not proxy.exchanges:
        raise NotChecked("the handle of open_at(…, host, port) asked nothing of the server there")
    return proxy.exchanges


async def name_behind(proxy: Proxy, store: StorageBackend, stem: str) -> str:
    """A run's id that is asked for through the proxy, if any is: parts of a store may be on other servers."""
    for number in range(_TRIES):
        run_id = f"{stem}-{number}" if number else stem
        await proxy.heal()
        await store.get(run_id)
        if proxy.exchanges:
            return run_id
    return stem


# ---- cuts ------------------------------------------------------------------------------


@proves(45, seconds=300)
async def a_commit_that_is_cut_off_can_be_settled(place: Place) -> None:
    """Wherever the connection is cut around a commit, the outcome is unknown, or surely nothing."""
    await cut_commits(place, down=False)


@proves(45, seconds=300)
async def a_commit_that_loses_the_server_can_be_settled(place: Place) -> None:
    """The same where the server cannot be reached again before the commit has answered."""
    await cut_commits(place, down=True)


async def cut_commits(place: Place, *, down: bool) -> None:
    """Cut at each moment of each exchange of a commit, and settle what became of it.

    With `down` only the last exchange is cut, since each cut may cost a driver's whole patience.
    """
    healthy = await place.open()
    unwritten: list[Append] = []
    async with proxied(place) as (proxy, store):
        first = [created(await name_behind(proxy, store, "first"))]
        await proxy.heal()
        same(await store.commit(first), committed(first), "a commit through a good connection")
        for cut in cuts(count_exchanges(proxy), down=down):
            stems = [f"{cut.moment.name}-{cut.exchange}-{n}" for n in (1, 2)]
            appends = [created(await name_behind(proxy, store, stem)) for stem in stems]
            await proxy.cut(cut)
            when = f"the connection was cut {cut.moment}, in exchange {cut.exchange} of a commit"
            answers = await answers_of(store, appends, when)
            await proxy.heal()
            if answers:
                await check_acknowledged(healthy, appends, answers, when)
                await settle(healthy, appends, when)
            else:
                unwritten += appends
            await recover(store, when)
    await asyncio.sleep(_PAUSE * 10)  # a server may be late to do what it was asked
    for append in unwritten:
        same(await healthy.read(append.run_id), [], "StorageUnavailable was raised, which says: not written")
    await settle(healthy, unwritten, "after StorageUnavailable")


def cuts(exchanges: int, *, down: bool) -> list[Cut]:
    """Where to cut: in every exchange, or where the server stays away in the last one only."""
    wanted = [exchanges] if down else range(1, exchanges + 1)
    return [Cut(exchange, moment, down) for moment in Moment for exchange in wanted]


async def answers_of(store: StorageBackend, appends: Sequence[Append], when: str) -> list[Answer]:
    """The answers to a commit; none if the error says that surely nothing was written."""
    try:
        answers = await answer_soon(store.commit(appends), when)
    except StorageUnavailable:
        return []
    for answer in answers:
        holds(isinstance(answer, Committed | Unknown), f"{when}, which answered {answer!r}")
    return answers


async def check_acknowledged(
    store: StorageBackend, appends: Sequence[Append], answers: Sequence[Answer], when: str
) -> None:
    """Break the law unless what is answered `Committed` is there."""
    for append, answer in zip(appends, answers, strict=True):
        if isinstance(answer, Committed):
            said = f"{when}, which answered {answer!r}: read"
            same(await store.read(append.run_id), list(append.events), said)


async def answer_soon(call: Coroutine[Any, Any, T], when: str) -> T:
    """What a call returns; it breaks the law to wait for ever."""
    task = asyncio.create_task(call)
    done, _ = await asyncio.wait([task], timeout=_BOUND)
    task.cancel()
    holds(done, f"{when}, and there was no answer within {_BOUND:.0f} s")
    return await task


async def settle(store: StorageBackend, appends: Sequence[Append], when: str) -> None:
    """Resubmit appends through a good connection: each must be there exactly once."""
    answers = await store.commit(appends)
    for _ in range(_TRIES):
        if not any(isinstance(answer, Unknown) for answer in answers):
            break
        await asyncio.sleep(_PAUSE)
        answers = await store.commit(appends)
    same(answers, committed(appends), f"{when}, and the identical appends were submitted again")
    for append in appends:
        same(await store.read(append.run_id), list(append.events), f"{when}, and settled: read")


async def recover(store: StorageBackend, when: str) -> None:
    """Break the law unless the handle works again soon."""
    error: Exception | None = None
    for _ in range(_TRIES):
        try:
            await answer_soon(store.get("nobody"), when)
            return
        except StorageUnavailable as raised:
            error = raised
            await asyncio.sleep(_PAUSE)
    holds(False, f"{when}; the server can be reached again, and the handle still raises {error!r}")


class Call(Struct, frozen=True):
    """A call that writes no event.

    Attributes:
        name: what it is.
        make: makes it on a handle; takes a run and another that does not exist.
        raises: what it may raise where the connection is cut.
    """

    name: str
    make: Callable[[StorageBackend, str, str], Coroutine[Any, Any, Any]]
    raises: tuple[type[Exception], ...] = (StorageUnavailable,)


CALLS = (
    Call("read", lambda store, run, nobody: store.read(run)),
    Call("get", lambda store, run, nobody: store.get(run)),
    Call("find", lambda store, run, nobody: store.find()),
    Call("claim", lambda store, run, nobody: store.claim(owner="o", now=10, lease=10**6)),
    Call(
        "delete",
        lambda store, run, nobody: store.delete(nobody, expected=0),
        (StorageUnavailable, OutcomeUnknown),
    ),
)
"""What a handle is asked while its connection is cut."""


@proves(45, seconds=300)
async def reads_and_claims_that_are_cut_off_say_so(place: Place) -> None:
    """A read or a claim whose connection is cut raises `StorageUnavailable`, or answers rightly."""
    healthy = await place.open()
    async with proxied(place) as (proxy, store):
        run, nobody = [await name_behind(proxy, store, stem) for stem in ("a", "nobody")]
        history = grown(run, 3)
        for append in history:
            same(await healthy.commit([append]), committed([append]), "a commit through a good connection")
        for call in CALLS:
            await proxy.heal()
            await call.make(store, run, nobody)
            for cut in cuts(count_exchanges(proxy), down=False):
                await proxy.cut(cut)
                when = f"the connection was cut {cut.moment}, in exchange {cut.exchange} of {call.name}"
                try:
                    answer = await answer_soon(call.make(store, run, nobody), when)
                    if call.name == "read":
                        same(answer, [event for append in history for event in append.events], when)
                except call.raises:
                    pass
                await proxy.heal()
                await recover(store, when)
        same(await count_stored(store, history, "after many cuts"), 2, "appends of a run after many cuts")


@proves(45, seconds=120)
async def a_late_answer_is_not_taken_for_another_one(place: Place) -> None:
    """A call that was cancelled before its answer came leaves the handle with the right answers."""
    healthy = await place.open()
    async with proxied(place) as (proxy, store):
        first, second = [created(await name_behind(proxy, store, stem)) for stem in ("a", "b")]
        run = first.run_id
        same(await healthy.commit([first]), committed([first]), "a commit through a good connection")
        for call in (partial(store.read, run), partial(store.get, run), partial(store.commit, [second])):
            await proxy.hold()
            task = asyncio.ensure_future(call())
            held = await proxy.held()
            task.cancel()
            await asyncio.sleep(0)
            await proxy.heal()
            await asyncio.wait([task])
            holds(held, "a call asked the server for nothing")
            await recover(store, "a call was cancelled before its answer came")
            same(await store.get("nobody"), None, "get of no run, after a call was cancelled")
            same(await store.read(run), list(first.events), "read, after a call was cancelled")
    await settle(healthy, [second], "a commit was cancelled before its answer came")


# ---- restarts --------------------------------------------------------------------------


class Writing(Struct):
    """A run that is appended to while the server dies.

    Attributes:
        history: all appends that were begun.
        acknowledged: how many of them were acknowledged.
        rests: whether to wait before the next append.
        ends: whether to stop.
    """

    history: list[Append]
    acknowledged: int = 0
    rests: bool = False
    ends: bool = False


@proves(46, needs=("durable",), seconds=300)
async def a_restart_of_the_server_loses_nothing_acknowledged(place: Place) -> None:
    """What was acknowledged before the server was killed is there after it came back, once."""
    if not place.subject.gives("restart"):
        raise NotChecked("define restart() on the subject: kill the server, and start it again")
    runs = [Writing([created(f"r{n}")]) for n in range(3)]
    store, first = await place.open(), [run.history[0] for run in runs]
    same(await store.commit(first), committed(first), "a commit before the server was restarted")
    await at_once(restart_often(place, runs), *(write_on(place, run) for run in runs))
    fresh = await place.open()
    for run in runs:
        count = await count_stored(fresh, run.history, "after restarts of the server")
        same(count, run.acknowledged, "appends there, of those acknowledged around restarts of the server")


async def restart_often(place: Place, runs: Sequence[Writing]) -> None:
    """Restart the server while the runs are appended to, then let them end."""
    for number in range(max(3, place.profile.kills // 3)):
        # What a server has not written down when it answers it writes a little later: it is killed
        # soon after the first appends that follow a rest, or anywhere among many.
        await rest(runs)
        await progress(runs, place.random.randrange(1, 30) if number % 3 == 1 else 1)
        if not await place.subject.restart():
            raise NotChecked("restart() answers that the server cannot be restarted")
        await progress(runs, 1)
    for run in runs:
        run.ends = True


async def rest(runs: Sequence[Writing]) -> None:
    """Let nobody append for a while."""
    for run in runs:
        run.rests = True
    await asyncio.sleep(_PAUSE * 4)
    for run in runs:
        run.rests = False


async def progress(runs: Sequence[Writing], appends: int) -> None:
    """Wait until each run has so many more appends."""
    wanted = [run.acknowledged + appends for run in runs]
    while any(r.acknowledged < least for r, least in zip(runs, wanted, strict=True)):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def write_on(place: Place, run: Writing) -> None:
    """Append to the run until it ends; whatever is not acknowledged is submitted again, on a new handle."""
    store = await place.open()
    failures = 0
    while True:
        while run.rests:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        append = run.history[-1]
        answers = await whatever_comes(answer_soon(store.commit([append]), "the server was restarted"))
        if answers == committed([append]):
            failures, run.acknowledged = 0, len(run.history)
            if run.ends:
                return
            run.history.append(after(append.record, *[noted()] * (1 + run.acknowledged % 3)))
        else:
            failures += 1
            said = f"an append is not committed after {failures} tries around a restart"
            holds(failures < 4 * _TRIES, f"{said}: {answers!r}")
            await asyncio.sleep(_PAUSE)
            opened = await whatever_comes(place.reopen(store))
            store = opened if isinstance(opened, StorageBackend) else store
            await check_kept(store, run)


async def check_kept(store: StorageBackend, run: Writing) -> None:
    """Break the law if the run has lost what was acknowledged. What cannot be read now is looked at later."""
    least = sum(len(append.events) for append in run.history[: run.acknowledged])
    events = await whatever_comes(answer_soon(store.read(run.history[0].run_id), "the server was restarted"))
    if isinstance(events, list):
        said = f"after a restart of the server, a run has {len(events)} events; {least} were acknowledged"
        holds(len(events) >= least, said)


async def whatever_comes(call: Coroutine[Any, Any, T]) -> T | Exception:
    """What a call returns, or the error that it raises: what it may be is the business of another law."""
    try:
        return await call
    except Exception as error:
        return error
