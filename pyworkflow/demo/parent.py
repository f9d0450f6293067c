"""The process that watches: it starts the work, kills it half way, and has it taken up again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pyworkflow_core.errors import ConfigurationError, WorkflowError
from pyworkflow_core.events import Event
from pyworkflow_core.ids import IdSource
from pyworkflow_core.storage import StorageBackend

from .files import Found, default_folder, find_files
from .place import URL_VARIABLE, name_of, own_url, storage_of
from .report import Outcome, Printer, count_completed, marks_of
from .workflow import marks_file, names_file

_MARKER = "this-is-a-pyworkflow-demo"
_LOOK = 0.02
_GUARD = 100


def run_demo(folder: Path | None, output: Path, *, url: str | None = None, as_json: bool = False) -> int:
    """Run the demo and print what it shows.

    Args:
        folder: whose files to take; None for Python's own library.
        output: where to write.
        url: the storage; None for a folder in the output.
        as_json: print numbers as JSON, and nothing else.

    Returns:
        0 if every claim held, otherwise 1.

    Raises:
        ConfigurationError: a folder or a storage that cannot be used.
        StorageError: the storage cannot be reached.
    """
    source = folder or default_folder()
    if not source.is_dir():
        raise ConfigurationError(f"{str(source)!r} is not a folder")
    printer = Printer(as_json)
    _prepare(output)
    found = find_files(source, leave_out=output, library=folder is None)
    names_file(output).write_bytes(b"".join(name + b"\0" for name in found.names))
    marks_file(output).touch()
    own = None if url is None else own_url(url)
    outcome = asyncio.run(_demo(source, output.resolve(), found, own, printer))
    printer.conclude(outcome, output, name_of(output, own))
    return 0 if outcome.good else 1


def _prepare(output: Path) -> None:
    """Make the folder, or empty one that an earlier demo made."""
    try:
        if output.exists():
            inside = list(output.iterdir())
            if inside and not (output / _MARKER).exists():
                raise ConfigurationError(
                    f"{str(output)!r} is not empty, and not of an earlier demo; choose another with --output"
                )
            shutil.rmtree(output)
        output.mkdir(parents=True)
        (output / _MARKER).touch()
    except OSError as error:
        raise ConfigurationError(f"{str(output)!r} cannot be written: {error.strerror}") from error


async def _demo(source: Path, folder: Path, found: Found, url: str | None, printer: Printer) -> Outcome:
    files = len(found.names)
    run_id = IdSource().run_id()
    half = files // 2
    hold_after = half + min(_GUARD, files // 4) if files else -1
    async with storage_of(folder, url) as storage:
        if not storage.capabilities.multi_process:
            raise ConfigurationError(
                f"the demo kills a process and goes on in another, and {name_of(folder, url)} is for one only"
            )
        printer.begin(source, found, run_id)
        watch = _Watch(storage, run_id, files, printer)
        began = time.monotonic()
        with _child("start", folder, run_id, hold_after, url) as first:
            # Where there is hardly a step to complete, kill it while it executes the first.
            await watch.until(lambda: watch.completed >= max(half, 0) and watch.events > 1, first)
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
        killed = time.monotonic()
        before = await storage.read(run_id)
        marks_before = marks_of(marks_file(folder))
        printer.killed(first.pid, killed - began, before, marks_before)
        with _child("resume", folder, run_id, -1, url) as second:
            await watch.until(lambda: second.poll() is not None, second)
        ended = time.monotonic()
        after = await storage.read(run_id)
        marks = marks_of(marks_file(folder))
        record = await storage.get(run_id)
    outcome = Outcome(
        run_id=run_id,
        files=files,
        status=str(record.status) if record is not None else "lost",
        before=before,
        after=after,
        marks_before=marks_before,
        marks_after=marks[len(marks_before) :],
        seconds=(killed - began, ended - killed),
        skipped=found.skipped,
    )
    printer.resumed(second.pid, outcome)
    return outcome


class _Watch:
    """Reads the log as it grows, from another process than the one that writes it."""

    def __init__(self, storage: StorageBackend, run_id: str, files: int, printer: Printer) -> None:
        self.storage = storage
        self.run_id = run_id
        self.files = files
        self.printer = printer
        self.completed = 0
        self.events = 0

    async def until(self, reached: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
        with self.printer.progress(self.files) as show:
            while True:
                over = child.poll() is not None
                await self._read()
                show(self.completed)
                if reached():
                    break
                if over:
                    raise WorkflowError(
                        f"the demo's process ended by itself, with exit code {child.returncode}"
                    )
                await asyncio.sleep(_LOOK)
        if child.returncode not in {None, 0}:
            raise WorkflowError(f"the demo's process failed, with exit code {child.returncode}")

    async def _read(self) -> None:
        new: list[Event] = await self.storage.read(self.run_id, after=self.events)
        self.events += len(new)
        self.completed += count_completed(new)


@contextlib.contextmanager
def _child(
    task: str, folder: Path, run_id: str, hold_after: int, url: str | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the demo. It is gone at the end, whatever happens."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "pyworkflow.demo.child",
        task,
        str(folder),
        run_id,
        str(hold_after),
    ]
    # In a process group of its own: Ctrl-C is for us, and we end the child.
    environment = {name: text for name, text in os.environ.items() if name != URL_VARIABLE}
    if url is not None:
        environment[URL_VARIABLE] = url
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
