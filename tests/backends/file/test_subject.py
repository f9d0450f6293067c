"""Tests of how the conformance suite reaches the file backend."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pyworkflow_core.testing import Clock
from pyworkflow_core.testing.appends import created
from pyworkflow_core.testing.golden import same_as_written
from pyworkflow_file.conformance import FileSubject


def test_a_namespace_is_a_folder_and_options_stay_behind_it(tmp_path: Path) -> None:
    assert FileSubject("file:///a/b?heads=1").url("n") == "file:///a/b/n?heads=1"
    assert FileSubject("file:///a/").url("n") == "file:///a/n"
    assert FileSubject("file:///a/{namespace}/b?heads=1").url("n") == "file:///a/n/b?heads=1"
    assert FileSubject(f"file://{tmp_path}").files("n").folder == tmp_path / "n"


def test_dropping_removes_what_was_made_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        subject = FileSubject(f"file://{tmp_path}/made/for_it")
        for name in ("n1", "n2"):
            async with subject.open(name, Clock()) as store:
                await store.commit([created("a")])
        await subject.drop("n1")
        assert [path.name for path in (tmp_path / "made" / "for_it").iterdir()] == ["n2"]
        await subject.drop("n2")
        await subject.drop("never")

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_the_golden_store_is_restored_into_a_namespace(tmp_path: Path) -> None:
    async def main() -> None:
        subject = FileSubject(f"file://{tmp_path}")
        async with subject.open_golden("n", Clock()) as store:
            await same_as_written(store)
        assert (tmp_path / "n" / "FORMAT").is_file()

    asyncio.run(main())
