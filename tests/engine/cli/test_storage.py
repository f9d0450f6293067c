"""`pyworkflow storage`: made once, brought up to date once, and looked at without a change."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Dialect, text

from pyworkflow import reset_config
from pyworkflow.cli import main
from pyworkflow_core.errors import UnsupportedSchema
from pyworkflow_core.plugins import open_storage, with_option
from pyworkflow_sql import migrate
from pyworkflow_sql.schema import Tables
from pyworkflow_sql.scripts import Call, Script
from pyworkflow_sql.statements import Statement

DATABASES = ("sqlite", "postgresql", "mariadb")
Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Runs a command of `pyworkflow storage` in this process, and returns what it prints."""

    def call(*words: str, code: int = 0) -> str:
        assert main(["storage", *words]) == code
        return "".join(capsys.readouterr())

    yield call
    reset_config()


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A place that nobody has used, removed at the end; its `kind` is a parameter of the test."""
    namespace = f"t_{secrets.token_hex(5)}"
    if kind == "file":
        yield f"file://{tmp_path}/runs?heads=100"
    elif kind == "sqlite":
        yield f"sqlite:///{tmp_path}/runs.db?namespace={namespace}"
    else:
        made = with_option(request.getfixturevalue(kind.replace("-", "_")).url, "namespace", namespace)
        yield made
        asyncio.run(drop(made))


async def drop(url: str) -> None:
    store: Any = open_storage(url)
    async with store:
        await store.drop()


@pytest.mark.parametrize("kind", ["file", "mongodb", *DATABASES])
def test_a_storage_is_made_by_init_and_by_nothing_else(said: Said, url: str, tmp_path: Path) -> None:
    before = sorted(os.listdir(tmp_path))
    for command in ("check", "migrate"):
        assert "'pyworkflow storage init' makes it" in said(command, "--storage", url, code=5)
    assert sorted(os.listdir(tmp_path)) == before

    never = f"{url}&migrate=never"
    made = json.loads(said("init", "--storage", never, "--json"))
    assert (made["done"], made["from"], made["to"]) == ("made", None, 1)
    assert json.loads(said("migrate", "--storage", never, "--json"))["done"] == "nothing"
    for command in ("init", "migrate"):
        assert "there was nothing to do" in said(command, "--storage", url)


@pytest.mark.parametrize("kind", ["file", "mongodb", *DATABASES])
def test_only_init_makes_what_the_url_forbids_to_make(said: Said, url: str) -> None:
    never = f"{url}&migrate=never"
    with pytest.raises(UnsupportedSchema, match="migrate=never") as caught:
        asyncio.run(count(never))
    assert (caught.value.found, caught.value.needed) == (0, 1)
    assert "made, with version 1" in said("init", "--storage", never)
    assert asyncio.run(count(never)) == 0


async def count(url: str) -> int:
    async with open_storage(url) as store:
        return len(await store.list_runs())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("file", ["/runs, in format 1", "durable: what", "a feed: yes"]),
        ("sqlite", ["SQLite 3.", "/runs.db", "synchronous=2", "tables of version 1", "made without a feed"]),
        ("postgresql", ["PostgreSQL 1", "fsync=on", "tables of version 1", "wakes idle workers: yes"]),
        ("mariadb", ["MariaDB 1", "innodb_flush_log_at_trx_commit=1", "tables of version 1"]),
        ("mongodb", ["MongoDB 6.", "a server alone", "format 1", "a feed: no"]),
        ("mongodb-replica", ["replica set 'rs0' of 1", "with pymongo", "a feed: yes"]),
    ],
)
def test_a_check_says_what_the_storage_is(said: Said, url: str, words: list[str]) -> None:
    said("init", "--storage", url)
    told = said("check", "--storage", url)
    assert " can be used\n" in told
    assert [word for word in [*words, "limits: event"] if word not in told] == [], told
    document = json.loads(said("check", "--storage", url, "--json"))
    assert document["capabilities"]["durable"] is True
    assert document["limits"]["commit_appends"] == 1000
    assert document["description"] == [line.strip() for line in told.splitlines()[1:]]


def test_memory_needs_no_making_and_says_that_it_is_weak(said: Said) -> None:
    for url in ("memory://", "sqlite://"):
        assert "is ready" in said("init", "--storage", url)
    told = said("check", "--storage", "memory://")
    assert "not durable" in told
    assert "used by one process only" in told
    assert "nothing to do" in said("migrate", "--storage", "memory://")


def add_a_column(tables: Tables, dialect: Dialect) -> Script[None]:
    yield Call(Statement(text(f"ALTER TABLE {tables.events.fullname} ADD COLUMN extra BIGINT"), dialect))


@pytest.mark.parametrize("kind", DATABASES)
def test_older_tables_are_brought_up_to_date_even_where_the_url_forbids_it(
    said: Said, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = "--storage", f"{url}&migrate=never"
    said("init", *storage)
    monkeypatch.setattr(migrate, "VERSION", 2)
    monkeypatch.setitem(migrate.STEPS, 1, (add_a_column, 1))
    assert "has version 1, and this code needs 2; 'pyworkflow storage migrate'" in said(
        "check", *storage, code=5
    )
    assert "brought from version 1 to 2" in said("migrate", *storage)
    assert "there was nothing to do" in said("migrate", *storage)
    assert "tables of version 2" in said("check", *storage)
    monkeypatch.setattr(migrate, "VERSION", 1)
    assert "tables of version 2, newer than this code's 1, which can use them" in said("check", *storage)


def test_data_of_newer_code_are_refused_and_left_alone(said: Said, tmp_path: Path) -> None:
    storage = "--storage", f"file://{tmp_path}/runs"
    said("init", *storage)
    note = tmp_path / "runs/FORMAT"
    note.write_text("pyworkflow file store 2\n")
    for command in ("check", "migrate", "init"):
        told = said(command, *storage, code=5)
        assert "has format 2; this version of pyworkflow reads up to 1" in told
    assert note.read_text() == "pyworkflow file store 2\n"


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_a_server_that_cannot_be_reached_is_named_without_the_password(said: Said, scheme: str) -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        told = said("check", "--storage", f"{scheme}://me:hunter2@{place}/runs", code=5)
    assert f"storage unavailable: cannot connect to {place}" in told
    assert "hunter2" not in told
