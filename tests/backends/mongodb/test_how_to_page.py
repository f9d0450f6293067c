"""What the page on MongoDB, and the backend itself, tell administrators to do, done on real servers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import IndexModel, MongoClient

from pyworkflow_core.errors import ConfigurationError, StorageUnavailable, UnsupportedSchema
from pyworkflow_core.plugins import open_storage
from pyworkflow_core.storage import Committed
from pyworkflow_core.testing.appends import after, created
from pyworkflow_mongodb import MongoStorageBackend
from pyworkflow_mongodb.options import Options

PAGE = Path(__file__).parents[3] / "docs/how-to/mongodb-in-production.md"


def read_javascript(text: str) -> list[Any]:
    """The arguments of a call in mongosh; object literals as we write them are YAML, too."""
    plain = re.sub(r'NumberLong\("(-?\d+)"\)', r"\1", text)
    found = yaml.safe_load(f"[{plain}]")
    assert isinstance(found, list)
    return found


def page_calls(*methods: str) -> list[Any]:
    """The arguments of the calls of these methods on the page."""
    blocks = re.findall(r"^```js\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    statements = [each for block in blocks for each in re.split(r"\n(?=\w)", block.strip())]
    found = [re.fullmatch(r".*?\.(\w+)\(([^()]*)\)", each, re.DOTALL) for each in statements]
    assert all(found), statements
    return [
        argument for each in found if each and each[1] in methods for argument in read_javascript(each[2])
    ]


@pytest.fixture
def guarded(own_server: Any, tmp_path: Path) -> str:
    """A replica set that asks for passwords, by the URL of its administrator."""
    key = tmp_path / "key"
    key.write_text("c2VjcmV0" * 10)
    key.chmod(0o600)
    server = own_server("mongodb-replica", "--keyFile", str(key))
    with MongoClient(server.url) as client:
        client.admin.command("createUser", "root", pwd="p", roles=["root"])
    url: str = server.url
    return url.replace("mongodb://", "mongodb://root:p@").replace("/?", "/workflows?authSource=admin&")


def as_user(url: str, user: str, password: str) -> str:
    return url.replace("root:p@", f"{user}:{password}@").replace("authSource=admin", "authSource=workflows")


async def work(url: str, incarnation: str = "i1") -> None:
    """What a worker does."""
    async with open_storage(url) as store:
        first = created("a", wake_at=1, incarnation=incarnation)
        assert await store.commit([first]) == [Committed("a", 1)]
        (claim,) = await store.claim(owner="w", now=5, lease=10, limit=1)
        assert await store.extend(claim, until=50)
        append = first
        for head in range(2, 30):
            append = after(append.record)
            assert await store.commit([append]) == [Committed("a", head)]
        assert await store.release(claim)
        assert len(await store.read("a")) == 29
        page = await store.feed(limit=20)
        assert len(page.events) == 20
        assert len((await store.feed(after=page.position, limit=20)).events) == 9
        await store.wait(10_000)
        assert len(await store.list_runs()) == 1
        assert [line for line in await store.describe() if "replica set" in line]
        await store.delete("a", expected=29)
        assert await store.get("a") is None
        with pytest.raises(StorageUnavailable, match="not authorized"):
            await store.drop()  # type: ignore[attr-defined]


@pytest.mark.timeout(120)
def test_the_role_of_the_page_can_do_what_a_worker_must_and_no_more(guarded: str) -> None:
    (role,), (user,) = page_calls("createRole"), page_calls("createUser")
    settings = page_calls("adminCommand")
    assert len(settings) == 2
    with MongoClient(guarded) as client:
        database = client["workflows"]
        database.command("createRole", role.pop("role"), **role)
        database.command("createUser", user["user"], pwd=user["pwd"], roles=user["roles"])
        for command in settings:
            client.admin.command(command)
    url = as_user(guarded, "worker", "choose%20one")
    with pytest.raises(UnsupportedSchema, match="storage init"):
        asyncio.run(work(url + "&migrate=never"))
    with pytest.raises(ConfigurationError, match="no right to make the indexes"):
        asyncio.run(work(url))
    asyncio.run(_open(guarded))  # the administrator
    for migrate in ("never", "auto"):
        asyncio.run(work(f"{url}&migrate={migrate}", incarnation=migrate))


async def _open(url: str) -> None:
    async with open_storage(url):
        pass


@pytest.mark.timeout(120)
def test_the_script_for_an_administrator_makes_what_the_backend_makes(guarded: str) -> None:
    with MongoClient(guarded) as client:
        client["workflows"].command("createUser", "u", pwd="p", roles=["read"])
        with pytest.raises(ConfigurationError) as caught:
            asyncio.run(_open(as_user(guarded, "u", "p") + "&namespace=theirs"))
        _, _, script = str(caught.value).partition("mongosh:\n")
        script = re.sub(r"^found\.getCollection\((.*?)\)", r"\1", script, flags=re.M)
        for line in script.splitlines()[1:]:
            (name, method, arguments) = re.fullmatch(r'"(.*?)"\.(\w+)\((.*)\)', line).groups()  # type: ignore[union-attr]
            collection = client["workflows"][name]
            if method == "createIndex":
                keys, options = read_javascript(arguments)
                collection.create_indexes([IndexModel(list(keys.items()), **options)])
            else:
                collection.insert_one(*read_javascript(arguments))
        asyncio.run(_open(as_user(guarded, "u", "p") + "&namespace=theirs"))
        asyncio.run(_open(guarded + "&namespace=ours"))
        made = [client["workflows"][f"{each}.runs"].index_information() for each in ("theirs", "ours")]
        assert made[0] == made[1]
        metas = [client["workflows"][f"{each}.meta"].find_one() for each in ("theirs", "ours")]
        assert [meta.keys() for meta in metas if meta] == [{"_id": 0, "format": 0, "name": 0}.keys()] * 2


def test_the_options_of_the_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `?(\w+)`? \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert rows == [(name, str(getattr(Options(), name))) for name in Options.__struct_fields__]


def test_a_client_of_ones_own_is_given_as_the_page_does(mongodb: Any) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (line,) = re.findall(r"configure\(storage=(MongoStorageBackend\(.*\))\)$", text, re.M)

    async def main() -> None:
        from pymongo import AsyncMongoClient

        client: Any = AsyncMongoClient(mongodb.url)
        store = eval(line, {"MongoStorageBackend": MongoStorageBackend, "client": client})
        async with store:
            assert await store.get("a") is None
        async with store.__class__(client, database="workflows") as again:
            await again.drop()
        await client.close()

    asyncio.run(main())
