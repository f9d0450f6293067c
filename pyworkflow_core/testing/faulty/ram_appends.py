"""Bugs in how an append is decided and made, without any concurrency."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ...record import RunRecord
from ...sequencing import answer_moved
from ...storage import Answer, Append, Committed, Conflict, Refused
from ..hosts.ram import RamStore
from ..hosts.state import Run, State


class AnswersRowCount(RamStore):
    """Answers the number of rows that were inserted as the head."""

    def _committed(self, append: Append) -> Answer:
        return Committed(append.run_id, len(append.events))


class ReportsTheExpectedHead(RamStore):
    """Reports the head that the writer expected, not the one that there is."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        answer = super()._decide(state, append)
        return Conflict(append.run_id, append.expected) if isinstance(answer, Conflict) else answer


class OverwritesTheTail(RamStore):
    """Replaces the rows at an append's positions (INSERT OR REPLACE)."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        run = self._run(state, append.run_id)
        if run is not None and 0 < append.expected < run.record.head:
            del run.events[append.expected :]
            return None
        return super()._decide(state, append)


class AcceptsTheFuture(RamStore):
    """Compares with "greater" only, so that an append far ahead of the log is made."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        run = self._run(state, append.run_id)
        if run is not None and append.expected > run.record.head:
            return None
        return super()._decide(state, append)


class CreatesInTheMiddle(RamStore):
    """Creates a run that there is not, whatever its first event's number."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        if self._run(state, append.run_id) is None and not self._is_buried(state, append):
            return None
        return super()._decide(state, append)


class WakesOnConflict(RamStore):
    """Keeps wake times in a second table, which is written before the heads are compared."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        run = self._run(state, append.run_id)
        answer = super()._decide(state, append)
        if run is not None and isinstance(answer, Conflict):
            run.record = replace(run.record, wake_at=append.record.wake_at)
        return answer


class LeasesOnConflict(RamStore):
    """Takes the lease before the heads are compared."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        run = self._run(state, append.run_id)
        if run is not None and append.lease is not None:
            self._change_lease(run, append.lease)
        return super()._decide(state, append)


class InsertsWhatFits(RamStore):
    """Inserts row by row, and keeps what went in before, or after, the row that was there."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        answer = super()._decide(state, append)
        run = self._run(state, append.run_id)
        if run is not None and isinstance(answer, Conflict) and append.expected < run.record.head:
            run.events += [e for e in append.events if e.sequence > len(run.events)]
        return answer


class UndoesTheNeighbours(RamStore):
    """Makes a commit in one transaction, which a single conflict rolls back."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        state = self._state.copy()
        if any(isinstance(self._put(state, append), Conflict) for append in appends):
            heads = [(a.run_id, self._run(self._state, a.run_id)) for a in appends]
            return [Conflict(run_id, run.record.head if run else 0) for run_id, run in heads]
        return await super()._commit(appends, within)


class StopsAtTheFirstConflict(RamStore):
    """Leaves the loop over a commit's appends at the first conflict, and answers for all."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        answers: list[Answer] = []
        for append in appends:
            answers += await super()._commit([append], within)
            if isinstance(answers[-1], Conflict):
                break
        return answers + [self._committed(append) for append in appends[len(answers) :]]


class SortsItsAnswers(RamStore):
    """Collects what was made and what conflicted apart, and answers in that order."""

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        answers = await super()._commit(appends, within)
        return sorted(answers, key=lambda answer: not isinstance(answer, Committed))


class NeverRecognises(RamStore):
    """Takes every append behind the head for a conflict, also one that is there already."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        return Conflict(append.run_id, run.record.head)


class RecognisesOnlyTheLast(RamStore):
    """Recognises an append that is there only while nothing has come behind it."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        if append.record.head != run.record.head:
            return Conflict(append.run_id, run.record.head)
        return super()._answer_moved(run, append)


class AnswersThePresentHead(RamStore):
    """Answers an append that is there already with the head as it now is."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        answer = super()._answer_moved(run, append)
        return Committed(append.run_id, run.record.head) if isinstance(answer, Committed) else answer


class ComparesTheFirstId(RamStore):
    """Takes an append for one that is there if its first event is."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        if run.events[append.expected : append.expected + 1] == [append.events[0]]:
            return self._committed(append)
        return super()._answer_moved(run, append)


class LooksForIdsAnywhere(RamStore):
    """Takes an append for one that is there if the run has its event ids, wherever they are."""

    def _decide(self, state: State, append: Append) -> Answer | None:
        run = self._run(state, append.run_id)
        if run is not None and {e.event_id for e in append.events} <= {e.event_id for e in run.events}:
            return self._committed(append)
        return super()._decide(state, append)


class AppendsWhatIsMissing(RamStore):
    """Skips the events of an append that are there, writes the others, and calls it made."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        answer = super()._answer_moved(run, append)
        there = run.events[append.expected :]
        if isinstance(answer, Conflict) and there and there == list(append.events[: len(there)]):
            run.events += append.events[len(there) :]
            run.record = append.record
            return self._committed(append)
        return answer


class IgnoresBodies(RamStore):
    """Compares event ids only, so that another event of the same id counts as made."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        stored = run.events[append.expected : append.expected + len(append.events)]
        kept = [replace(e, body=s.body) for e, s in zip(append.events, stored, strict=False)]
        same = replace(append, events=(*kept, *append.events[len(kept) :]))
        return answer_moved(same, run.record.head, stored)


class CallsItAConflict(RamStore):
    """Answers an event id that is there with another body as if the writer had merely lost a race."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        answer = super()._answer_moved(run, append)
        return Conflict(append.run_id, run.record.head) if isinstance(answer, Refused) else answer


class OverwritesTheRecord(RamStore):
    """Upserts the record also where the append was there already, and so takes it back in time."""

    def _answer_moved(self, run: Run, append: Append) -> Answer:
        answer = super()._answer_moved(run, append)
        if isinstance(answer, Committed):
            run.record = replace(append.record, head=run.record.head)
        return answer


class StampsTheRecord(RamStore):
    """Lets the database set the time of the last change, by its own clock."""

    def _set_record(self, run: Run, record: RunRecord) -> None:
        super()._set_record(run, replace(record, updated_at=time.time_ns() // 1000))


class DropsEmptyColumns(RamStore):
    """Leaves columns alone whose new value is null (COALESCE)."""

    def _set_record(self, run: Run, record: RunRecord) -> None:
        wake_at = run.record.wake_at if record.wake_at is None else record.wake_at
        super()._set_record(run, replace(record, wake_at=wake_at))
