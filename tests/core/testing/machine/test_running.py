"""Random programs find what is wrong, name its law, and print a short program that shows it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from hypothesis import configuration

from pyworkflow_core.storage import Capabilities, Claim, FeedPage, Position, StorageBackend
from pyworkflow_core.testing import PROFILES, Clock, LawBroken, Subject, UrlSubject, Verdict, run, teeth
from pyworkflow_core.testing.machine import run_programs
from pyworkflow_core.testing.machine.running import _home
from pyworkflow_core.testing.runner import look_at
from pyworkflow_memory.backend import InMemoryStorageBackend

QUICK = PROFILES["quick"]
FEW = msgspec.structs.replace(QUICK, examples=8)
CORRECT = "load_subject('pyworkflow_core.testing.hosts.subjects', None, 'RamSubject')"


def look(subject: Subject, seed: int = 1, **more: bool) -> list[LawBroken]:
    try:
        return run_programs(subject, QUICK, seed, look_at(subject), **more)[1]
    finally:
        subject.remove_folder()


FAULTS = [("LeasesOnConflict", 6), ("ForgetsGraves", 56)]
MORE_FAULTS = [
    ("OverwritesTheTail", 4),
    ("UndoesTheNeighbours", 7),
    ("RecognisesOnlyTheLast", 12),
    ("CachesLogs", 19),
    ("EndsLeasesLate", 22),
    ("ReleasesByOwner", 23),
    ("SortsNullsFirst", 27),
    ("RepeatsTheLast", 30),
]


@pytest.mark.parametrize(
    ("store", "law"), [*FAULTS, *(pytest.param(*fault, marks=pytest.mark.teeth) for fault in MORE_FAULTS)]
)
def test_a_fault_is_found_and_shown_by_a_short_program(store: str, law: int, tmp_path: Path) -> None:
    broken = {error.law: error for error in look(getattr(teeth, store)())}
    assert law in broken, f"found {sorted(broken)} instead"
    program = broken[law].program
    lines = program.partition("async def main")[2].partition("prove(")[0].strip().splitlines()[1:]
    assert len([line for line in lines if "place.open" not in line]) <= 9, program
    failed = run_text(tmp_path / "broken.py", program)
    assert failed.returncode == 1
    headline = failed.stderr.strip().splitlines()[-1]
    assert headline.startswith(f"pyworkflow_core.testing.broken.LawBroken: LAW {law} ("), failed.stderr
    assert broken[law].said.splitlines()[0] in headline
    passed = run_text(tmp_path / "correct.py", re.sub(r"load_subject\(.*?\)", CORRECT, program))
    assert (passed.returncode, passed.stderr) == (0, "")


def run_text(path: Path, program: str) -> subprocess.CompletedProcess[str]:
    path.write_text(program, encoding="utf-8")
    command = [sys.executable, "-X", "utf8", path.name]
    return subprocess.run(
        command, cwd=path.parent, capture_output=True, encoding="utf-8", check=False, timeout=60
    )


@pytest.mark.parametrize("template", ["memory://{namespace}", "file://FOLDER/{namespace}?segment_bytes=600"])
def test_a_correct_backend_breaks_no_law(template: str, tmp_path: Path) -> None:
    subject = UrlSubject(template.replace("FOLDER", str(tmp_path)))
    count, broken = run_programs(subject, FEW, 5, look_at(subject))
    subject.remove_folder()
    assert count >= FEW.examples
    assert [error.program for error in broken] == []


def test_each_broken_law_is_reported_with_a_program_of_its_own() -> None:
    broken = look(teeth.AcceptsTheFuture())  # type: ignore[attr-defined]
    assert [error.law for error in broken] == sorted({error.law for error in broken})
    assert len(broken) > 1
    assert all(f"law={error.law}" in error.program for error in broken)


def test_the_same_seed_finds_the_same() -> None:
    found = [look(teeth.OverwritesTheTail(), seed=4) for _ in range(2)]  # type: ignore[attr-defined]
    assert [error.program for error in found[0]] == [error.program for error in found[1]]


def test_nothing_is_printed_and_nothing_is_left_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    look(teeth.ForgetsGraves(), shrink=False)  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_no_program_is_run_for_laws_that_programs_cannot_break() -> None:
    subject = UrlSubject("memory://{namespace}")
    assert run_programs(subject, QUICK, 1, look_at(subject), laws=frozenset({8, 52})) == (0, [])


class ServerClock(InMemoryStorageBackend):
    """Judges due times by a clock of its own."""

    capabilities = Capabilities(clock="server", feed=True)

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        return await super()._claim(owner, time.time_ns() // 1000, lease, limit, queues, run_id)


class ServerClockSubject(Subject):
    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        async with ServerClock(namespace) as store:
            yield store


def test_a_backend_with_a_clock_of_its_own_is_not_asked_for_exact_moments() -> None:
    assert [error.program for error in look(ServerClockSubject())] == []


class HoldsBack(InMemoryStorageBackend):
    """Shows an event at the second look that could show it, as if another transaction were under way."""

    asked_for: ClassVar[set[tuple[str, str, str]]] = set()

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._name = name

    async def _feed(self, after: Position | None, limit: int) -> FeedPage:
        page = await super()._feed(after, limit)
        places = [(self._name, event.run_id, event.event_id) for event in page.events]
        new = [n for n, place in enumerate(places) if place not in self.asked_for]
        self.asked_for.update(places)
        return await super()._feed(after, new[0]) if new else page


class HoldsBackSubject(Subject):
    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        async with HoldsBack(namespace) as store:
            yield store


def test_a_feed_may_hold_events_back_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworkflow_core.testing.looks.PAUSE", 0.001)
    assert [error.program for error in look(HoldsBackSubject())] == []
    report = run(HoldsBackSubject(), profile="quick", seed=0, laws=(6, 10, 34, 35, 36, 37, 50, 56, 57))
    assert {result.verdict for result in report.results} == {Verdict.PASSED}


class Undeletable(InMemoryStorageBackend):
    """Forgets to delete."""

    async def _delete(self, run_id: str, expected: int) -> None:
        if (record := await self._get(run_id)) is not None and record.head != expected:
            raise ValueError("another head")


class UndeletableSubject(Subject):
    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        async with Undeletable(namespace) as store:
            yield store


def test_a_store_that_deletes_nothing_does_not_keep_the_suite_for_ever() -> None:
    assert 56 in {error.law for error in look(UndeletableSubject(), shrink=False)}


class Unreadable(InMemoryStorageBackend):
    """Answers a claim with nothing at all where there is none."""

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        return (await super()._claim(owner, now, lease, limit, queues, run_id)) or None  # type: ignore[return-value]


class UnreadableSubject(Subject):
    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        async with Unreadable(namespace) as store:
            yield store


def test_an_answer_of_no_known_shape_is_a_broken_law_and_no_crash() -> None:
    (broken,) = look(UnreadableSubject())
    assert broken.law == 53
    assert "an answer of claim that cannot be read: TypeError" in broken.said


def test_hypothesis_writes_where_it_did_before_once_the_last_of_overlapping_runs_has_ended(
    tmp_path: Path,
) -> None:
    def place() -> Path:
        return configuration.storage_directory().path

    before = place()
    one, other = _home(tmp_path / "one"), _home(tmp_path / "other")
    one.__enter__()
    assert place() == tmp_path / "one"
    other.__enter__()
    assert place() == tmp_path / "other"
    other.__exit__(None, None, None)
    assert place() == tmp_path / "one"
    other = _home(tmp_path / "other")
    other.__enter__()
    one.__exit__(None, None, None)
    assert place() == tmp_path / "other"
    other.__exit__(None, None, None)
    assert place() == before
