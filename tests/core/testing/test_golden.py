"""Tests of the golden history: what is written is found again, and what is not is named."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord, RunStatus
from pyworkflow_core.testing import LawBroken
from pyworkflow_core.testing.appends import created
from pyworkflow_core.testing.golden import WRITTEN, appends_of, same_as_written, write
from pyworkflow_core.testing.hosts.ram import RamStore


class Shortening(RamStore):
    """Loses the end of what it reads."""

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        return (await super()._read(run_id, after, limit))[:2]


class Older(RamStore):
    """Lists what it should no longer have."""

    async def _get(self, run_id: str) -> RunRecord | None:
        record = await super()._get(run_id)
        return record if record is None or record.wake_at is not None else created(run_id).record


@pytest.fixture
def name(tmp_path: Path) -> str:
    return str(tmp_path)


def test_the_history_is_found_as_it_was_written(name: str) -> None:
    async def main() -> None:
        async with RamStore(name) as store:
            await write(store)
        async with RamStore(name) as store:
            await same_as_written(store)

    asyncio.run(main())
    RamStore.forget(name)


@pytest.mark.parametrize("kind", [Shortening, Older])
def test_a_store_that_lost_something_is_no_golden_one(name: str, kind: type[RamStore]) -> None:
    async def main() -> None:
        async with RamStore(name) as store:
            await write(store)
        async with kind(name) as store:
            with pytest.raises(LawBroken, match="of an older store"):
                await same_as_written(store)

    asyncio.run(main())
    RamStore.forget(name)


def test_the_history_is_not_written_over_other_runs(name: str) -> None:
    async def main() -> None:
        async with RamStore(name) as store:
            await store.commit([created("a")])
            with pytest.raises(ValueError, match="needs an empty store"):
                await write(store)

    asyncio.run(main())
    RamStore.forget(name)


def test_the_history_has_every_status_and_stays_small() -> None:
    last = [appends_of(run)[-1] for run in WRITTEN]
    assert {append.record.status for append in last} == set(RunStatus) - {RunStatus.CONTINUED_AS_NEW}
    bodies = [event.body for run in WRITTEN for append in appends_of(run) for event in append.events]
    assert sum(map(len, bodies)) < 50_000


def test_a_command_writes_the_history_into_a_url(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyworkflow_core.testing.golden"]
    done = subprocess.run([*command, f"file://{tmp_path}/store"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"wrote {len(WRITTEN)} runs" in done.stdout
    assert (tmp_path / "store" / "journal-00000001.jsonl").stat().st_size > 10_000
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "usage" in again.stderr
