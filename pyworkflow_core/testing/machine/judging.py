"""Compares answers with the model's, and says which law a wrong one breaks: the log and its records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ...errors import EventIdReused
from ...events import Event
from ...record import RunRecord
from ...storage import Append, Committed, Refused
from ..broken import LawBroken
from .judging_claims import judge_claim, judge_lease
from .judging_lists import judge_feed, judge_listing
from .reading import answered
from .session import Session
from .steps import Call, resolve
from .writing import show, show_call

Judge = Callable[[Session, Call], Awaitable[None]]

_NEW = ("first", "reborn", "next")
_WHY: dict[str, tuple[int, str]] = {
    "first": (1, "the first append of a run"),
    "reborn": (56, "the first append of a new incarnation"),
    "next": (4, "an append that expects the head"),
    "deleted": (56, "an append made for a run that was deleted"),
    "other run": (56, "an append made for another incarnation"),
    "future": (5, "an append that expects a sequence which the log has not reached"),
    "stale": (4, "an append that expects a sequence which the log has left"),
    "overlap": (12, "an append of which only a part is in the log"),
    "other body": (13, "an event id with another body than at its place"),
    "resent": (12, "an append that is in the log already"),
}
"""The law that a wrong answer breaks, and what was asked, by the reason of the right one."""
_LEFT_BEHIND: dict[str, tuple[int, str]] = {
    "conflict": (6, "after an append that conflicted"),
    "refused": (13, "after an append that was refused"),
    "resent": (12, "after an append that was submitted again"),
    "lease": (28, "after a change of its lease"),
    "deleted": (56, "after it was deleted"),
    "kept": (56, "after a deletion that expected another head"),
}
"""The law that a changed run breaks, by what last happened to it."""


async def judge_commit(session: Session, call: Call) -> None:
    """Answers of a commit."""
    appends: list[Append] = resolve(call.args[0], session.names)
    foreseen = [session.model.foresee(append) for append in appends]
    for append, (_, why) in zip(appends, foreseen, strict=True):
        if why in _NEW:
            session.check_playable(append)
    want: list[Any] = [
        (append.run_id, EventIdReused) if answer is None else answer
        for append, (answer, _) in zip(appends, foreseen, strict=True)
    ]
    answers = await session.perform(call)
    got = answered(answers) if isinstance(answers, list) else answers
    refusals = isinstance(answers, list) and any(isinstance(a, Refused) for a in answers)
    text = show_call(call)
    if refusals or any(answer is None for answer, _ in foreseen):
        text = f"answered({text})"
    if got != want:
        law, said = _blame_answers(session, call, appends, got, want)
        if law == 12 and foreseen[0][1] == "overlap":
            stored = await session.perform(Call(call.handle, "read", (appends[0].run_id,)))
            law = 12 if stored == session.model.log(appends[0].run_id) else 7
        session.fail(law, said, (text, got), (show(want), want))
    session.lines.append(f"assert {text} == {show(want)}")
    session.recent = {append.run_id for append in appends}
    for append, (answer, why) in zip(appends, foreseen, strict=True):
        _take_in(session, call.handle, append, why, refused=answer is None)


def _take_in(session: Session, handle: str, append: Append, why: str, *, refused: bool) -> None:
    run_id = append.run_id
    if why in _NEW:
        session.touch(run_id, "append")
        session.model.write(append, session.now)
        session.writers[run_id] = handle
        if append.lease is not None:
            session.tokens.add(append.lease.token)
            session.suspects.pop(run_id, None)
        return
    kind = "refused" if refused else "resent" if why == "resent" else "conflict"
    session.touch(run_id, kind)
    session.suspects.setdefault(run_id, (_LEFT_BEHIND[kind][0], session.now))


def _blame_answers(
    session: Session, call: Call, appends: list[Append], got: Any, want: list[Any]
) -> tuple[int, str]:
    if not isinstance(got, list) or len(got) != len(want):
        return 7, "one answer for each append"
    index = next(i for i in range(len(want)) if got[i] != want[i])
    run_id = appends[index].run_id
    why = session.model.foresee(appends[index])[1]
    law, said = _WHY[why]
    if why in _NEW and isinstance(got[index], Committed):
        law = 3
    elif run_id not in session.model.runs and session.model.runs:
        law, said = 11, f"{said}, where other runs are"
    elif why == "next" and session.writers.get(run_id) != call.handle:
        law, said = 19, f"{said} that another handle wrote"
    if len(want) > 1:
        return 7, f"{len(want)} appends in one commit, the {_nth(index)} {said}"
    return law, said


def _nth(index: int) -> str:
    return ("first", "second", "third", "fourth", "fifth")[index] if index < 5 else f"{index + 1}th"


async def judge_read(session: Session, call: Call) -> None:
    """Events of a run, all or a slice."""
    run_id = call.args[0]
    after, limit = call.options.get("after", 0), call.options.get("limit")
    part = slice(after, None if limit is None else after + limit)
    want = session.model.log(run_id)[part]
    got = await session.perform(call, law=_law_of_errors(session, run_id))
    if type(got) is list and got == want:
        session.lines.append(show_call(call))
        return
    actual, expected = (show_call(call), got), (session.show_log(run_id), want)
    if call.options:
        await session.probe(Call(call.handle, "read", (run_id,)))  # is the whole right at least?
        shown = f"{after or ''}:{'' if limit is None else after + limit}"
        session.fail(9, f"read of a part of run {run_id!r}", actual, (f"{expected[0]}[{shown}]", want))
    await _ask_the_writer(session, call, run_id, actual, expected)
    law, said, blamed = _blame_log(session, run_id, got, want)
    if isinstance(got, list) and law == 2:
        shown = "[event.body for event in {}]"
        bodies, wanted = [event.body for event in got], [event.body for event in want]
        session.fail(
            law, said, (shown.format(actual[0]), bodies), (shown.format(expected[0]), wanted), blamed
        )
    session.fail(law, said, actual, expected, blamed)


async def judge_get(session: Session, call: Call) -> None:
    """The record of a run."""
    run_id = call.args[0]
    run = session.model.runs.get(run_id)
    want = run.record if run else None
    got = await session.perform(call, law=_law_of_errors(session, run_id))
    if type(got) is type(want) and got == want:
        session.lines.append(show_call(call))
        return
    actual, expected = (show_call(call), got), (session.show_record(run_id), want)
    await session.probe(Call(call.handle, "read", (run_id,)))  # if the log is wrong too, that says more
    touch = session.touched.get(run_id)
    law, said, blamed = 14, f"get of run {run_id!r}, whose log is right", None
    if touch is None:
        law, said = (1 if getattr(got, "run_id", run_id) == run_id else 11), f"get of run {run_id!r}, unmade"
    elif run_id not in session.recent and session.writers.get(run_id) == call.handle:
        law, said = 11, f"get of run {run_id!r}, which nobody touched"
    elif touch.kind in _LEFT_BEHIND and touch.kind != "resent":
        law, about = _LEFT_BEHIND[touch.kind]
        said, blamed = f"get of run {run_id!r} {about}", touch.step
        if touch.kind == "lease" and run is not None and run.outside is not None:
            law, said, blamed = 58, f"{said}, which somebody else appended to", run.outside
    elif run is not None and run.outside == touch.step and _is_late(got, run.record):
        law, said = 58, f"get of run {run_id!r}, leased, after an append from outside"
    session.fail(law, said, actual, expected, blamed)


def _is_late(got: Any, want: RunRecord) -> bool:
    """Whether only the wake time of a record is wrong."""
    return isinstance(got, RunRecord) and msgspec.structs.replace(got, wake_at=want.wake_at) == want


def _law_of_errors(session: Session, run_id: str) -> int:
    """The law that an error breaks which escapes when a run is looked up."""
    return 53 if run_id in session.touched else 1


async def _ask_the_writer(
    session: Session, call: Call, run_id: str, actual: tuple[str, object], expected: tuple[str, object]
) -> None:
    """Blame the handle if it alone is wrong: the one that wrote the run answers rightly."""
    writer = session.writers.get(run_id, call.handle)
    if writer != call.handle:
        await session.probe(Call(writer, call.method, call.args))
        session.fail(19, f"{call.method} of run {run_id!r} by another handle", actual, expected)


def _blame_log(session: Session, run_id: str, got: Any, want: list[Event]) -> tuple[int, str, int | None]:
    said = f"read of run {run_id!r}"
    touch = session.touched.get(run_id)
    if not isinstance(got, list):
        return 53, said, None
    if any(event.run_id != run_id for event in got):
        return 11, f"{said}, with events of another run", None
    if touch is None:
        return 1, f"{said}, which nobody made", None
    if run_id not in session.recent:
        return 11, f"{said}, which nobody touched", None
    if touch.kind in _LEFT_BEHIND:
        law, about = _LEFT_BEHIND[touch.kind]
        return law, f"{said} {about}", touch.step
    if [(e.sequence, e.event_id) for e in got] == [(e.sequence, e.event_id) for e in want]:
        return 2, f"bodies of the events of run {run_id!r}", None
    if [e.event_id for e in got] == [e.event_id for e in want]:
        return 3, said, None
    commit = session.steps[touch.step]
    if isinstance(commit, Call) and len(commit.args[0]) > 1:
        return 7, f"{said} after a commit of several appends, of which its own was acknowledged", None
    if touch.before < len(got) < len(want) and got == want[: len(got)]:
        return 7, f"{said} after an append of {len(want) - touch.before} events", None
    return 16, f"{said} after an append that was acknowledged", None


async def judge_delete(session: Session, call: Call) -> None:
    """Deletion of a run."""
    run_id, expected = call.args[0], call.options["expected"]
    run = session.model.runs.get(run_id)
    refuses = run is not None and run.head != expected
    got = await session.perform(call, ValueError)
    text = show_call(call)
    session.recent = {run_id}
    if refuses:
        said = f"a deletion of run {run_id!r} that expects another head"
        session.lines.append(f"await raises(ValueError, {text.removeprefix('await ')}, {show(said)})")
        if not isinstance(got, ValueError):
            raise LawBroken(f"{said}: answered {got!r}; expected ValueError", law=56)
        session.touch(run_id, "kept")
        return
    session.lines.append(text)
    if got is not None:
        raise LawBroken(f"{type(got).__name__} escaped: {got}", law=56)
    session.touch(run_id, "deleted")
    session.model.delete(run_id)
    session.writers[run_id] = call.handle
    session.suspects.pop(run_id, None)


JUDGES: dict[str, Judge] = {
    "commit": judge_commit,
    "read": judge_read,
    "get": judge_get,
    "delete": judge_delete,
    "claim": judge_claim,
    "extend": judge_lease,
    "release": judge_lease,
    "listed": judge_listing,
    "feed": judge_feed,
    "follow": judge_feed,
}
"""Who judges the answer of each method."""
