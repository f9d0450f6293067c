"""Checks of queues: a claim gets runs of the queues that it names, compared exactly."""

from __future__ import annotations

from ..appends import created
from ..broken import same
from ..place import Place
from .given import due_run, given, ids, take
from .registry import proves

ODD_QUEUES = (
    "q",
    "Q",
    "q1",
    "q ",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "q,q1",
    "*",
    "q%",
    "q_",
    "q:1",
    "'",
    "[q]",
)


@proves(26)
async def a_claim_of_one_queue_gets_that_queue_only(place: Place) -> None:
    """Queue names are compared exactly, whatever is in them."""
    store = await place.open()
    await given(store, *[due_run(place, f"r{n}", queue=q) for n, q in enumerate(ODD_QUEUES)])
    for queue in ("", "Q1", " q", "?", "qq", "q?"):
        if queue:
            same(
                ids(await take(place, store, queues=[queue])), [], f"claim of queue {queue!r}, which is empty"
            )
    for n, queue in enumerate(ODD_QUEUES):
        same(ids(await take(place, store, queues=[queue])), [f"r{n}"], f"claim of queue {queue!r}")


@proves(26)
async def a_claim_of_several_queues_gets_those(place: Place) -> None:
    """A list names the queues, however often; None stands for all of them and the empty list for none."""
    store = await place.open()
    await given(store, *[due_run(place, name, queue=name) for name in ("a", "b", "c", "d")])
    await given(store, due_run(place, "default"))
    same(ids(await take(place, store, queues=[])), [], "claim of no queue")
    got = ids(await take(place, store, queues=["c", "nothing", "a", "c", "a"]))
    same(sorted(got), ["a", "c"], "claim of the queues c, nothing, a, c, a")
    same(ids(await take(place, store, queues=["default"])), ["default"], "claim of the default queue")
    same(sorted(ids(await take(place, store))), ["b", "d"], "claim of every queue")


@proves(26)
async def a_claim_by_id_respects_queue_and_due_time(place: Place) -> None:
    """A run that is asked for by name is claimed only if it is due, free and in one of the queues."""
    store = await place.open()
    later = place.now + 10**6 * place.unit
    await given(store, due_run(place, "a", queue="q"), due_run(place, "b", queue="q"))
    await given(store, created("later", at=place.now, queue="q", wake_at=later))
    for run_id, queues in (("a", ["p"]), ("a", []), ("later", ["q"]), ("later", None), ("none", None)):
        got = ids(await take(place, store, run_id=run_id, queues=queues))
        same(got, [], f"claim of run {run_id!r} of queues {queues}; only 'a' and 'b' of 'q' are due")
    same(ids(await take(place, store, run_id="b", queues=["p", "q"])), ["b"], "claim of 'b' of queue q")
    same(ids(await take(place, store, run_id="a")), ["a"], "claim of 'a' of any queue")
