"""Laws 15, 16 and 20: of those who append at once exactly one wins, and every answer is true."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from ...storage import Answer, Append, Committed, Conflict, StorageBackend
from ..appends import after, created, noted
from ..broken import LawBroken, holds, same
from ..child_place import ChildPlace
from ..looks import event_ids, head_of, promptly, settled
from ..place import Place
from .registry import proves


@proves(15)
async def of_many_racers_one_wins(place: Place) -> None:
    """Of appends that expect one head, made at once by many handles, one is committed; others conflict."""
    stores = await place.open_many(place.profile.racers)
    append = created("a")
    await stores[0].commit([append])
    for n in range(3 * place.profile.rounds):
        count = 1 + n % 3
        rivals = [after(append.record, *[noted()] * count, prefix=f"{k}.") for k in range(2 * len(stores))]
        answers = await race(place, stores * 2, rivals)
        kinds = Counter(type(answer).__name__ for answer in answers)
        expected = append.record.head
        said = f"answers to {len(rivals)} appends made at once, all of which expect {expected}"
        same(kinds, Counter(Committed=1, Conflict=len(rivals) - 1), said)
        append = next(a for a, got in zip(rivals, answers, strict=True) if isinstance(got, Committed))
        ids = (await event_ids(stores[-1], "a"))[expected:]
        same(
            ids, [event.event_id for event in append.events], f"events behind {expected}: those of the winner"
        )


@proves(15)
async def racers_on_one_handle_have_one_winner(place: Place) -> None:
    """So it is where all racers share one handle."""
    store = await place.open()
    append = created("a")
    await store.commit([append])
    for _ in range(2 * place.profile.rounds):
        rivals = [after(append.record, prefix=f"{k}.") for k in range(place.profile.racers)]
        answers = await race(place, [store] * len(rivals), rivals)
        winners = [a for a, got in zip(rivals, answers, strict=True) if isinstance(got, Committed)]
        same(
            len(winners),
            1,
            f"winners among {len(rivals)} appends on one handle, expecting {append.record.head}",
        )
        append = winners[0]
        same(await head_of(store, "a"), append.record.head, "the head after the race")


@proves(15)
async def commits_of_many_runs_race_run_by_run(place: Place) -> None:
    """Commits that name the same runs in different orders block nobody, and each run has one winner."""
    stores = await place.open_many(place.profile.racers)
    firsts = [created(f"r{n}") for n in range(6)]
    await stores[0].commit(firsts)
    records = [first.record for first in firsts]
    for n in range(place.profile.rounds):
        batches = []
        for k in range(len(stores)):
            batch = [after(record, prefix=f"{k}.{n}.") for record in records]
            place.random.shuffle(batch)
            batches.append(batch)
        calls = [store.commit(batch) for store, batch in zip(stores, batches, strict=True)]
        answers = [answer for got in await asyncio.gather(*calls) for answer in got]
        wins = Counter(answer.run_id for answer in answers if isinstance(answer, Committed))
        said = f"winners in each run of {len(stores)} commits that name all runs, in random orders"
        same(dict(wins), {f"r{k}": 1 for k in range(6)}, said)
        appends = [append for batch in batches for append in batch]
        won = {a.run_id: a for a, got in zip(appends, answers, strict=True) if isinstance(got, Committed)}
        records = [won[f"r{k}"].record for k in range(6)]


@proves(15, needs=("multi_process",))
async def racers_in_other_processes_have_one_winner(place: Place) -> None:
    """Where several processes append to one run as fast as they can, each head has one winner."""
    store = await place.open()
    await store.commit([created("a")])
    tried = await fates_of_children(place, "a", children=3, tries=10 + 5 * place.profile.rounds)
    heads = Counter(expected for expected, _, fate in tried if fate == "Committed")
    several = {head: count for head, count in heads.items() if count != 1}
    same(several, {}, "heads behind which more than one append was committed, and how many")
    head = await head_of(store, "a")
    same(
        sorted(heads),
        list(range(1, head)),
        f"heads behind which an append was committed, the head being {head}",
    )
    holds(head > 1, "no append of three processes was committed")


@proves(16)
async def every_answer_is_true(place: Place) -> None:
    """Of many appends to two runs, made at once, what was acknowledged is there once, and nothing else."""
    stores = await place.open_many(place.profile.racers)
    await stores[0].commit([created("a"), created("b")])
    tries = 5 + 2 * place.profile.rounds
    calls = [
        append_often(store, run_id, f"{run_id}{n}.", tries, None)
        for n, store in enumerate(stores)
        for run_id in ("a", "b")
    ]
    tried = [fate for fates in await asyncio.gather(*calls) for fate in fates]
    for run_id in ("a", "b"):
        hold_fates([fate for fate in tried if fate[1].startswith(run_id)], await event_ids(stores[0], run_id))


@proves(16)
async def what_was_cancelled_is_there_at_most_once(place: Place) -> None:
    """Where some appends are cancelled, the answers to the others are still true."""
    stores = await place.open_many(place.profile.racers)
    await stores[0].commit([created("a")])
    tries = 5 + 2 * place.profile.rounds
    calls = [
        append_often(store, "a", f"a{n}.", tries, Random(place.random.random()))
        for n, store in enumerate(stores)
    ]
    tried = await promptly(asyncio.gather(*calls), "appends, some of which were cancelled")
    hold_fates([fate for fates in tried for fate in fates], await event_ids(stores[0], "a"))


@proves(16, needs=("multi_process",))
async def every_answer_in_other_processes_is_true(place: Place) -> None:
    """So it is where the appends are made by several processes."""
    store = await place.open()
    await store.commit([created("a")])
    tried = await fates_of_children(place, "a", children=2, tries=10 + 5 * place.profile.rounds)
    hold_fates(tried, await event_ids(store, "a"))


@proves(20)
async def of_many_creators_one_wins(place: Place) -> None:
    """Of creations of one run, made at once, one is committed, and the run is what that one said."""
    stores = await place.open_many(place.profile.racers)
    for n in range(3 * place.profile.rounds):
        name = f"r{n}"
        rivals = [created(name, incarnation=f"i{k}", event_id=f"c{k}") for k in range(2 * len(stores))]
        answers = await race(place, stores * 2, rivals)
        kinds = Counter(type(answer).__name__ for answer in answers)
        said = f"answers to {len(rivals)} creations of one run, made at once"
        same(kinds, Counter(Committed=1, Conflict=len(rivals) - 1), said)
        winner = next(a for a, got in zip(rivals, answers, strict=True) if isinstance(got, Committed))
        same(
            await event_ids(stores[-1], name),
            [winner.events[0].event_id],
            "the events of the run: the winner's",
        )
        record = await stores[0].get(name)
        same(record and record.incarnation, winner.incarnation, "the incarnation of the run: the winner's")


@proves(20)
async def creators_of_many_runs_win_run_by_run(place: Place) -> None:
    """Commits that create the same runs in different orders make each run once."""
    stores = await place.open_many(place.profile.racers)
    for n in range(place.profile.rounds):
        names = [f"r{n}.{k}" for k in range(6)]
        calls = []
        for k, store in enumerate(stores):
            batch = [created(name, incarnation=f"i{k}", event_id=f"c{k}") for name in names]
            place.random.shuffle(batch)
            calls.append(store.commit(batch))
        answers = [answer for got in await asyncio.gather(*calls) for answer in got]
        wins = Counter(answer.run_id for answer in answers if isinstance(answer, Committed))
        same(dict(wins), dict.fromkeys(names, 1), f"creations of each run in {len(stores)} commits of all")
        counts = {name: len(await event_ids(stores[0], name)) for name in names}
        same(counts, dict.fromkeys(names, 1), "numbers of events in the runs that were created at once")


@proves(20, needs=("multi_process",))
async def creators_in_other_processes_have_one_winner(place: Place) -> None:
    """Where two processes create the same runs, each run is made by one of them."""
    store = await place.open()
    children = [await place.spawn(create_all, name=name) for name in ("x", "y")]
    for child in children:
        await child.told()
    for child in children:
        await child.say("go")
    made = [await child.told() for child in children]
    same(
        sorted(made[0] + made[1]),
        sorted(f"r{n}" for n in range(30)),
        "runs that two processes created, each once",
    )
    for name, runs in zip(("x", "y"), made, strict=True):
        ids = [await event_ids(store, run_id) for run_id in runs]
        same(ids, [[name]] * len(runs), f"events of the runs that process {name} created")


async def race(place: Place, stores: list[StorageBackend], appends: list[Append]) -> list[Answer]:
    """Submit each append on its own handle: all at once, or each a few turns of the event loop later."""
    order = list(range(len(appends)))
    place.random.shuffle(order)
    late = place.random.choice((0, 1, 4))
    calls = [submit_late(stores[k], appends[k], place.random.randint(0, late)) for k in order]
    answers = dict(zip(order, await asyncio.gather(*calls), strict=True))
    return [answers[k] for k in range(len(appends))]


async def submit_late(store: StorageBackend, append: Append, turns: int) -> Answer:
    """Submit an append after some turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await settled(store, append)


async def append_often(
    store: StorageBackend, run_id: str, prefix: str, tries: int, random: Random | None
) -> list[tuple[int, str, str]]:
    """Append against others; what each append expected, its event id and how it was answered.

    With `random`, some appends are cancelled at some point.
    """
    fates = []
    for n in range(tries):
        record = await store.get(run_id)
        if record is None:
            raise LawBroken(f"there is no record of {run_id!r}, to which others append")
        append = after(record, prefix=f"{prefix}{n}.")
        fate = "Cancelled"
        task = asyncio.ensure_future(store.commit([append]))
        if random is not None and random.random() < 0.3:
            for _ in range(random.randrange(8)):
                await asyncio.sleep(0)
            task.cancel()
        (done,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(done, list):
            fate = type(done[0]).__name__
        elif not isinstance(done, asyncio.CancelledError):
            raise done
        fates.append((record.head, append.events[0].event_id, fate))
    return fates


def hold_fates(tried: list[tuple[int, str, str]], ids: list[str]) -> None:
    """Break the law unless the log `ids` has what the answers say."""
    there = Counter(ids)
    lost = [i for _, i, fate in tried if fate == "Committed" and there[i] == 0]
    same(lost, [], "events that were acknowledged and are not in the log")
    often = {i: count for i, count in there.items() if count > 1}
    same(often, {}, "events that are in the log more than once, and how often")
    ghosts = [i for _, i, fate in tried if fate == Conflict.__name__ and there[i]]
    same(ghosts, [], "events that are in the log although their appends conflicted")
    holds(any(fate == "Committed" for _, _, fate in tried), "no append was committed at all")


async def fates_of_children(
    place: Place, run_id: str, children: int, tries: int
) -> list[tuple[int, str, str]]:
    """What became of the appends that several processes made at once to one run."""
    started = [
        await place.spawn(append_from_a_process, run_id=run_id, prefix=f"{run_id}{n}.", tries=tries)
        for n in range(children)
    ]
    for child in started:
        await child.told()
    for child in started:
        await child.say("go")
    return [(head, i, fate) for child in started for head, i, fate in await child.told()]


async def append_from_a_process(place: ChildPlace, run_id: str, prefix: str, tries: int) -> None:
    """Tell that it is ready, wait for the word, append, and tell what became of it."""
    store = await place.open()
    place.tell("ready")
    await place.hear()
    place.tell(await append_often(store, run_id, prefix, tries, None))


async def create_all(place: ChildPlace, name: str) -> None:
    """Create thirty runs after the word, and tell which creations were committed."""
    store = await place.open()
    place.tell("ready")
    await place.hear()
    answers = [await settled(store, created(f"r{n}", incarnation=name, event_id=name)) for n in range(30)]
    place.tell([answer.run_id for answer in answers if isinstance(answer, Committed)])
