"""The demo on a storage of the user's: apart from their runs, and as often as they like."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import reset_config
from pyworkflow.cli import main
from pyworkflow.demo.place import own_url
from pyworkflow_core.plugins import open_storage, redact, with_option

Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Runs a command in this process, and returns what it prints."""

    def call(*words: str, code: int = 0) -> str:
        assert main([*words]) == code
        return "".join(capsys.readouterr())

    yield call
    reset_config()


@pytest.fixture
def demo(said: Said, files: Path, tmp_path: Path) -> Said:
    """Runs the demo on few files."""

    def call(*words: str, code: int = 0) -> str:
        return said("demo", str(files), "--output", str(tmp_path / "out"), *words, code=code)

    return call


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of 40 small files."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(40):
        (folder / str(number)).write_text(str(number))
    return folder


@pytest.fixture(params=["file", "sqlite", "postgresql", "mariadb", "redis", "mongodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A storage of each kind; what the demo makes there is removed."""
    if request.param == "file":
        yield f"file://{tmp_path}/runs"
        return
    namespace = f"t_{secrets.token_hex(5)}"
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/runs.db?namespace={namespace}"
        return
    made = with_option(request.getfixturevalue(request.param).url, "namespace", namespace)
    yield made
    asyncio.run(drop(own_url(made)))


async def drop(url: str) -> None:
    store: Any = open_storage(url)
    async with store:
        await store.drop()


def test_the_demo_keeps_its_claims_on_every_storage_and_again(
    said: Said, demo: Said, tmp_path: Path, url: str
) -> None:
    document = json.loads(demo("--storage", url, "--json"))
    assert (document["status"], set(document["claims"].values())) == ("completed", {True})
    assert document["counts"]["files"] == 40
    assert not (tmp_path / "out/runs").exists()

    story = demo("--storage", url)
    assert "NO " not in story
    (look,) = re.findall(r"look at   pyworkflow (.*)", story)
    *words, shown = shlex.split(look)
    own = own_url(url)
    assert shown == redact(own)
    assert ("in place of …" in story) == ("…" in shown)
    assert "workflow_completed" in said(*words, own)
    listed = json.loads(said("runs", "list", "--storage", own, "--json"))
    assert [run["queue"] for run in listed] == ["pyworkflow-demo"] * 2
    if own != url:
        assert "there is nothing" in said("storage", "check", "--storage", url, code=5)


def test_the_storage_of_the_environment_is_not_the_demos(
    demo: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYWORKFLOW_STORAGE", f"file://{tmp_path}/theirs")
    document = json.loads(demo("--json"))
    assert document["storage"] == f"file:{tmp_path}/out/runs"
    assert not (tmp_path / "theirs").exists()


def test_a_storage_of_one_process_is_refused(demo: Said) -> None:
    assert "memory:// is for one only" in demo("--storage", "memory://", code=2)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("file:runs", "file:runs"),
        ("sqlite:///x.db", "sqlite:///x.db?namespace=pyworkflow_demo"),
        ("sqlite:///x.db?namespace=shop&feed=1", "sqlite:///x.db?feed=1&namespace=shop_demo"),
        (f"sqlite:///x.db?namespace={'n' * 30}", f"sqlite:///x.db?namespace={'n' * 25}_demo"),
    ],
)
def test_the_demo_has_a_namespace_of_its_own_where_there_are_any(url: str, own: str) -> None:
    assert own_url(url) == own
    asyncio.run(open_storage(own).close())
