"""A disk that fails: which calls do, how, and that nothing else is touched."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Iterator
from errno import EIO, ENOSPC
from pathlib import Path

import pytest

from pyworkflow_core.testing.disk import failing_disk


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_a_full_disk_takes_a_part_of_a_write_and_refuses_the_next(tmp_path: Path, descriptor: int) -> None:
    with failing_disk(tmp_path, ENOSPC, after=1) as disk:
        assert os.write(descriptor, b"1234") == 4
        assert disk.failures == 0
        assert os.write(descriptor, b"abcd") == 2
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                os.write(descriptor, b"cd")
        os.fsync(descriptor)
        os.ftruncate(descriptor, 5)
        assert disk.failures == 3
    assert (tmp_path / "file").read_bytes() == b"1234a"
    assert os.write(descriptor, b"x") == 1


def test_a_full_disk_takes_no_new_file_and_opens_old_ones(tmp_path: Path, descriptor: int) -> None:
    with failing_disk(tmp_path, ENOSPC, after=0):
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "new").write_text("x")
        with pytest.raises(OSError, match="No space left"):
            os.open(tmp_path / "new", os.O_CREAT | os.O_WRONLY)
        assert (tmp_path / "file").read_text() == ""
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("times", [1, None])
def test_a_broken_disk_fails_writes_syncs_and_truncations(
    tmp_path: Path, descriptor: int, times: int | None
) -> None:
    calls = (
        lambda: os.write(descriptor, b"1234"),
        lambda: os.pwrite(descriptor, b"1234", 0),
        lambda: os.fsync(descriptor),
        lambda: os.ftruncate(descriptor, 0),
    )
    for number, call in enumerate(calls):
        with failing_disk(tmp_path, EIO, after=number, times=times) as disk:
            for before in calls[:number]:
                before()
            with pytest.raises(OSError, match="Input/output error"):
                call()
            assert disk.failures == 1
            if times is not None:
                call()


def test_what_open_writes_is_seen(tmp_path: Path) -> None:
    with failing_disk(tmp_path, EIO, after=1) as disk:
        with pytest.raises(OSError, match="Input/output error"), (tmp_path / "log").open("a") as file:
            file.write("a line\n")
        assert disk.failures > 0
    assert (tmp_path / "log").read_text() == ""


def test_other_folders_and_pipes_are_left_alone(tmp_path: Path, descriptor: int) -> None:
    (tmp_path / "store").mkdir()
    reading, writing = os.pipe()
    with failing_disk(tmp_path / "store", EIO, after=0) as disk:
        os.write(descriptor, b"1234")
        (tmp_path / "beside").write_text("x")
        os.write(writing, b"1")
        assert disk.failures == 0
    os.close(reading)
    os.close(writing)


def test_python_is_as_before_at_the_end(tmp_path: Path) -> None:
    def calls() -> list[object]:
        return [os.write, os.pwrite, os.fsync, os.open, builtins.open, io.open]

    before = calls()
    with failing_disk(tmp_path, EIO, after=0):
        assert not set(calls()) & set(before)
    assert calls() == before
