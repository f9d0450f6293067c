"""Tables, times and values for people. Nothing here prints what a program should read."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from rich.cells import cell_len, set_cell_size

GAP = "  "
_STYLES = {
    "completed": "32",
    "running": "36",
    "pending": "36",
    "suspended": "33",
    "failed": "31",
    "interrupted": "31",
    "cancelled": "35",
    "continued_as_new": "36",
}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: what stands above it.
        drop: on a narrow terminal columns with the highest number go first; one with 0 stays.
        least: width that it may be cut to; 0 if it is whole or not there.
        right: whether it is set flush right.
        status: whether its values are statuses, which have colours.
    """

    title: str
    drop: int = 0
    least: int = 0
    right: bool = False
    status: bool = False


def width() -> int | None:
    """Columns of the terminal; None for any number where nobody looks."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return max(shutil.get_terminal_size().columns, 20)
    return None


def colours() -> bool:
    """Whether stdout may have colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table that fits the terminal: it loses columns, and never the end of an id."""
    for line in table_lines(columns, list(rows), width()):
        print(line)


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
    """The lines of a table with titles, at most `room` wide as far as that goes."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    kept = list(range(len(columns)))
    widths = [max(cell_len(t) for t in [c.title, *(row[i] for row in cells)]) for i, c in enumerate(columns)]
    while room is not None and _total(widths, kept) > room:
        shrinkable = [i for i in kept if columns[i].least and widths[i] > columns[i].least]
        over = _total(widths, kept) - room
        spare = sum(widths[i] - columns[i].least for i in shrinkable)
        if spare >= over:
            while over > 0:
                widest = max((i for i in shrinkable if widths[i] > columns[i].least), key=lambda i: widths[i])
                widths[widest] -= 1
                over -= 1
            break
        droppable = [i for i in kept if columns[i].drop]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda i: columns[i].drop))
    titles = [c.title for c in columns]
    return [_line(columns, row, widths, kept, n == 0) for n, row in enumerate([titles, *cells])]


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + len(GAP) * (len(kept) - 1)


def _line(
    columns: Sequence[Column], row: Sequence[str], widths: list[int], kept: list[int], title: bool
) -> str:
    parts = []
    for i in kept:
        text = fit(row[i], widths[i])
        padding = " " * (widths[i] - cell_len(text))
        shown = style(text, "1") if title else status(text) if columns[i].status else text
        parts.append(padding + shown if columns[i].right else shown + padding)
    return GAP.join(parts).rstrip()


def fit(text: str, room: int) -> str:
    """The text, cut with an ellipsis where it is wider than `room`."""
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, max(room - 1, 0)).rstrip() + "…"


def one_line(text: str) -> str:
    """The text without line breaks and other control characters, which could move the cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else repr(c)[1:-1] for c in text)


def style(text: str, code: str) -> str:
    """The text in a style of the terminal, where there may be styles."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and colours() else text


def status(text: str) -> str:
    """A status in its colour."""
    return style(text, _STYLES.get(text, ""))


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago a moment was, or how far ahead it is: ``5m ago``, ``in 2h``."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    text = duration(abs(seconds), short=True)
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration(seconds: float, *, short: bool = False) -> str:
    """A length of time: ``350ms``, ``2.1s``, ``4m 12s``; only its first part if `short`."""
    if seconds < 1 and not short:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{int(seconds)}s" if short or seconds >= 10 else f"{seconds:.1f}s"
    units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
    for (name, size), (smaller, part) in pairwise(units):
        if seconds >= size:
            rest = int(seconds % size // part)
            return f"{int(seconds // size)}{name}" + (f" {rest}{smaller}" if rest and not short else "")
    return f"{int(seconds)}s"


def local(moment: datetime) -> str:
    """A moment in the zone of the machine, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
