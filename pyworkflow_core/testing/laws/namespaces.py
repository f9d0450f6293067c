"""Checks of namespaces: what happens in one of them does not happen in another."""

from __future__ import annotations

from ...storage import RunQuery, StorageBackend
from ..appends import after
from ..broken import same
from ..looks import follow
from ..place import Place
from .given import due_run, given, ids, take, take_one
from .registry import proves


async def open_neighbours(place: Place) -> list[StorageBackend]:
    """Handles on four namespaces: the names of two begin with another's, and one has a name of its own."""
    name = place.namespace
    near = [place.another_namespace(name), place.another_namespace(f"{name}1")]
    return [await place.open(n) for n in (name, *near, place.another_namespace())]


async def sees_nothing(place: Place, store: StorageBackend, run_id: str) -> None:
    """Show that the namespace of a handle has no run, by every method that reads."""
    same(await store.read(run_id), [], "read of a run of another namespace")
    same(await store.get(run_id), None, "get of a run of another namespace")
    same((await store.find()).records, [], "find of every run, in a namespace without any")
    same(
        (await store.find(RunQuery(workflow="w"))).records,
        [],
        "find by workflow, in a namespace without runs",
    )
    same(ids(await take(place, store)), [], "claim in a namespace without runs")
    same(ids(await take(place, store, run_id=run_id)), [], "claim of a run of another namespace")
    if store.capabilities.feed:
        same((await store.feed()).events, [], "feed of a namespace without runs")


@proves(57)
async def a_namespace_sees_nothing_of_the_others(place: Place) -> None:
    """A run of one namespace is in none of the others, however alike their names."""
    stores = await open_neighbours(place)
    for n, store in enumerate(stores):
        run = due_run(place, f"only-{n}")
        await given(store, run)
        for other in stores[n + 1 :]:
            await sees_nothing(place, other, run.run_id)
    for n, store in enumerate(stores):
        same(
            [r.run_id for r in (await store.find()).records],
            [f"only-{n}"],
            "find of every run of a namespace",
        )


@proves(57)
async def one_id_names_a_run_of_each_namespace(place: Place) -> None:
    """Runs of one id have logs, records, feeds and leases of their own, and go on alone."""
    stores = await open_neighbours(place)
    runs = [due_run(place, "a", incarnation=f"i{n}", workflow=f"w{n}") for n in range(len(stores))]
    for store, run in zip(stores, runs, strict=True):
        await given(store, run)
    for store, run in zip(stores, runs, strict=True):
        same(await store.read("a"), list(run.events), "read of an id that each namespace has")
        same(await store.get("a"), run.record, "get of an id that each namespace has")
        same((await store.find()).records, [run.record], "find in one of the namespaces")
        same((await take_one(place, store, "a")).record, run.record, "claim in one of the namespaces")
        if store.capabilities.feed:
            page = await follow(store, until=[("a", run.events[-1].event_id)])
            same(page.events, list(run.events), "feed of one of the namespaces")
    last = after(runs[0].record)
    await given(stores[0], last)
    same(await stores[1].get("a"), runs[1].record, "get after an append in another namespace")
    await given(stores[1], after(runs[1].record))


@proves(57)
async def a_claim_counts_in_its_namespace_only(place: Place) -> None:
    """A claim of one namespace neither extends nor releases the lease of the same id in another."""
    stores = await open_neighbours(place)
    for store in stores:
        await given(store, due_run(place, "a"))
    claims = [await take_one(place, store, "a", owner=f"worker {n}") for n, store in enumerate(stores)]
    later = place.now + 900 * place.unit
    for store in stores[1:]:
        same(await store.extend(claims[0], later), False, "extend by a claim of another namespace")
        same(await store.release(claims[0]), False, "release by a claim of another namespace")
        same(ids(await take(place, store)), [], "claim after a release by a claim of another namespace")
    for store, claim in zip(stores, claims, strict=True):
        same(await store.release(claim), True, "release by the holder")


@proves(57)
async def a_delete_stays_in_its_namespace(place: Place) -> None:
    """A run that is deleted in one namespace is there in the others, and its id can be used in those."""
    stores = await open_neighbours(place)
    run = due_run(place, "a")
    for store in stores[:-1]:
        await given(store, run)
    for n, store in enumerate(stores[:-1]):
        await store.delete("a", expected=1)
        same(await store.read("a"), [], "read of a run that was deleted")
        for other in stores[n + 1 : -1]:
            same(await other.read("a"), list(run.events), "read after a delete in another namespace")
            same((await other.find()).records, [run.record], "find after a delete in another namespace")
    await given(stores[-1], run)
    same((await take_one(place, stores[-1], "a")).record, run.record, "claim of a run deleted elsewhere")
