"""The demo's workflow: one step makes the checksum of one file.

Every execution of that step leaves a mark in a file outside the log. So the log, which says
what completed, can be held against what really ran.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path

from pyworkflow import step, workflow

from .files import from_text, manifest_line, to_text

BATCH = 50
PAGE = 500
SKIPPED = "skipped: "
MARK_BYTES = 10


class Place:
    """Where this process works; set before a run begins.

    Attributes:
        folder: the demo's folder.
        hold_after: a step with a higher number waits to be killed. The process that is going
            to be killed has it, so that it can never get to the end first.
    """

    folder = Path()
    hold_after: int | None = None


def names_file(folder: Path) -> Path:
    """The list of the files, each ended by a NUL."""
    return folder / "files"


def marks_file(folder: Path) -> Path:
    """The marks: the number of a step for each time that it was executed."""
    return folder / "executions"


def manifest_file(folder: Path) -> Path:
    """The manifest."""
    return folder / "manifest.sha256"


def read_names(folder: Path) -> list[bytes]:
    """The list of the files."""
    return names_file(folder).read_bytes().split(b"\0")[:-1]


@workflow
async def checksum_manifest(files: int) -> dict[str, int]:
    """Make the checksum of every file, a batch at a time, and write the manifest."""
    sums: list[str] = []
    while True:
        names = await list_files(len(sums), PAGE)
        for first in range(0, len(names), BATCH):
            batch = names[first : first + BATCH]
            number = len(sums) + 1
            sums += await asyncio.gather(*(checksum(number + i, name) for i, name in enumerate(batch)))
        if len(sums) >= files:
            return await write_manifest(sums)


@step
def list_files(first: int, count: int) -> list[str]:
    """One page of the list of files."""
    names = read_names(Place.folder)
    if not names:
        _hold_if(0)
    return [to_text(name) for name in names[first : first + count]]


@step
def checksum(number: int, name: str) -> str:
    """The SHA-256 of one file."""
    _mark(number)
    _hold_if(number)
    try:
        with open(from_text(name), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{SKIPPED}{error.strerror}"


@step
def write_manifest(sums: list[str]) -> dict[str, int]:
    """Write the manifest as a whole: a crash leaves none, or all of it."""
    names = read_names(Place.folder)
    good = [
        (digest, name) for digest, name in zip(sums, names, strict=True) if not digest.startswith(SKIPPED)
    ]
    target = manifest_file(Place.folder)
    draft = target.with_suffix(".draft")
    draft.write_bytes(b"".join(manifest_line(digest, name) for digest, name in good))
    draft.replace(target)
    return {"files": len(good), "skipped": len(sums) - len(good)}


def _mark(number: int) -> None:
    file = os.open(marks_file(Place.folder), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, b"%9d\n" % number)
    finally:
        os.close(file)


def _hold_if(number: int) -> None:
    parent = os.getppid()
    while Place.hold_after is not None and number > Place.hold_after:
        time.sleep(0.05)
        if os.getppid() != parent:  # nobody is left who would kill us
            os._exit(1)
