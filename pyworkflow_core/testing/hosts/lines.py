"""A store in one journal of JSON lines, which several processes may use at once.

The state is the replay of the journal: whoever does anything takes the lock, reads the
lines that others have written, decides, writes its own lines, and replays those, too.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from ...errors import OutcomeUnknown, UnsupportedSchema
from ...events import Event
from ...record import RunRecord
from ...storage import Answer, Append, Capabilities, Claim, Committed, FeedPage, Page, RunQuery, Unknown
from .journal import Journal, storage_error
from .plain import PlainStore
from .state import State

FORMAT = 2
"""Format 1 wrote the bodies of events as text. From a header on, lines are of its format."""


class Header(Struct, frozen=True, tag_field="what", tag="header"):
    """The first line: the format of those that follow, and the store's own name."""

    format: int
    store: str


class Appended(Struct, frozen=True, tag_field="what", tag="append"):
    """One append, whole."""

    append: Append


class Leased(Struct, frozen=True, tag_field="what", tag="lease"):
    """A lease taken, extended or released."""

    run_id: str
    owner: str
    token: str
    until: int | None


class Deleted(Struct, frozen=True, tag_field="what", tag="delete"):
    """A run deleted."""

    run_id: str


Line = Header | Appended | Leased | Deleted


class LinesStore(PlainStore):
    """Keeps runs in a folder.

    Args:
        folder: where the journal is; made on first use.
    """

    capabilities = Capabilities(durable=True, multi_process=True, file_medium=True, feed=True)
    journal_class = Journal

    def __init__(self, folder: str) -> None:
        self._journal = self.journal_class(os.path.join(folder, "journal.jsonl"))
        self._state = State("")
        self._format = 0

    async def _open(self) -> None:
        try:
            self._journal.open()
        except OSError as error:
            raise storage_error(error, self._journal.path) from error
        with self._up_to_date():
            if self._format < FORMAT:
                header = Header(FORMAT, self._state.tag or secrets.token_hex(4))
                self._write([header])

    async def _close(self) -> None:
        self._journal.close()

    # ---- the journal ---------------------------------------------------------------

    @contextmanager
    def _up_to_date(self) -> Iterator[State]:
        """Hold the lock, with everything read that is in the journal."""
        with self._journal.locked():
            for data in self._journal.new_lines():
                self._replay(self._decode_line(data))
            yield self._state

    def _write(self, lines: Sequence[Line], *, sync: bool = True) -> None:
        """Write lines, and only then let the state follow."""
        self._journal.write([self._encode_line(line) for line in lines], sync=sync)
        for line in lines:
            self._replay(line)

    def _encode_line(self, line: Line) -> bytes:
        return msgspec.json.encode(line)

    def _decode_line(self, data: bytes) -> Line:
        try:
            line: Line
            if self._format == 1:
                line = msgspec.convert(self._lift(msgspec.json.decode(data)), type=Line)
            else:
                line = msgspec.json.decode(data, type=Line)
            return line
        except msgspec.MsgspecError as error:
            raise self._journal.damage(f"the line cannot be read: {error}") from error

    def _lift(self, line: Any) -> Any:
        """A line of format 1 as format 2 has it."""
        for event in line.get("append", {}).get("events", ()):
            event["body"] = base64.b64encode(event["body"].encode()).decode()
        return line

    def _replay(self, line: Line) -> None:
        """Do to the state what the line says."""
        state = self._state
        match line:
            case Header():
                self._begin_format(line)
            case Appended():
                if self._decide(state, line.append) is not None:
                    raise self._journal.damage("the append does not follow those before it")
                self._apply(state, line.append)
            case Leased():
                if (run := self._run(state, line.run_id)) is not None:
                    self._set_lease(run, line.owner, line.token, line.until)
            case Deleted():
                if (run := self._run(state, line.run_id)) is not None:
                    self._bury(state, run)

    def _begin_format(self, header: Header) -> None:
        if header.format > FORMAT:
            raise UnsupportedSchema(
                f"{self._journal.path} has format {header.format}, and this version reads up to {FORMAT}; "
                "use a newer one"
            )
        self._format, self._state.tag = header.format, header.store

    # ---- the log -------------------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        await asyncio.sleep(0)  # from here on nothing is awaited: it happens as a whole or not at all
        with self._up_to_date() as state:
            decided = [self._decide(state, append) for append in appends]
            lines = [Appended(a) for a, answer in zip(appends, decided, strict=True) if answer is None]
            answers = [
                self._committed(a) if answer is None else answer
                for a, answer in zip(appends, decided, strict=True)
            ]
            try:
                self._acknowledge(lines, answers)
            except OutcomeUnknown as error:
                return [Unknown(a.run_id, error) if isinstance(a, Committed) else a for a in answers]
        return answers

    def _acknowledge(self, lines: Sequence[Appended], answers: Sequence[Answer]) -> None:
        """Write what is new; what was there already has to be on the medium, too, before it is confirmed."""
        if any(isinstance(answer, Committed) for answer in answers):
            self._write(lines)

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        await asyncio.sleep(0)
        with self._up_to_date() as state:
            run = self._run(state, run_id)
            return [] if run is None else self._slice(run, after, limit)

    async def _get(self, run_id: str) -> RunRecord | None:
        await asyncio.sleep(0)
        with self._up_to_date() as state:
            run = self._run(state, run_id)
            return None if run is None else self._copy(run.record)

    async def _delete(self, run_id: str, expected: int) -> None:
        await asyncio.sleep(0)
        with self._up_to_date() as state:
            if self._deletable(state, run_id, expected) is not None:
                self._write([Deleted(run_id)])

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        await asyncio.sleep(0)
        with self._up_to_date() as state:
            return self._page(state, query, cursor, limit)

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        await asyncio.sleep(0)
        with self._up_to_date() as state:
            return self._feed_page(state, after, limit)

    # ---- claims --------------------------------------------------------------------

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        await asyncio.sleep(0)
        with self._up_to_date() as state:
            runs = self._pick(state, now, limit, queues, run_id)
            claims = [self._new_claim(run, owner, now + lease) for run in runs]
            self._write_leases([Leased(c.run_id, owner, c.token, c.until) for c in claims])
            return claims

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self._move_lease(claim, until)

    async def _release(self, claim: Claim) -> bool:
        return await self._move_lease(claim, None)

    async def _move_lease(self, claim: Claim, until: int | None) -> bool:
        await asyncio.sleep(0)
        with self._up_to_date() as state:
            held = self._held_run(state, claim) is not None
            if held:
                self._write_leases([Leased(claim.run_id, claim.owner, claim.token, until)])
            return held

    def _write_leases(self, lines: Sequence[Leased]) -> None:
        """A lease may be lost with the machine, since the expected sequence keeps truth: it is not synced."""
        if lines:
            self._write(lines, sync=False)
