"""Options of storage URLs: read and set without knowing the backend."""

from __future__ import annotations

import pytest

from pyworkflow_core.plugins import option_of, with_option


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:runs", "file:runs?migrate=never"),
        ("file:runs?", "file:runs?migrate=never"),
        ("file:///a@b?heads=1", "file:///a@b?heads=1&migrate=never"),
        ("sqlite:///x.db?migrate=auto&namespace=a", "sqlite:///x.db?namespace=a&migrate=never"),
        ("postgresql://me:what?migrate=x@host/db", "postgresql://me:what?migrate=x@host/db?migrate=never"),
        ("postgresql://host/db?migrate_x=1", "postgresql://host/db?migrate_x=1&migrate=never"),
    ],
)
def test_an_option_is_set_once_and_nothing_else_changes(url: str, expected: str) -> None:
    assert with_option(url, "migrate", "never") == expected
    assert with_option(expected, "migrate", "never") == expected
    assert option_of(expected, "migrate") == "never"


def test_an_option_that_is_not_there_is_empty() -> None:
    assert option_of("postgresql://me:a?namespace=b@host/db", "namespace") == ""
    assert option_of("sqlite:///x.db?namespace=a&feed=1", "namespace") == "a"
