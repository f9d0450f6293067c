"""A storage URL as a subject: namespaces, other addresses, restarts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyworkflow_core.testing import Clock, NotChecked, UrlSubject
from pyworkflow_core.testing import subject as subject_module


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("toy://host:12/{namespace}", ("host", 12)),
        ("toy://user:pass@host/{namespace}", ("host", 99)),
        ("toy://user:p%40ss@[::1]:7/{namespace}", ("::1", 7)),
        ("toy:///folder/{namespace}", None),
        ("toy://a:1,b:2/{namespace}", None),
        ("toy:{namespace}", None),
    ],
)
def test_host_and_port_are_read_from_the_url(
    url: str, address: tuple[str, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UrlSubject, "default_port", 99)
    assert UrlSubject(url).address() == address


def test_a_handle_at_another_address_keeps_user_path_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def open_storage(url: str) -> Any:
        opened.append(url)
        yield None

    monkeypatch.setattr(subject_module, "open_storage", open_storage)

    async def main() -> None:
        subject = UrlSubject("toy://user:p%40ss@db:5/path/{namespace}?ssl=no")
        async with subject.open_at("laws_1", Clock(), "127.0.0.1", 4242):
            pass

    asyncio.run(main())
    assert opened == ["toy://user:p%40ss@127.0.0.1:4242/path/laws_1?ssl=no"]


def test_a_restart_is_the_command_that_was_given(tmp_path: Path) -> None:
    subject = UrlSubject("toy://host:1/{namespace}")
    assert asyncio.run(subject.restart()) is False
    subject.restart_command = f"touch {tmp_path}/restarted"
    assert asyncio.run(subject.restart()) is True
    assert (tmp_path / "restarted").exists()
    subject.restart_command = "echo no rights; exit 3"
    with pytest.raises(NotChecked, match="no rights"):
        asyncio.run(subject.restart())


def test_a_subject_shows_no_password() -> None:
    assert "secret" not in repr(UrlSubject("toy://me:secret@host/{namespace}"))
