"""Compares listings and the feed with the model's, and says which law a wrong one breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...errors import FeedPositionLost
from ...events import Event
from ...storage import RunQuery
from ..broken import LawBroken
from .session import Session
from .steps import Call, resolve
from .writing import show, show_call


async def judge_listing(session: Session, call: Call) -> None:
    """A listing of all its pages."""
    query: RunQuery = resolve(call.args[0], session.names) if call.args else RunQuery()
    want = session.model.listed(query)
    got = await session.perform(call)
    if got == want:
        session.lines.append(show_call(call))
        return
    ids, wanted = [record.run_id for record in got], [record.run_id for record in want]
    if ids == wanted:
        for name in ids:
            await session.probe(Call(call.handle, "get", (name,)))
        shown = f"[{', '.join(map(session.show_record, wanted))}]"
        session.fail(14, "the records of a listing", (show_call(call), got), (shown, want))
    law, said = 30, "a listing, newest first and then by id"
    if query != RunQuery():
        await session.probe(
            Call(call.handle, "listed", (), call.options)
        )  # if that is wrong too, it says more
        law, said = 32, "a listing of the runs that match"
        if call.options.get("limit", 100) < 100:
            await session.probe(Call(call.handle, "listed", call.args, {}))
            law, said = 30, "a listing of the runs that match, page by page"
    elif {*ids} - {*wanted} & {*session.model.buried}:
        law, said = 56, "a listing after a run was deleted"
    else:
        odd = {*ids} ^ {*wanted}
        writers = {session.writers[name] for name in odd if name in session.writers}
        if writers and call.handle not in writers:
            await session.probe(Call(min(writers), "listed", call.args, call.options))
            law, said = 19, "a listing by another handle"
    session.fail(law, said, (f"[r.run_id for r in {show_call(call)}]", ids), (show(wanted), wanted))


async def judge_feed(session: Session, call: Call) -> None:
    """A page of the feed, or all that it has behind a position."""
    before = call.options.get("after")
    behind = session.pages[before.name] if before is not None else []
    chain = [*behind, call.name]
    if call.method == "follow" and (wanted := _wanted(session, behind)):
        call = Call(call.handle, call.method, (), {**call.options, "until": wanted}, call.name)
    page = await session.perform(call, FeedPositionLost, law=34 if before is None else 37)
    if isinstance(page, FeedPositionLost):
        said = "a position of the feed that a deletion made void"
        session.lines.append(
            f"await raises(FeedPositionLost, {show_call(call).removeprefix('await ')}, {show(said)})"
        )
        if before is None or not session.model.buried:
            del session.lines[-1]
            session.lines.append(show_call(call))
            raise LawBroken(f"{type(page).__name__} escaped: {page}", law=37)
        session.pages.pop(before.name, None)
        return
    session.names[call.name] = page
    events = [event for name in chain for event in session.names[name].events]
    for run_id in sorted({event.run_id for event in events} | {*session.model.runs}):
        mine = [event for event in events if event.run_id == run_id]
        await _check_feed(session, call, chain, run_id, mine)
    session.pages[call.name] = chain
    text = show_call(call)
    session.lines.append(f"{call.name} = {text}" if session.needs(call.name) else text)


def _wanted(session: Session, behind: list[str]) -> list[tuple[str, str]]:
    """The last event of each run that a reader of these pages has not got: all others come before."""
    got = {(event.run_id, event.event_id) for name in behind for event in session.names[name].events}
    logs = [session.model.log(run_id) for run_id in sorted(session.model.runs)]
    last = [(log[-1].run_id, log[-1].event_id) for log in logs if log]
    return [event for event in last if event not in got]


async def _check_feed(session: Session, call: Call, chain: list[str], run_id: str, mine: list[Event]) -> None:
    """Whether the events of one run that a reader got are what it must have got by now."""
    live, dead = session.model.log(run_id), session.model.dead.get(run_id, [])
    ends = [len(live)] if call.method == "follow" else list(range(len(live) + 1))
    if any(_is_tail(mine, live[:end], dead) for end in ends):
        return
    law, said = 34, f"the events of run {run_id!r} in the feed"
    if sorted(mine, key=_place) == sorted(live, key=_place):
        law, said = 35, f"the order of run {run_id!r} in the feed"
    elif len(chain) > 1 and max(Counter(mine).values(), default=0) < 2 and call.method == "follow":
        # Misses something: is it the feed that has not got it, or the reader who was led past it?
        await session.probe(Call(call.handle, "follow", (), {}, f"{call.name}_all"))
        law = 37 if call.handle in session.reopened else 36
        said = f"the events of run {run_id!r} that a reader of the feed got from position to position"
    parts = [f"*{name}.events" for name in chain[:-1]] + [f"*({show_call(call)}).events"]
    text = f"[e for e in [{', '.join(parts)}] if e.run_id == {show(run_id)}]"
    if len(chain) == 1:
        text = f"[e for e in ({show_call(call)}).events if e.run_id == {show(run_id)}]"
    session.fail(law, said, (text, mine), (session.show_log(run_id), live))


def _place(event: Event) -> tuple[int, str]:
    return event.sequence, event.event_id


def _is_tail(mine: Sequence[Event], live: Sequence[Event], dead: Sequence[Event]) -> bool:
    """Whether `mine` is some of `dead`, in order, and then all of `live`."""
    cut = len(mine) - len(live)
    if cut < 0 or list(mine[cut:]) != list(live):
        return False
    rest: Any = iter(dead)
    return all(event in rest for event in mine[:cut])
