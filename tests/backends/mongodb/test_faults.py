"""What goes wrong in a real server: chunks that nobody needed, other people's indexes, lacking rights."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from pyworkflow_core.errors import (
    ConfigurationError,
    CorruptLog,
    FeedPositionLost,
    StorageUnavailable,
    UnsupportedSchema,
)
from pyworkflow_core.storage import Append, Committed, Conflict, Refused
from pyworkflow_core.testing.appends import after, created, noted, noted_of
from pyworkflow_mongodb import commit, schema


def collection(server: Any, namespace: Any, name: str) -> Any:
    return MongoClient(server.url)["pyworkflow"][f"{namespace.name}.{name}"]


async def grow(store: Any, appends: int, events: int = 1) -> list[Append]:
    history = [created("a")]
    for _ in range(appends):
        history.append(after(history[-1].record, *[noted()] * events))
    for append in history:
        assert await store.commit([append]) == [Committed("a", append.record.head)]
    return history


def events_of(history: list[Append]) -> list[Any]:
    return [event for append in history for event in append.events]


def test_a_long_run_spans_documents_that_stay_short(namespace: Any, mongodb: Any) -> None:
    async def work(store: Any) -> None:
        history = await grow(store, 40, 3)
        assert await store.read("a") == events_of(history)
        for place in range(0, 122, 7):
            assert await store.read("a", after=place, limit=10) == events_of(history)[place : place + 10]

    namespace.run(work)
    with MongoClient(mongodb.url) as client:
        runs = client["pyworkflow"][f"{namespace.name}.runs"]
        document = runs.find_one({"_id": "a"})
        assert document is not None
        assert len(document["tail"]) < 12
        assert client["pyworkflow"][f"{namespace.name}.chunks"].count_documents({}) > 8


def test_large_appends_one_after_the_other_fill_no_document(namespace: Any) -> None:
    async def work(store: Any) -> None:
        history = [created("a")]
        for _ in range(6):
            history.append(after(history[-1].record, noted_of(4_000_000), noted_of(100_000)))
        other = namespace.open()
        for turn, append in enumerate(history):  # nobody has written it before; both have
            handle = (store, other)[turn // 2 % 2]
            assert await handle.commit([append]) == [Committed("a", append.record.head)]
        assert await store.read("a") == events_of(history)
        await other.close()

    namespace.run(work)


def test_whoever_dies_between_chunk_and_comparison_leaves_nothing_wrong(
    namespace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk stays, the run goes on with longer chunks beside it, and nothing is lost or doubled."""
    whole = commit.Committer._write
    dies = False

    async def dying(self: Any, writes: Any, answers: Any) -> Any:
        if dies and any(each.full for each in writes):
            raise AutoReconnect("killed")
        return await whole(self, writes, answers)

    async def work(store: Any) -> None:
        nonlocal dies
        other = namespace.open()
        history = [created("a")]
        await store.commit(history)
        for number in range(60):
            dies = number % 2 == 0
            append = after(history[-1].record, *[noted()] * (1 + number % 3))
            try:
                answers = await store.commit([append])
            except StorageUnavailable:
                dies = False
                # Another one goes on from the same head, with more events.
                append = after(history[-1].record, *[noted()] * (2 + number % 3), prefix="other")
                answers = await other.commit([append])
            assert answers == [Committed("a", append.record.head)]
            history.append(append)
            assert await store.read("a") == events_of(history)
            assert await other.read("a", after=3, limit=20) == events_of(history)[3:23]
        await other.close()

    monkeypatch.setattr(commit.Committer, "_write", dying)
    namespace.run(work)


def test_a_chunk_that_is_lost_is_named(namespace: Any, mongodb: Any) -> None:
    async def work(store: Any) -> None:
        await grow(store, 20)
        with MongoClient(mongodb.url) as client:
            client["pyworkflow"][f"{namespace.name}.chunks"].delete_one({})
        with pytest.raises(CorruptLog, match="'a'"):
            await store.read("a")

    namespace.run(work)


def test_a_duplicate_in_somebody_elses_index_is_no_conflict(namespace: Any, mongodb: Any) -> None:
    async def work(store: Any) -> None:
        with MongoClient(mongodb.url) as client:
            runs = client["pyworkflow"][f"{namespace.name}.runs"]
            runs.create_index("workflow", unique=True, partialFilterExpression={"workflow": {"$gt": ""}})
        first, second = created("a", workflow="w"), created("b", workflow="w")
        answers = await store.commit([first, second])
        assert answers[0] == Committed("a", 1)
        assert isinstance(answers[1], Refused)
        assert await store.commit([created("a", event_id="rival")]) == [Conflict("a", 1)]

    namespace.run(work)


def test_a_namespace_of_newer_code_is_refused(namespace: Any, mongodb: Any) -> None:
    namespace.run(lambda store: store.open())
    with MongoClient(mongodb.url) as client:
        meta = client["pyworkflow"][f"{namespace.name}.meta"]
        meta.update_one({"_id": "namespace"}, {"$set": {"format": 99}})
        with pytest.raises(UnsupportedSchema, match="99"):
            namespace.run(lambda store: store.get("a"))
        meta.update_one({"_id": "namespace"}, {"$set": {"format": schema.FORMAT}})


@pytest.mark.timeout(120)
def test_a_user_without_the_right_to_make_indexes_gets_a_script_that_works(own_server: Any) -> None:
    server = own_server("mongodb", "--auth")
    with MongoClient(server.url) as admin:
        admin.admin.command("createUser", "root", pwd="p", roles=["root"])
    base = server.url.replace("mongodb://", "mongodb://root:p@")
    with MongoClient(base) as admin:
        find_and_write = {
            "resource": {"db": "pyworkflow", "collection": ""},
            "actions": ["find", "insert", "update", "remove"],
        }
        admin["pyworkflow"].command("createRole", "writer", privileges=[find_and_write], roles=[])
        admin["pyworkflow"].command("createUser", "u", pwd="p", roles=["writer"])
    url = server.url.replace("mongodb://", "mongodb://u:p@") + "&authSource=pyworkflow&namespace=n"

    async def opened(url: str) -> Any:
        from pyworkflow_core.plugins import open_storage

        async with open_storage(url) as store:
            return await store.commit([created("a")])

    with pytest.raises(ConfigurationError, match=r"mongosh:\n[^$]*n\.runs[^$]*createIndex"):
        asyncio.run(opened(url))
    asyncio.run(opened(base + "&namespace=n"))  # what the script does
    assert asyncio.run(opened(url)) == [Committed("a", 1)]


def test_a_position_that_the_oplog_no_longer_has_is_lost(replicated: Any) -> None:
    async def work(store: Any) -> None:
        await grow(store, 3)
        page = await store.feed(limit=100)
        name = page.position.partition(".")[0]
        for position in (f"{name}.s.1.1.0.", f"{name}.r.82.0"):
            with pytest.raises(FeedPositionLost, match="Begin again"):
                await store.feed(after=position, limit=10)
        assert len((await store.feed(limit=100)).events) == 4

    replicated.run(work)


def test_a_server_alone_declares_neither_feed_nor_push(namespace: Any, replicated: Any) -> None:
    async def declared(store: Any) -> tuple[bool, bool]:
        return store.capabilities.feed, store.capabilities.push

    assert namespace.run(declared) == (False, False)
    assert replicated.run(declared) == (True, True)
