"""Every feature works the same on every storage."""

from __future__ import annotations

import asyncio
import functools
import pathlib
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworkflow import InMemoryStorageBackend, open_storage

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from any_storage import STORAGES, namespaces_of
from feature_programs import Program, all_programs
from feature_runs import run_program

sys.path.pop(0)

PROGRAMS = all_programs()


async def outcome_on(url: str, program: Program) -> tuple[str, Any]:
    async with open_storage(url) as storage:
        return await run_program(storage, program)


@functools.cache
def expected_of(name: str) -> tuple[str, Any]:
    """What the program says of itself, or how it ends on memory when nothing happens."""
    program = PROGRAMS[name]
    if program.outcome is not None:
        return program.outcome  # type: ignore[no-any-return]

    async def calm() -> tuple[str, Any]:
        async with InMemoryStorageBackend() as storage:
            return await run_program(storage, program)

    return asyncio.run(calm())


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("kind", STORAGES)
def test_a_feature_works_on_every_storage_as_its_program_says(
    kind: str, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with namespaces_of(kind, request, tmp_path).fresh() as url:
        assert asyncio.run(outcome_on(url, PROGRAMS[name])) == expected_of(name)
