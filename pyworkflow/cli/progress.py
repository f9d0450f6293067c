"""Progress of long work, on stderr and only where a person looks at it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def shown_progress(storage: Any) -> Iterator[None]:
    """Show what `storage` says of its long work, such as making an index anew.

    A backend that has an attribute `on_progress` calls it with a label, the bytes done and
    the bytes there are.
    """
    if not sys.stderr.isatty() or not hasattr(storage, "on_progress"):
        yield
        return
    bars: dict[str, Any] = {}
    shown: list[Any] = []

    def on_progress(label: str, done: int, total: int) -> None:
        if not shown:  # rich is imported once there is something to show
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
            shown.append(Progress(*columns, console=Console(stderr=True), transient=True))
            shown[0].start()
        if label not in bars:
            bars[label] = shown[0].add_task(label, total=total)
        shown[0].update(bars[label], completed=done, total=total)
        if done >= total:
            shown[0].stop()
            shown.clear()
            bars.clear()

    before, storage.on_progress = storage.on_progress, on_progress
    try:
        yield
    finally:
        storage.on_progress = before
        for progress in shown:
            progress.stop()
