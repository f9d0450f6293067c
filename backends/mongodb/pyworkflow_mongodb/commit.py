"""Commits: appends as one bulk write of compare-and-set updates, and what became of each.

A bulk's answer only counts. Where the count is not that of the appends, the runs are read back, and
event ids tell which append is there.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Sequence

from pymongo import InsertOne
from pymongo.errors import BulkWriteError, PyMongoError

from pyworkflow_core.errors import LimitExceeded, StorageError
from pyworkflow_core.sequencing import answer_moved
from pyworkflow_core.storage import Answer, Append, Committed, Conflict, Refused, Unknown

from . import faults
from .documents import Document, chunk_key
from .namespace import Collections
from .reading import LOG_FIELDS, Slice, read_slice
from .sending import send
from .writing import TAIL_BYTES, Tail, Write, tail_of, write

_KNOWN_TAILS = 4096
_TRIES = 12
_STATE_FIELDS = {**LOG_FIELDS, "record": 1}
_VERDICT_FIELDS = {**_STATE_FIELDS, "dead": 1}


class Committer:
    """Answers appends, and remembers the tails of the runs that it wrote last.

    What it remembers is a hint for the size of tails only: an update compares incarnation and head, and
    these tell the tail.

    Args:
        collections: where to write.
    """

    def __init__(self, collections: Collections) -> None:
        self._collections = collections
        self._tails: OrderedDict[str, Tail] = OrderedDict()

    async def commit(self, appends: Sequence[Append]) -> list[Answer]:
        """Answer each append, in order.

        Raises:
            StorageError: nothing was written.
        """
        answers: dict[str, Answer] = {}
        for turn in range(_TRIES):
            left = [append for append in appends if append.run_id not in answers]
            if not left:
                break
            if turn:
                # A majority may not yet have what the comparison has seen.
                await asyncio.sleep(random.random() * 0.002 * 2 ** min(turn, 8))
            await self._try(left, answers, first=turn == 0)
        lost = StorageError("the run moved at every try; submit the append again")
        return [answers.get(append.run_id) or Unknown(append.run_id, lost) for append in appends]

    def forget(self, run_id: str) -> None:
        """Forget what is known of a run."""
        self._tails.pop(run_id, None)

    async def _try(self, appends: Sequence[Append], answers: dict[str, Answer], *, first: bool) -> None:
        try:
            tails = {append.run_id: self._tail_before(append) for append in appends}
            await self._look_up(appends, tails)
            writes = [write(append, tails[append.run_id]) for append in appends]
            await self._copy_full_tails(writes)
            missed = await self._write(writes, answers)
        except PyMongoError as error:
            if first:
                raise faults.typed(error, "a commit") from error
            _unknown(appends, answers, error)
            return
        if missed:
            try:
                await self._resolve(missed, answers)
            except (PyMongoError, StorageError) as error:
                _unknown(missed, answers, error)

    # ---- what is known of tails --------------------------------------------------------

    def _tail_before(self, append: Append) -> Tail | None:
        tail = self._tails.get(append.run_id)
        return tail if tail is not None and _is_before(tail, append) else None

    async def _look_up(self, appends: Sequence[Append], tails: dict[str, Tail | None]) -> None:
        """Read the tails of runs that are not known."""
        names = [append.run_id for append in appends if append.expected and tails[append.run_id] is None]
        if not names:
            return
        collections = self._collections
        what = {"_id": {"$in": names}, "head": {"$exists": True}}
        for document in await collections.find(collections.runs, what, fields=_STATE_FIELDS):
            tail = tail_of(document)
            tails[document["_id"]] = tail
            self._remember(document["_id"], tail)
        for append in appends:
            known = tails[append.run_id]
            if known is not None and not _is_before(known, append):
                tails[append.run_id] = None  # it will not be committed

    def _remember(self, run_id: str, tail: Tail | None) -> None:
        if tail is None or tail.size > TAIL_BYTES:
            self._tails.pop(run_id, None)  # rather read it again than keep so much
            return
        self._tails[run_id] = tail
        self._tails.move_to_end(run_id)
        while len(self._tails) > _KNOWN_TAILS:
            self._tails.popitem(last=False)

    # ---- writing -----------------------------------------------------------------------

    async def _copy_full_tails(self, writes: Sequence[Write]) -> None:
        """Make chunks of tails that are full. They hold committed events, so nobody can take them wrongly."""
        inserts = [
            InsertOne(
                {
                    "_id": chunk_key(w.append.run_id, full.incarnation, full.head, len(full.events)),
                    "events": full.events,
                }
            )
            for w in writes
            if (full := w.full) is not None
        ]
        if not inserts:
            return
        collections = self._collections
        try:
            await collections.do(collections.chunks.bulk_write, inserts, ordered=False)
        except BulkWriteError as error:
            # Somebody copied it before, and lost the comparison or is about to: it is the same chunk.
            wrong = [e for e in error.details.get("writeErrors", []) if not faults.is_our_duplicate(e)]
            if wrong or error.details.get("writeConcernErrors"):
                raise

    async def _write(self, writes: Sequence[Write], answers: dict[str, Answer]) -> list[Append]:
        """Make the updates; returns the appends whose answers are still to be found."""
        try:
            sent = await send(self._collections, writes)
        except PyMongoError as error:
            if faults.is_unsent(error) or faults.is_forbidden(error):
                raise
            _unknown([w.append for w in writes], answers, error)
            return []
        missed = []
        for index, w in enumerate(writes):
            if index in sent.refused:
                error_of = _refusal(w, sent.refused[index])
                if error_of is None:
                    missed.append(w.append)
                else:
                    answers[w.append.run_id] = error_of
            elif index in sent.made:
                answers[w.append.run_id] = Committed(w.append.run_id, w.append.record.head)
                self._remember(w.append.run_id, w.tail)
            else:
                missed.append(w.append)
        return missed

    # ---- what became of it ---------------------------------------------------------------

    async def _resolve(self, appends: Sequence[Append], answers: dict[str, Answer]) -> None:
        """Read back the runs of appends. The bulk has waited for the durability of what is found now."""
        collections = self._collections
        names = [append.run_id for append in appends]
        found = await collections.find(collections.runs, {"_id": {"$in": names}}, fields=_VERDICT_FIELDS)
        documents = {document["_id"]: document for document in found}
        for append in appends:
            answer = await self._verdict(append, documents.get(append.run_id))
            if answer is not None:
                answers[append.run_id] = answer

    async def _verdict(self, append: Append, document: Document | None) -> Answer | None:
        """The answer to an append that may not be there; None if it is to be tried again."""
        run_id, expected = append.run_id, append.expected
        if document is None or "head" not in document:
            self.forget(run_id)
            deleted = document is not None and append.incarnation in document["dead"]
            return Conflict(run_id, 0) if expected or deleted else None
        self._remember(run_id, tail_of(document))
        head = document["head"]
        if document["inc"] != append.incarnation:
            return answer_moved(append, head, [])
        if head <= expected:
            return None if head == expected else Conflict(run_id, head)
        upto = min(head, append.record.head)
        stored = await read_slice(self._collections, document, Slice(run_id, expected, upto))
        if len(stored) < upto - expected:
            return None  # deleted meanwhile
        return answer_moved(append, head, stored)


def _is_before(tail: Tail, append: Append) -> bool:
    return (tail.head, tail.incarnation) == (append.expected, append.incarnation)


def _refusal(refused: Write, found: Document) -> Answer | None:
    """The answer to an append whose update was refused; None if its run was there already."""
    append = refused.append
    if faults.is_our_duplicate(found):
        return None
    if faults.is_too_large(found) and refused.tail is None:
        return None  # behind a tail that nobody looked at: it may fit behind a chunk
    if faults.is_too_large(found):
        text = f"run {append.run_id!r}: the document would be larger than MongoDB's 16 MiB"
        return Refused(append.run_id, LimitExceeded(text))
    return Refused(append.run_id, StorageError(f"run {append.run_id!r}: {found.get('errmsg')}"))


def _unknown(appends: Sequence[Append], answers: dict[str, Answer], error: Exception) -> None:
    for append in appends:
        answers[append.run_id] = Unknown(append.run_id, error)
