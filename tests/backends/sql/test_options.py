"""URLs and options: ours are taken, the driver's are left, and neither shows a password."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from pyworkflow_core.errors import ConfigurationError, StorageUnavailable
from pyworkflow_core.plugins import find_backend, list_backends, open_storage

SECRET = "s3cr3t!"
QUOTED = "s3cr3t%21"


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("sqlite:///x.db", "sqlite"),
        ("sqlite+aiosqlite:///x.db", "sqlite"),
        ("postgresql://h/d", "postgresql"),
        ("postgresql+asyncpg://h/d", "postgresql"),
        ("mysql+asyncmy://h/d", "mysql"),
        ("mariadb://h/d", "mariadb"),
    ],
)
def test_each_scheme_has_its_backend(url: str, scheme: str) -> None:
    assert find_backend(url).scheme == scheme
    assert open_storage(url).url.database in {"x.db", "d"}


def test_every_sql_backend_is_listed_and_usable_here() -> None:
    found = {b.scheme: b.problem for b in list_backends()}
    assert {found[name] for name in ("sqlite", "postgresql", "mysql", "mariadb")} == {""}


def test_options_of_ours_are_taken_out_of_the_url() -> None:
    store: Any = open_storage(
        "postgresql://u@h:1/d?namespace=ours&pool_size=3&push=0&ssl=require&command_timeout=5"
    )
    assert (store.options.namespace, store.options.pool_size, store.options.push) == ("ours", 3, False)
    assert dict(store.url.query) == {"ssl": "require", "command_timeout": "5"}
    assert store._driver_options == {"ssl": "require", "command_timeout": 5.0}
    assert not store.capabilities.push


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///x.db?namespace=Upper", "lower-case"),
        ("sqlite:///x.db?namespace=a;drop", "lower-case"),
        ("sqlite:///x.db?migrate=perhaps", "auto"),
        ("sqlite:///x.db?timeout=soon", "a number"),
        ("sqlite:///x.db?feed=maybe", "1 or 0"),
        ("sqlite://host/x.db", "absolute"),
        ("postgresql+psycopg://h/d", "asyncpg"),
        ("mysql+pymysql://h/d", "asyncmy"),
        ("postgresql://h/d?timeout=soon", "a number"),
        ("postgresql://h/d?poolsize=5", "did you mean 'pool_size'"),
        ("postgresql://h/d?password=s3cr3t%21&hurry=s3cr3t%21", "no option 'hurry'|an option 'hurry'"),
        ("postgresql://h/d?host=a:1&host=b", "ports are required"),
        ("mysql://h/d?connect_timeout=soon", "a whole number"),
        ("mysql://h/d?name_space=x", "did you mean 'namespace'"),
        (f"postgresql://u:{QUOTED}@h:port/d", "not a URL"),
        (f"postgresql+psycopg://u:{QUOTED}@h/d", "asyncpg"),
    ],
)
def test_an_option_that_cannot_work_is_refused_with_a_reason(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_storage(url)
    assert SECRET not in str(caught.value)
    assert QUOTED not in str(caught.value)


def test_options_of_the_driver_reach_it_as_what_they_are() -> None:
    store: Any = open_storage("postgresql://h/d?timeout=2.5&statement_cache_size=0&passfile=/x&direct_tls=1")
    assert store._driver_options == {"timeout": 2.5, "statement_cache_size": 0, "direct_tls": True}
    assert dict(store._driver_url.query) == {"passfile": "/x"}
    store = open_storage("mysql://h/d?connect_timeout=3&read_timeout=9&program_name=orders")
    assert store._driver_options == {"connect_timeout": 3, "read_timeout": 9}
    assert dict(store._driver_url.query) == {"program_name": "orders"}


def test_a_server_that_does_not_answer_is_named_and_given_up_in_time() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            for url in (
                f"postgresql://h/d?host=127.0.0.1:{port}&host=127.0.0.1:{port}&timeout=0.2&push=0",
                f"mysql://127.0.0.1:{port}/d?connect_timeout=1",
            ):
                with pytest.raises(StorageUnavailable, match=f"cannot connect to 127.0.0.1:{port}"):
                    await open_storage(url).open()

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_password_is_shown_neither_by_a_handle_nor_by_its_engine(scheme: str) -> None:
    store: Any = open_storage(f"{scheme}://u:{QUOTED}@h/d")
    assert SECRET not in repr(store) + str(store)
    assert SECRET not in repr(store.make_engine())


def test_an_unknown_option_given_by_name_is_an_error() -> None:
    from pyworkflow_sql.sqlite import SqliteStorageBackend

    with pytest.raises(TypeError, match="no option 'nmespace'"):
        SqliteStorageBackend("sqlite://", nmespace="x")
    assert SqliteStorageBackend("sqlite:///x.db?namespace=a", namespace="b").options.namespace == "b"


def test_the_backends_are_where_their_neighbours_are() -> None:
    import pyworkflow.storage.sql
    import pyworkflow_sql

    for name in pyworkflow_sql.__all__:
        assert getattr(pyworkflow.storage.sql, name) is getattr(pyworkflow_sql, name)
        assert getattr(pyworkflow_sql, name).__name__ == name
    for module in (pyworkflow.storage.sql, pyworkflow_sql):
        assert not hasattr(module, "OracleStorageBackend")
