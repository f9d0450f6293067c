"""A store that an earlier version wrote opens in this one.

Never change those that are there; for a new format write a new one with
``python tests/backends/file/test_golden.py``.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from pyworkflow_core.events import UnknownPayload, encode_body
from pyworkflow_core.payloads import WorkflowSuspended
from pyworkflow_core.record import evolve
from pyworkflow_core.storage import Committed, Conflict, LeaseChange
from pyworkflow_core.testing.appends import after, created
from pyworkflow_file import FileStorageBackend

GOLDEN = Path(__file__).with_name("golden")


def noted(data: str) -> bytes:
    return encode_body(UnknownPayload("test.noted", Raw(data.encode())), 0)


def history() -> list[Any]:
    """Commits of the golden store of format 1."""
    first = created("run_1", at=1_763_820_000_000_000, workflow="order", attributes={"kunde": "Ångström"})
    lease = LeaseChange("t", "me", 5)
    odd = created("a/b\t\u0301", at=1_763_820_000_000_001, workflow="wf", lease=lease)
    gone = created("gone", at=3, workflow="wf")
    second = after(first.record, noted('{"n":9007199254740993}'), noted('{"tab":\t[1.10, "é"]}'))
    sleeping = encode_body(WorkflowSuspended(wake_at=1_763_820_099_000_000), 0)
    third = after(second.record, sleeping, lease=LeaseChange("u", "you", 7))
    return [[first, odd, gone], [second], [third]]


@pytest.mark.parametrize("format_number", [1])
@pytest.mark.parametrize("index", ["kept", "lost"])
def test_a_golden_store_opens_with_every_byte_in_place(
    tmp_path: Path, format_number: int, index: str
) -> None:
    shutil.copytree(GOLDEN / f"format-{format_number}", tmp_path / "store")
    if index == "lost":
        (tmp_path / "store" / "index.sqlite").unlink()

    async def main() -> None:
        commits = history()
        async with FileStorageBackend(tmp_path / "store") as store:
            first, odd, gone = commits[0]
            assert await store.read("run_1") == [*first.events, *commits[1][0].events, *commits[2][0].events]
            assert await store.read(odd.run_id) == list(odd.events)
            assert [r.run_id for r in await store.list_runs()] == [odd.run_id, "run_1"]
            for record in await store.list_runs():
                assert record == evolve(None, await store.read(record.run_id), incarnation="i1")
            assert await store.commit([gone]) == [Conflict("gone", 0)]
            assert await store.commit(commits[2]) == [Committed("run_1", 4)]
            assert await store.commit([after(commits[2][0].record)]) == [Committed("run_1", 5)]
            assert await store.claim(owner="x", now=4, lease=1) == []

    asyncio.run(main())


def write(folder: Path) -> None:
    async def main() -> None:
        async with FileStorageBackend(folder, compact_at=0, segment_bytes=300) as store:
            for commit in history():
                await store.commit(commit)
            await store.delete("gone", expected=1)
            await store.compact()

    asyncio.run(main())


if __name__ == "__main__":
    write(GOLDEN / "format-1")
