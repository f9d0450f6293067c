"""Compares claims and leases with the model's, and says which law a wrong one breaks."""

from __future__ import annotations

from typing import Any

from ...storage import Claim
from .session import FAR, SERVER_NOW, Session
from .steps import Call, Unplayable, resolve
from .writing import show, show_call


async def judge_claim(session: Session, call: Call) -> None:
    """Claims of due runs."""
    options: dict[str, Any] = resolve(call.options, session.names)
    now, until = options["now"], options["now"] + options["lease"]
    session.seen_now = max(session.seen_now, now)
    if session.server_clock:
        now, until = SERVER_NOW, FAR
    queues = options.get("queues")
    due = session.model.claimable(now, queues, options.get("run_id"))
    count = min(options.get("limit", 1), len(due))
    claims = await session.perform(call)
    got = [claim.run_id for claim in claims]
    form, shown, want = _show_claims(session, got, due, count)
    wrong = _blame_claims(session, options, now, got, due, count)
    if wrong is not None:
        law, said, blamed = wrong
        if shown == want:  # which runs it is remains open, and only their order in a queue is wrong
            form, shown, want = "{}", got, due[:count]
        text = form.format(f"[c.run_id for c in {show_call(call)}]")
        session.fail(law, said, (text, shown), (show(want), want), blamed)
    for claim in claims:
        await _check_claim(session, call, claim, options, until)
    ids = f"[c.run_id for c in {show_call(call)}]"
    if session.needs(call.name):
        session.lines.append(f"{call.name} = {{c.run_id: c for c in {show_call(call)}}}")
        ids = f"list({call.name})"
    session.lines.append(f"assert {form.format(ids)} == {show(want)}")
    session.names[call.name] = {claim.run_id: claim for claim in claims}
    session.recent = set(got)
    for claim in claims:
        session.model.claimed(claim, until)
        session.tokens.add(claim.token)
        session.touch(claim.run_id, "lease")
        session.suspects.pop(claim.run_id, None)


def _show_claims(session: Session, got: list[str], due: list[str], count: int) -> tuple[str, Any, Any]:
    """How to show the ids of the claims, the value of that, and the value that it must have."""
    of_one = len({session.model.runs[name].record.queue for name in due}) <= 1
    if of_one and not session.sharded:
        return "{}", got, due[:count]
    if count == len(due):
        return "sorted({})", sorted(got), sorted(due)
    return "len({})", len(got), count


def _blame_claims(
    session: Session, options: dict[str, Any], now: int, got: list[str], due: list[str], count: int
) -> tuple[int, str, int | None] | None:
    twice = next((name for name in got if got.count(name) > 1), None)
    if twice is not None:
        return (56 if twice in session.model.buried else 24), "one call claims a run twice", None
    for name in got:
        if name not in due:
            return _blame_taken(session, options, now, name)
    if len(got) > count:
        return 25, f"a claim of at most {count} runs", None
    if len(got) < count:
        return _blame_left(session, options, next(name for name in due if name not in got))
    if session.sharded:
        return None
    queue_of = {name: session.model.runs[name].record.queue for name in due}
    for queue in sorted(set(queue_of.values())):
        mine = [name for name in got if queue_of[name] == queue]
        if mine != [name for name in due if queue_of[name] == queue][: len(mine)]:
            return 25, "the order of claims by priority, due time and id", None
    return None


def _blame_taken(
    session: Session, options: dict[str, Any], now: int, name: str
) -> tuple[int, str, int | None]:
    """Why a run was claimed that is not due."""
    run = session.model.runs.get(name)
    if run is None:
        return (
            (56 if name in session.model.buried else 11),
            f"run {name!r}, which is not there, claimed",
            None,
        )
    if name in session.model.buried:
        return 56, f"run {name!r}, which was deleted and made again, claimed while it is not due", None
    if options.get("run_id", name) != name:
        return 11, f"run {name!r} claimed where another one was asked for", None
    if run.record.queue not in options.get("queues", (run.record.queue,)):
        return 26, f"run {name!r} of queue {run.record.queue!r} claimed from another queue", None
    if name in session.suspects:
        law, step = session.suspects[name]
        return law, f"run {name!r} claimed before it is due, after a call that must change nothing", step
    if run.lease is not None and run.lease.until > now:
        laws = {
            "claim": (21, f"leased run {name!r} claimed before its lease ended"),
            "outside": (
                28 if run.grabbed else 21,
                f"leased run {name!r} claimed after an append from outside",
            ),
            "append": (28, f"run {name!r} claimed before the end of the lease that an append made"),
            "extend": (23, f"run {name!r} claimed before the end that its holder's extend made"),
        }
        return *laws[run.lease.by if run.outside is None else "outside"], run.outside
    if run.record.wake_at is None:
        return 27, f"run {name!r}, which has no due time, claimed", None
    return 28, f"run {name!r} claimed before its wake time", None


def _blame_left(session: Session, options: dict[str, Any], name: str) -> tuple[int, str, int | None]:
    """Why a due run was not claimed."""
    run = session.model.runs[name]
    if name in session.suspects:
        law, step = session.suspects[name]
        return law, f"due run {name!r} not claimed, after a call that must change nothing", step
    if name in session.model.buried:
        return 56, f"due run {name!r}, which was deleted and made again, not claimed", None
    if run.lease is not None:
        law = 28 if run.grabbed and run.outside is not None else 22
        return law, f"run {name!r}, whose lease ended, not claimed again", run.outside
    if run.ended == "append":
        return 28, f"run {name!r}, whose lease an append released, not claimed", None
    if run.ended == "release" and run.outside is not None:
        return 58, f"run {name!r}, appended to between claim and release, not claimed", run.outside
    if run.ended == "release":
        return 22, f"released run {name!r} not claimed again", None
    if "queues" in options:
        return 26, f"due run {name!r} of queue {run.record.queue!r} not claimed", None
    return 28, f"run {name!r}, which an append made due, not claimed", None


async def _check_claim(
    session: Session, call: Call, claim: Claim, options: dict[str, Any], until: int
) -> None:
    def fail(law: int, said: str, name: str, want: Any) -> None:
        text = f"[c.{name} for c in {show_call(call)} if c.run_id == {show(claim.run_id)}]"
        session.fail(law, said, (text, [getattr(claim, name)]), (f"[{show(want)}]", [want]))

    if claim.until != until and not session.server_clock:
        fail(22, "the end of a claim's lease", "until", until)
    if claim.owner != options["owner"]:
        fail(23, "the owner of a claim", "owner", options["owner"])
    if claim.token in session.tokens:
        fail(23, f"the token of a claim, which must be new and is {claim.token!r}", "token", "a new one")
    if claim.record != (want := session.model.runs[claim.run_id].record):
        text = f"[c.record for c in {show_call(call)} if c.run_id == {show(claim.run_id)}]"
        shown = f"[{session.show_record(claim.run_id)}]"
        session.fail(14, "the record of a claim", (text, [claim.record]), (shown, [want]))


async def judge_lease(session: Session, call: Call) -> None:
    """A claim's extend or release."""
    claim: Claim = resolve(call.args[0], session.names)
    run = session.model.runs.get(claim.run_id)
    want = session.model.holds(claim)
    if want and run is not None and run.lease is not None and run.lease.until <= session.seen_now:
        raise Unplayable("a lease that is over by time, and that nobody else has taken")
    got = await session.perform(call)
    if got is not want:
        whose = "the holder" if want else "an earlier claim, which holds nothing any more"
        said = f"{call.method} of run {claim.run_id!r} by {whose}"
        if want and run is not None and run.outside is not None:
            session.fail(
                28 if run.grabbed else 58,
                f"{said}, after an append from outside",
                (show_call(call), got),
                (show(want), want),
                run.outside,
            )
        session.fail(23, said, (show_call(call), got), (show(want), want))
    session.lines.append(f"assert {show_call(call)} is {want}")
    session.recent = {claim.run_id}
    session.touch(claim.run_id, "lease")
    if not want or run is None or run.lease is None:
        session.suspects.setdefault(claim.run_id, (23, session.now))
        return
    session.suspects.pop(claim.run_id, None)
    if call.method == "release":
        run.lease, run.ended = None, "release"
    else:
        run.lease.until, run.lease.by = (FAR if session.server_clock else call.args[1]), "extend"
