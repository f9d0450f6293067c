"""Bugs in what is kept of an event, and in what is handed out of a log."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from fnmatch import fnmatchcase
from typing import Any

from msgspec.structs import replace

from ...events import Event
from ...record import RunRecord
from ...storage import Append
from ..hosts.ram import RamStore
from ..hosts.state import Run, State


class CreatesRunsWhenAsked(RamStore):
    """Looks a run up with setdefault, so that asking for a run makes one."""

    async def _get(self, run_id: str) -> RunRecord | None:
        await asyncio.sleep(0)
        new = Run(RunRecord(run_id=run_id, incarnation="", head=0))
        return self._copy(self._state.runs.setdefault(run_id, new).record)


class RaisesForUnknownRuns(RamStore):
    """Indexes the dictionary of runs, so that reading a run that there is not is a KeyError."""

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        await asyncio.sleep(0)
        return self._slice(self._state.runs[run_id], after, limit)


class FloatsNumbers(RamStore):
    """Parses bodies with a JSON library that makes floats of all numbers."""

    def _keep_event(self, event: Event) -> Event:
        parsed = json.loads(event.body, parse_int=lambda text: int(float(text)))
        return replace(event, body=_dump(parsed))


class NormalisesText(RamStore):
    """Normalises text to NFC before it is stored."""

    def _keep_event(self, event: Event) -> Event:
        return replace(event, body=unicodedata.normalize("NFC", event.body.decode()).encode())


class ReordersKeys(RamStore):
    """Keeps bodies in a binary JSON column, which sorts the keys of objects."""

    def _keep_event(self, event: Event) -> Event:
        return replace(event, body=_dump(json.loads(event.body), sort_keys=True))


class CutsLongBodies(RamStore):
    """Keeps bodies in a TEXT column, which ends at 65,535 bytes."""

    def _keep_event(self, event: Event) -> Event:
        return replace(event, body=event.body[:65535])


class DecodesLeniently(RamStore):
    """Decodes bodies with a replacement character for whatever is no UTF-8."""

    def _keep_event(self, event: Event) -> Event:
        return replace(event, body=event.body.decode(errors="replace").encode())


class NumbersByTable(RamStore):
    """Numbers events by the counter of the table that all runs share."""

    def _add_events(self, state: State, run: Run, append: Append) -> None:
        for event in append.events:
            self._publish(state, append, event)
            run.events.append(replace(event, sequence=len(state.feed)))


class NumbersFromZero(RamStore):
    """Numbers events by their index in the list."""

    def _slice(self, run: Run, after: int, limit: int | None) -> list[Event]:
        events = super()._slice(run, after, limit)
        return [replace(event, sequence=after + n) for n, event in enumerate(events)]


class IncludesAfter(RamStore):
    """Reads from `after` on, that event included."""

    def _slice(self, run: Run, after: int, limit: int | None) -> list[Event]:
        return super()._slice(run, max(after - 1, 0), limit)


class CutsBeforeSkipping(RamStore):
    """Applies the limit before the filter on `after`."""

    def _slice(self, run: Run, after: int, limit: int | None) -> list[Event]:
        return run.events[:limit][after:]


class HandsOutItsLog(RamStore):
    """Hands out its own list of events, since that is quicker than a copy."""

    def _slice(self, run: Run, after: int, limit: int | None) -> list[Event]:
        return super()._slice(run, after, limit) if after or limit else run.events


class KeepsTheCallersRecord(RamStore):
    """Keeps the record that it is given: the struct is frozen, the dictionary in it is not."""

    def _set_record(self, run: Run, record: RunRecord) -> None:
        run.record = record


class HandsOutItsRecord(RamStore):
    """Hands out its own record: the struct is frozen, the dictionary in it is not."""

    async def _get(self, run_id: str) -> RunRecord | None:
        await asyncio.sleep(0)
        run = self._run(self._state, run_id)
        return None if run is None else run.record


class FoldsCase(RamStore):
    """Keeps ids in a column whose collation ignores case."""

    def _key(self, run_id: str) -> str:
        return run_id.casefold()


class NormalisesIds(RamStore):
    """Keeps ids on a file system that normalises names."""

    def _key(self, run_id: str) -> str:
        return unicodedata.normalize("NFC", run_id)


class ReadsByPrefix(RamStore):
    """Reads a run's rows by the prefix of a composed key, without a separator behind the id."""

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        await asyncio.sleep(0)
        runs = [self._state.runs[key] for key in sorted(self._state.runs) if key.startswith(run_id)]
        events = [event for run in runs for event in run.events if event.sequence > after]
        return events[:limit]


class TakesIdsForPatterns(RamStore):
    """Passes ids to a search that takes wildcards, unescaped."""

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        await asyncio.sleep(0)
        keys = sorted(key for key in self._state.runs if fnmatchcase(key, run_id))
        return self._slice(self._state.runs[keys[0]], after, limit) if keys else []


class CutsIds(RamStore):
    """Keeps ids in a column of 64 characters, which cuts longer ones."""

    def _key(self, run_id: str) -> str:
        return run_id[:64]


class StripsIds(RamStore):
    """Strips white space and control characters off ids, to be helpful."""

    def _key(self, run_id: str) -> str:
        return "".join(c for c in run_id if c.isprintable()).strip() or run_id


class MakesPathsOfIds(RamStore):
    """Makes a path of the id, and resolves it."""

    def _key(self, run_id: str) -> str:
        parts = [part for part in run_id.split("/") if part not in {"", ".", ".."}]
        return "/".join(parts) or run_id


class DropsUnknownTypes(RamStore):
    """Leaves out events of types that it has never heard of, so that readers need not care."""

    known = ("workflow_", "step_", "sleep_", "hook_", "laws.noted", "child_", "run_", "cancel")

    def _slice(self, run: Run, after: int, limit: int | None) -> list[Event]:
        events = [e for e in run.events if str(e.type).startswith(self.known)]
        return [e for e in events if e.sequence > after][:limit]


class LowersVersions(RamStore):
    """Writes its own schema version into every body, whatever is there."""

    def _keep_event(self, event: Event) -> Event:
        if event.version == 1:
            return event
        kind, _, at, data = json.loads(event.body)
        return replace(event, body=_dump([kind, 1, at, data]))


def _dump(value: Any, *, sort_keys: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys).encode()
