"""Running the suite as a function: what it finds, what it calls it, and what it leaves behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from planted import CarelessPlace, GonePlace, RamPlace, open_careless

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.storage import StorageBackend
from pyworkflow_core.testing import LAWS, Clock, NotChecked, Place, Verdict, check, known_failure, run, same
from pyworkflow_core.testing.broken import LawBroken
from pyworkflow_core.testing.hosts.ram import NAMESPACES, RamStore
from pyworkflow_core.testing.laws.registry import Check, all_checks
from pyworkflow_core.testing.profiles import PROFILES
from pyworkflow_core.testing.runner import make_check

LOG = [1, 4, 5]


def test_every_law_has_a_check_and_every_check_says_what_it_does() -> None:
    assert {check.law for check in all_checks() if not check.absent} == set(LAWS)
    names = [check.name for check in all_checks()]
    assert len(set(names)) == len(names)
    for one in all_checks():
        assert len(one.name.split("_")) >= 3, one.name
        assert (one.prove.__doc__ or "").strip(), one.name


def test_a_correct_store_passes_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    report = run(RamPlace(), profile="quick", laws=LOG)
    assert (report.score, report.exit_status, [r.law for r in report.results]) == ("1.0", 0, LOG)
    assert report.backend == "RamStore"
    assert not [name for name in NAMESPACES if name.startswith("laws_")]
    assert list(tmp_path.iterdir()) == []


def test_a_broken_law_is_named_with_a_program_that_shows_it(tmp_path: Path) -> None:
    report = asyncio.run(check(open_careless, profile="quick", laws=LOG, seed=3))
    assert [result.law for result in report.failed] == [4]
    (first, *_) = report.failed[0].broken
    assert "expects 1 where the head is" in first.said
    program = tmp_path / "again.py"
    program.write_text(first.program)
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 1
    assert f"LAW 4 (log): {first.said}" in done.stderr


def test_the_program_of_a_check_that_holds_says_so(tmp_path: Path) -> None:
    report = run(CarelessPlace(), profile="quick", laws=[4])
    text = report.failed[0].broken[0].program.replace("CarelessPlace", "RamPlace")
    program = tmp_path / "mended.py"
    program.write_text(text)
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stdout[:16]) == (0, "law 4 holds here"), done.stderr


def test_a_storage_that_cannot_be_reached_scores_none() -> None:
    report = run(GonePlace(), profile="quick", laws=LOG)
    assert (report.score, report.exit_status) == ("NONE", 5)
    assert "no server at nowhere:1" in report.problem
    assert {result.verdict for result in report.results} == {Verdict.SKIPPED}


def test_a_known_failure_stays_a_failure_and_one_that_holds_is_stale() -> None:
    careless = CarelessPlace()
    careless.known_failures = (known_failure(4, "stale appends pass", "bug 7"),)  # type: ignore[misc]
    report = run(careless, profile="quick", laws=LOG)
    assert (report.exit_status, report.failed[0].known, report.stale) == (1, "stale appends pass (bug 7)", ())
    correct = RamPlace()
    correct.known_failures = (known_failure(4, "stale appends pass", "bug 7"),)  # type: ignore[misc]
    report = run(correct, profile="quick", laws=LOG)
    assert (report.exit_status, report.failed, report.stale) == (1, (), (4,))


def test_a_url_must_say_where_the_namespace_goes_if_its_plugin_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyworkflow_core import plugins
    from pyworkflow_core.testing import subject

    found = plugins.FoundBackend("toy", "toy 1", plugins.BackendInfo(open="toy:open"))
    monkeypatch.setattr(subject, "find_backend", lambda url: found)
    with pytest.raises(ConfigurationError, match=r"\{namespace\}"):
        run("toy://user:secret@here/x")
    with pytest.raises(ConfigurationError) as caught:
        run("toy://user:secret@here/x")
    assert "secret" not in str(caught.value)


async def hangs(place: Place) -> None:
    """Never ends."""
    await asyncio.sleep(1000)


async def raises_a_stranger(place: Place) -> None:
    """Meets an exception that nobody expects."""
    raise KeyError("driver")


async def lacks_a_hook(place: Place) -> None:
    """Cannot be made."""
    raise NotChecked("define restart()")


async def opens_and_forgets(place: Place) -> None:
    """Leaves handles open."""
    stores = await place.open_many(3)
    other = await place.open(place.another_namespace())
    same(len({id(store) for store in [*stores, other]}), 4, "handles")


def one(function: object, seconds: float = 5) -> Check:
    return Check(1, function.__name__, function, (), seconds)  # type: ignore[attr-defined, arg-type]


def test_a_check_that_hangs_or_meets_a_strange_exception_breaks_its_law() -> None:
    with pytest.raises(LawBroken, match="no answer within"):
        make_check(one(hangs, 0.01), RamPlace(), PROFILES["quick"], 0)
    with pytest.raises(LawBroken, match="KeyError escaped: 'driver'"):
        make_check(one(raises_a_stranger), RamPlace(), PROFILES["quick"], 0)
    with pytest.raises(NotChecked, match="restart"):
        make_check(one(lacks_a_hook), RamPlace(), PROFILES["quick"], 0)


def test_handles_that_a_check_leaves_open_are_closed_and_its_namespaces_dropped() -> None:
    seen: list[RamStore] = []
    dropped: list[str] = []

    class Watched(RamPlace):
        @asynccontextmanager
        async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
            async with RamStore(namespace) as store:
                seen.append(store)
                yield store

        async def drop(self, namespace: str) -> None:
            assert all(store.closed for store in seen)
            dropped.append(namespace)
            await super().drop(namespace)

    make_check(one(opens_and_forgets), Watched(), PROFILES["quick"], 0)
    assert len(seen) == 4
    assert sorted(set(dropped)) == sorted(dropped)
    assert len(dropped) == 2
