"""Every built-in event type is emitted by something that users can do, and nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, start, step, workflow
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.payloads import PAYLOAD_CLASSES, EventType
from pyworkflow_core.storage import StorageBackend

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import work_off
from family_programs import PROGRAMS as FAMILIES
from feature_programs import all_programs
from feature_runs import all_records, run_program
from simulated_runs import make_engine
from storage_wrappers import Killed, KillingStorage

sys.path.pop(0)


@step(name="every_type.deadly", max_retries=0)
async def deadly() -> None:
    """Its process dies when it has begun, as the storage of the test has it."""


@workflow(name="every_type.poison", max_recovery_attempts=1)
async def poison() -> None:
    await deadly()


@step(name="every_type.stuck")
async def stuck() -> None:
    await asyncio.Event().wait()


@workflow(name="every_type.timed")
async def timed() -> str:
    try:
        async with asyncio.timeout(5):
            await stuck()
    except TimeoutError:
        await deadly()  # what is given up as the function ends is not recorded
        return "too late"
    return "in time"


async def types_in(storage: StorageBackend) -> set[str]:
    """The types of all events of all runs."""
    return {
        event.type for record in await all_records(storage) for event in await storage.read(record.run_id)
    }


async def types_of_deaths() -> set[str]:
    """What a run has in its log whose processes die, again and again."""
    storage = InMemoryStorageBackend()
    clock = VirtualClock(auto=True)
    make_engine(storage, clock)
    await start(poison, storage=storage, queue="default")
    for life in range(1, 4):
        # The second append of a process records that the step completed.
        killing = KillingStorage(storage, 2, acknowledged=False)
        engine = make_engine(killing, clock, life)
        with contextlib.suppress(Killed):
            await work_off(engine, clock)
        clock.advance(60_000_000)
    return await types_in(storage)


def test_every_built_in_type_is_emitted_and_every_emitted_type_is_built_in() -> None:
    async def main() -> set[str]:
        seen = await types_of_deaths()
        for program in all_programs().values():
            storage: StorageBackend = InMemoryStorageBackend()
            await run_program(storage, program)
            seen |= await types_in(storage)
        for family in [*FAMILIES, timed]:
            clock = VirtualClock(auto=True)
            storage = InMemoryStorageBackend()
            engine = make_engine(storage, clock, 1)
            await start(family, storage=storage, queue="default")
            await work_off(engine, clock)
            seen |= await types_in(storage)
        return seen

    # Who adds a type adds a program to `feature_programs` that emits it.
    assert asyncio.run(main()) == {str(member) for member in EventType}


def test_every_type_has_one_payload_class_which_documents_its_fields() -> None:
    assert [cls.TYPE for cls in PAYLOAD_CLASSES] == list(EventType)
    for cls in PAYLOAD_CLASSES:
        text: Any = cls.__doc__
        missing = [
            name for name in cls.__struct_fields__ if f"{name}:" not in text and f"`{name}`" not in text
        ]
        assert not missing, f"{cls.__name__} does not say what {missing} mean"


@pytest.mark.parametrize("cls", PAYLOAD_CLASSES, ids=lambda cls: cls.__name__)
def test_every_type_stands_on_the_reference_page(cls: Any) -> None:
    page = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "events.md"
    assert f"## `{cls.TYPE.value}`" in page.read_text(encoding="utf-8")
