"""Cuts and flips bytes in copies of a file-like store's log."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from .subject import Files

_MOST = 4000


def log_files(files: Files) -> list[Path]:
    """The files of the log, in the order of their names; appends go to the last."""
    return sorted(files.folder.glob(files.log))


def sizes(files: Files) -> dict[str, int]:
    """Size of each file of the log, by its name within the folder."""
    return {str(path.relative_to(files.folder)): path.stat().st_size for path in log_files(files)}


def copy_bare(files: Files, to: Path) -> None:
    """Make `to` a copy of the store's folder without what is derived from the log."""
    remove(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    derived = {path for glob in files.derived for path in files.folder.glob(glob)}
    shutil.copytree(
        files.folder,
        to,
        symlinks=True,
        ignore=lambda folder, names: [name for name in names if Path(folder, name) in derived],
    )


def remove(folder: Path) -> None:
    """Remove a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def cut(path: Path, size: int) -> None:
    """Let the file end after `size` bytes."""
    with path.open("r+b") as file:
        file.truncate(size)


def flip(path: Path, at: int, mask: int) -> None:
    """Flip the bits of `mask` in the byte at `at`."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def choose_places(random: Random, start: int, end: int, wanted: int) -> list[int]:
    """So many places from `start` up to `end`, both among them; every one if `wanted` is 0."""
    places = range(start, end + 1)
    count = min(len(places), wanted or _MOST)
    return sorted({start, end, *random.sample(places, count)}) if places else []
