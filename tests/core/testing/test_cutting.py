"""Cut and damaged copies of a log."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from pyworkflow_core.testing import Files
from pyworkflow_core.testing.cutting import choose_places, copy_bare, cut, flip, log_files, remove, sizes


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "store"
    (folder / "old").mkdir(parents=True)
    for name, text in {
        "log-2": b"abcdef",
        "log-1": b"abc",
        "index": b"",
        "lock": b"",
        "old/log-3": b"x",
    }.items():
        (folder / name).write_bytes(text)
    return Files(folder, "log-*", ("index*", "lock"))


def test_the_files_of_a_log_come_in_the_order_of_their_names(files: Files) -> None:
    assert [path.name for path in log_files(files)] == ["log-1", "log-2"]
    assert sizes(files) == {"log-1": 3, "log-2": 6}


def test_a_copy_has_all_but_what_is_derived(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "deep" / "other"
    other.mkdir(parents=True)
    (other / "index").write_text("of before")
    copy_bare(files, other)
    assert {str(p.relative_to(other)) for p in other.rglob("*") if p.is_file()} == {
        "log-1",
        "log-2",
        "old/log-3",
    }
    assert (files.folder / "index").exists()
    remove(other)
    remove(other)
    assert not other.exists()


def test_a_file_is_cut_and_a_bit_flipped(files: Files) -> None:
    path = log_files(files)[-1]
    cut(path, 4)
    flip(path, 1, 4)
    assert path.read_bytes() == b"afcd"


def test_places_are_all_of_them_or_a_sample_with_both_ends() -> None:
    assert choose_places(Random(0), 3, 6, 0) == [3, 4, 5, 6]
    some = choose_places(Random(0), 10, 1000, 5)
    assert (some[0], some[-1], some) == (10, 1000, sorted(set(some)))
    assert 5 <= len(some) <= 7
    assert choose_places(Random(0), 4, 4, 40) == [4]
