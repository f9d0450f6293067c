"""What the demo claims, counted from the log and from the marks outside it, and how it is shown."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pyworkflow_core.events import Event, decode_bodies
from pyworkflow_core.payloads import StepCompleted, StepStarted

from ..cli.events import describe
from ..cli.render import duration, fit, one_line, style, width
from .files import Found
from .workflow import MARK_BYTES, manifest_file

_STEP = "checksum"


class Outcome(Struct, frozen=True, kw_only=True):
    """What happened.

    Attributes:
        run_id: the run.
        files: files there are, and so steps.
        status: the run's status at the end.
        before: its log when the process had been killed.
        after: its log at the end.
        marks_before: number of each step executed before the kill.
        marks_after: number of each step executed after it.
        seconds: how long the first and the second process took.
        skipped: files left out, by reason.
    """

    run_id: str
    files: int
    status: str
    before: list[Event]
    after: list[Event]
    marks_before: list[int]
    marks_after: list[int]
    seconds: tuple[float, float]
    skipped: dict[str, int]

    def counts(self) -> dict[str, int]:
        """The numbers that the claims are about."""
        started, completed = steps_of(self.before)
        again = set(self.marks_after) & set(self.marks_before)
        return {
            "files": self.files,
            "executed_before_kill": len(self.marks_before),
            "completed_before_kill": len(completed),
            "under_way_at_kill": len(started - completed),
            "executed_after_kill": len(self.marks_after),
            "executed_twice_under_way": len(again - completed),
            "executed_twice_although_completed": len(set(self.marks_after) & completed),
        }

    def claims(self) -> dict[str, bool]:
        """Each claim, and whether it held."""
        started, completed = steps_of(self.before)
        at_the_end = [key for event in self.after if (key := completed_step(event)) is not None]
        everything = set(range(1, self.files + 1))
        before, after = self.marks_before, self.marks_after
        return {
            "the run completed after the kill": self.status == "completed",
            "no completed step ran twice": not completed & set(after),
            "only steps under way at the kill ran again": set(before) & set(after) <= started - completed,
            "no process ran a step twice": len(set(before)) == len(before) and len(set(after)) == len(after),
            "every file has one completed step": sorted(at_the_end) == sorted(everything),
            "the log before the kill is the beginning of the log now": self.after[: len(self.before)]
            == self.before,
        }

    @property
    def good(self) -> bool:
        """Whether every claim held."""
        return all(self.claims().values())


def completed_step(event: Event) -> int | None:
    """The number of the checksum step that this event completes; None for any other event."""
    payload = event.payload
    return payload.ordinal if isinstance(payload, StepCompleted) and payload.step == _STEP else None


def count_completed(events: Sequence[Event]) -> int:
    """How many checksum steps these events complete."""
    return len(steps_of(events)[1])


def steps_of(events: Sequence[Event]) -> tuple[set[int], set[int]]:
    """Numbers of the checksum steps that were started, and that were completed."""
    started: set[int] = set()
    completed: set[int] = set()
    for envelope in decode_bodies([event.body for event in events]):
        payload = envelope.data
        if isinstance(payload, StepStarted) and payload.step == _STEP:
            started.add(payload.ordinal)
        elif isinstance(payload, StepCompleted) and payload.step == _STEP:
            completed.add(payload.ordinal)
    return started, completed


def marks_of(path: Path) -> list[int]:
    """The marks that are there: a number for each execution of a step."""
    text = path.read_bytes()
    whole = len(text) - len(text) % MARK_BYTES
    return [int(line) for line in text[:whole].split()]


class Printer:
    """Tells the story as it happens; with `as_json` only its numbers at the end."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """Print a line of the story."""
        if not self.as_json:
            print(text, flush=True)

    def begin(self, source: Path, found: Found, run_id: str) -> None:
        """Say what is to be done."""
        left_out = ", ".join(f"{count} {_plural(reason, count)}" for reason, count in found.skipped.items())
        self.say(
            f"{_files(len(found.names))} below {one_line(str(source))}"
            + (f"; skipped {left_out}" if left_out else "")
        )
        self.say(f"run {run_id}: make the checksum of each, one step a file\n")

    def killed(self, pid: int, seconds: float, log: list[Event], marks: list[int]) -> None:
        """Say what the first process left behind."""
        started, completed = steps_of(log)
        self._title(1, f"Process {pid} worked for {duration(seconds)}, and was killed with SIGKILL.")
        under_way = len(started - completed)
        self.say(
            f"   Its log holds {len(log)} events: {len(completed)} steps completed, {under_way} under way."
        )
        self._ends(log)

    def resumed(self, pid: int, outcome: Outcome) -> None:
        """Say what the second process did."""
        seconds = duration(outcome.seconds[1])
        self._title(2, f"Process {pid} took the run up; {seconds} later it was {outcome.status}.")
        self.say(f"   The log holds {len(outcome.after)} events now. After the kill:")
        self._ends(outcome.after[len(outcome.before) :])

    def conclude(self, outcome: Outcome, folder: Path, storage: str) -> None:
        """Print counts, claims and what to do next."""
        counts, claims = outcome.counts(), outcome.claims()
        if self.as_json:
            document: dict[str, Any] = {
                "run_id": outcome.run_id,
                "folder": str(folder),
                "storage": storage,
                "status": outcome.status,
            }
            document |= {"counts": counts, "claims": claims, "skipped": outcome.skipped}
            document |= {"events": len(outcome.after), "seconds": [round(s, 3) for s in outcome.seconds]}
            print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
            return
        self._title(3, "Each execution of a step left a mark outside the log. They say:")
        for name, count in counts.items():
            self.say(f"   {name.replace('_', ' '):<36}{count:>8}")
        self.say()
        for claim, held in claims.items():
            self.say(f"   {style('yes', '32') if held else style('NO ', '31')}  {claim}")
        self.say(f"\ntook      {duration(sum(outcome.seconds))}")
        self.say(f"manifest  {manifest_file(folder)}")
        if outcome.files:
            tool = "sha256sum" if shutil.which("sha256sum") else "shasum -a 256"
            self.say(f"check it  {tool} -c {shlex.quote(str(manifest_file(folder)))}")
        else:
            self.say("          (empty, since there are no files; sha256sum finds nothing to check)")
        self.say(f"look at   pyworkflow events {outcome.run_id} --storage {shlex.quote(storage)}")
        if "…" in storage:
            self.say("          (with what you gave in place of …, which is not shown)")

    @contextlib.contextmanager
    def progress(self, total: int) -> Iterator[Callable[[int], None]]:
        """A bar that moves while the block runs, where a person looks at it."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda done: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = TextColumn("steps completed"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda done: bar.update(task, completed=done)

    def _title(self, number: int, text: str) -> None:
        self.say(style(f"{number}  {text}", "1"))

    def _ends(self, log: list[Event]) -> None:
        room = width() or 110
        shown = log if len(log) <= 6 else [*log[:3], None, *log[-3:]]
        for event in shown:
            if event is None:
                self.say("          …")
                continue
            text = f"{event.sequence:>8}  {event.type!s:<18}  {describe(str(event.type), event.data)}"
            self.say(fit(one_line(text), room))
        self.say()


def _files(count: int) -> str:
    return f"{count} file" + ("" if count == 1 else "s")


def _plural(noun: str, count: int) -> str:
    if count == 1:
        return noun
    first, _, rest = noun.partition(" ")
    return f"{first}s {rest}" if first == "link" else f"{noun}s"
