"""Folders are made beside processes that remove what is empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyworkflow_core.errors import StorageUnavailable
from pyworkflow_file.disk import Disk
from pyworkflow_file.folder import make_folder


class Contested(Disk):
    """Somebody removes the folder that was made, so many times, before it can be synced."""

    def __init__(self, path: Path, times: int) -> None:
        self._path = path
        self.left = times

    def sync_folder(self, path: str) -> None:
        if self.left and self._path.exists():
            self.left -= 1
            self._path.rmdir()
            raise FileNotFoundError(2, "No such file or directory", path)


def test_a_folder_whose_parent_is_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    disk = Contested(tmp_path / "above", 3)
    make_folder(str(tmp_path / "above" / "store"), disk)
    assert disk.left == 0
    assert (tmp_path / "above" / "store").is_dir()


def test_a_folder_whose_parent_is_removed_each_time_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"cannot use .*store: No such file"):
        make_folder(str(tmp_path / "above" / "store"), Contested(tmp_path / "above", 1000))
