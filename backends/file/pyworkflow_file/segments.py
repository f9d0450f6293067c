"""The journal's files: their names, generations and sizes.

``journal-00000003.jsonl`` is segment 3. Compaction writes segment 3 anew as generation 1,
``journal-00000003-0001.jsonl``, before it removes the old file.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from pyworkflow_core.errors import CorruptLog

_NAME = re.compile(r"journal-(\d{8})(?:-(\d{4}))?\.jsonl")


class Place(NamedTuple):
    """A place between two lines of the journal; places compare in journal order.

    Attributes:
        segment: number of the segment, from 1.
        offset: bytes before it in the segment's file.
    """

    segment: int
    offset: int


def segment_name(number: int, generation: int) -> str:
    """The file name of a segment."""
    return f"journal-{number:08d}{f'-{generation:04d}' if generation else ''}.jsonl"


def list_segments(folder: str) -> dict[int, list[int]]:
    """Segment numbers and the generations there are of each, both rising.

    Raises:
        CorruptLog: a segment between two others is missing.
    """
    found: dict[int, list[int]] = {}
    for name in os.listdir(folder):
        if match := _NAME.fullmatch(name):
            found.setdefault(int(match[1]), []).append(int(match[2] or 0))
    for number in range(1, max(found, default=0)):
        if number not in found:
            path = os.path.join(folder, segment_name(number, 0))
            raise CorruptLog(
                f"{path} is missing; restore the whole folder from a backup", location=f"{path}:0"
            )
    return {number: sorted(found[number]) for number in sorted(found)}


def damage(path: str, offset: int, what: str) -> CorruptLog:
    """The error for damage in a journal file."""
    text = f"{path}: {what} at byte {offset}. Nothing was changed; restore the folder from a backup."
    return CorruptLog(text, location=f"{path}:{offset}")
