"""What a URL says, and which clients are taken."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pymongo
import pytest
from motor.motor_asyncio import AsyncIOMotorClient  # type: ignore[import-untyped]

from pyworkflow_core.errors import ConfigurationError, StorageUnavailable
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created
from pyworkflow_mongodb import MongoStorageBackend
from pyworkflow_mongodb.options import parse_url


def test_our_options_are_taken_out_of_the_url_and_the_drivers_stay() -> None:
    place = parse_url("mongodb://u:p%40@h1,h2:2/my%2Ddb?replicaSet=r&namespace=n&lanes=3&tls=true", {})
    assert place.url == "mongodb://u:p%40@h1,h2:2/my%2Ddb?replicaSet=r&tls=true"
    assert (place.database, place.given) == ("my-db", {"replicaset", "tls"})
    assert (place.options.namespace, place.options.lanes) == ("n", 3)


def test_a_url_without_a_database_or_options_is_complete() -> None:
    place = parse_url("mongodb+srv://cluster.example.net", {"driver": "motor"})
    assert (place.url, place.database) == ("mongodb+srv://cluster.example.net/", "")
    assert place.options.driver == "motor"


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://",
        "mongodb:h",
        "mongodb://h/?lanes=x",
        "mongodb://h/?lanes=0",
        "mongodb://h/?driver=other",
        "mongodb://h/?namespace=a.b",
        "mongodb://h/?migrate=maybe",
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_connected(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_storage(url)


def test_both_schemes_open_this_backend() -> None:
    for scheme in ("mongodb", "mongodb+srv"):
        assert isinstance(open_storage(f"{scheme}://host.example/db"), MongoStorageBackend)


def test_an_option_of_the_drivers_that_is_wrong_is_a_mistake_of_the_configuration(driver: str) -> None:
    store = open_storage(f"mongodb://h1,h2/?directConnection=true&driver={driver}")
    with pytest.raises(ConfigurationError, match="multiple hosts"):
        asyncio.run(store.open())


def test_a_server_that_is_not_there_is_unavailable_and_keeps_the_secret(driver: str) -> None:
    url = f"mongodb://u:s3cr3t@127.0.0.1:1/?serverSelectionTimeoutMS=100&driver={driver}"

    async def main() -> None:
        store = open_storage(url)
        with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:1") as caught:
            await store.get("a")
        assert "s3cr3t" not in f"{caught.value} {store!r}"
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("make", [pymongo.AsyncMongoClient, AsyncIOMotorClient])
def test_a_client_of_the_users_own_is_used_and_left_open(make: Any, namespace: Any, mongodb: Any) -> None:
    async def main() -> None:
        client = make(mongodb.url, readPreference="secondaryPreferred", w=0)
        store = MongoStorageBackend(client, namespace=namespace.name)
        assert await store.commit([created("a")]) == [Committed("a", 1)]
        await store.close()
        assert (await client.admin.command("ping"))["ok"] == 1
        closing = client.close()
        if closing is not None:
            await closing

    asyncio.run(main())
    assert namespace.run(lambda store: store.get("a")).head == 1


def test_a_client_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="neither"):
        MongoStorageBackend(object())


# What a client had on a loop that is closed can no longer be closed; PyMongo and asyncio say so.
@pytest.mark.filterwarnings(
    "ignore:Unclosed AsyncMongoClient:ResourceWarning", "ignore:unclosed:ResourceWarning"
)
def test_a_handle_serves_one_event_loop_after_another(namespace: Any, driver: str) -> None:
    store = namespace.open(driver=driver)
    append = created("a")
    for head in range(1, 4):
        assert asyncio.run(store.commit([append])) == [Committed("a", head)]
        append = after(append.record)

    async def main() -> None:
        assert len(await store.read("a")) == 3
        await store.close()

    asyncio.run(main())
    gc.collect()
