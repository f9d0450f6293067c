"""Checks of a file-like store: logs that are cut or damaged, disks that are full or fail."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from errno import EIO, ENOSPC
from pathlib import Path
from typing import Any

from msgspec import Struct

from ...errors import CorruptLog, StorageClosed, StorageUnavailable, UnsupportedSchema
from ...storage import Answer, Append, Committed, Refused, StorageBackend, Unknown
from ..broken import LawBroken, NotChecked, holds, same
from ..cutting import choose_places, copy_bare, cut, flip, log_files, remove, sizes
from ..histories import committed, count_stored, grown
from ..place import Place
from ..subject import Files
from .crash import next_append
from .registry import proves

_MOST_CALLS = 40


class Mark(Struct, frozen=True):
    """A moment in the writing of a log.

    Attributes:
        sizes: of the log's files.
        counts: appends of each run.
    """

    sizes: dict[str, int]
    counts: list[int]


class Written(Struct, frozen=True):
    """A log that was written and closed.

    Attributes:
        histories: each run's appends; all of them were acknowledged.
        files: where it lies.
        marks: how things stood before the first commit and after each one.
    """

    histories: list[list[Append]]
    files: Files
    marks: list[Mark]

    @property
    def last(self) -> Path:
        """The file that appends go to."""
        return log_files(self.files)[-1]

    def size_at(self, mark: Mark, path: Path) -> int:
        """Size of one of the log's files at a moment; 0 before there was one."""
        return mark.sizes.get(str(path.relative_to(self.files.folder)), 0)

    def tail(self, commits: int) -> int:
        """Where the last so many commits begin in the last file."""
        start = self.size_at(self.marks[-1 - commits], self.last)
        # A file that is made in its full size does not show where commits begin.
        return start if start < self.last.stat().st_size else 0

    def floor(self, size: int) -> list[int]:
        """Appends of each run that lie before the place `size` of the last file."""
        return [m for m in self.marks if self.size_at(m, self.last) <= size][-1].counts

    def copy(self, files: Files, path: Path) -> Path:
        """Copy the log without what is derived from it; the copy of its file `path`."""
        copy_bare(self.files, files.folder)
        return files.folder / path.relative_to(self.files.folder)


def files_of(place: Place, namespace: str) -> Files:
    """Where a namespace lies.

    Raises:
        NotChecked: the subject does not tell.
    """
    files = place.subject.files(namespace)
    if files is None:
        raise NotChecked("define files(namespace) on the subject: the folder, and a glob of the log in it")
    return files


async def write_log(place: Place) -> Written:
    """Write a small log of many commits, and close it."""
    store = await place.open()
    files = files_of(place, place.namespace)
    histories = [grown("a", 1, 2, 1, 3, 1, 2, 1), grown("b", 2, 1, 2, 1, 1, 1, 2), grown("é/1")]
    marks = [Mark(sizes(files), [0, 0, 0])]
    for number in range(8):
        batch = [history[number] for history in histories if number < len(history)]
        same(await store.commit(batch), committed(batch), "a commit")
        marks.append(Mark(sizes(files), [min(number + 1, len(history)) for history in histories]))
    await place.close(store)
    if not log_files(files):
        raise NotChecked(f"no file in {files.folder} matches the log's glob {files.log!r}")
    return Written(histories, files, marks)


# ---- cuts ------------------------------------------------------------------------------


@proves(41, seconds=900)
async def a_log_cut_within_its_tail_opens_as_whole_appends(place: Place) -> None:
    """Wherever the last commits are cut off, what lies before is there, in whole appends."""
    log = await write_log(place)
    other = place.another_namespace()
    files = files_of(place, other)
    size = log.last.stat().st_size
    for at in choose_places(place.random, log.tail(3), size, place.profile.bytes):
        cut(log.copy(files, log.last), at)
        when = f"the last file of the log was cut at byte {at} of {size}"
        try:
            store = await place.open(other)
            counts = [await count_stored(store, history, when) for history in log.histories]
        except CorruptLog as error:
            raise LawBroken(f"{when}, and the torn end is taken for damage: {error}") from error
        said = f"{when}: appends of each run, at least {log.floor(at)} of which lie before the cut"
        holds(
            all(n >= least for n, least in zip(counts, log.floor(at), strict=True)), f"{said}: got {counts}"
        )
        await place.close(store)
    remove(files.folder)


@proves(42, needs=("file_medium",), seconds=900)
async def appending_goes_on_after_a_cut(place: Place) -> None:
    """After the end of the log was cut off, appends are committed, and there after another opening."""
    log = await write_log(place)
    other = place.another_namespace()
    files = files_of(place, other)
    size = log.last.stat().st_size
    for at in choose_places(place.random, log.tail(1), size, max(1, place.profile.bytes // 2)):
        cut(log.copy(files, log.last), at)
        when = f"the last file of the log was cut at byte {at} of {size}"
        try:
            store = await place.open(other)
            further = [await next_append(store, history[0].run_id) for history in log.histories]
        except CorruptLog:
            holds(at < size, f"{when}, which is its end, and it is CorruptLog")
            continue  # the business of law 41
        same(await store.commit(further), committed(further), f"{when}, then appended to")
        await place.close(store)
        await check_reads(place, other, further, f"{when}, then appended to and opened again")
    remove(files.folder)


async def check_reads(place: Place, namespace: str, appends: list[Append], when: str) -> None:
    """Open the store once more, and break the law unless the appends can be read."""
    try:
        store = await place.open(namespace)
        for append in appends:
            events = await store.read(append.run_id, after=append.expected)
            same(events, list(append.events), f"{when}: read")
    except CorruptLog as error:
        raise LawBroken(f"{when}, and the log is damaged: {error}") from error
    await place.close(store)


# ---- damage ----------------------------------------------------------------------------


@proves(43, seconds=900)
async def damage_before_the_tail_is_found_and_named(place: Place) -> None:
    """A bit flipped before the last commits is `CorruptLog`, or changes nothing; no other data come of it."""
    log = await write_log(place)
    other = place.another_namespace()
    files = files_of(place, other)
    places = [(path, at) for path in log_files(log.files) for at in range(end_of_middle(log, path))]
    wanted = min(len(places), place.profile.flips)
    found = 0
    for path, at in place.random.sample(places, wanted):
        flip(log.copy(files, path), at, 1 << place.random.randrange(8))
        when = f"a bit of byte {at} of {path.name} was flipped"
        found += await finds_damage(place, other, log.histories, when)
    holds(found > 0, f"none of {wanted} flipped bits in the log was found")
    remove(files.folder)


def end_of_middle(log: Written, path: Path) -> int:
    """Where the part of the file ends that no torn write can be in."""
    return log.tail(1) if path == log.last else path.stat().st_size


async def finds_damage(place: Place, namespace: str, histories: list[list[Append]], when: str) -> bool:
    """Whether the damage is found; it breaks the law to answer anything else than what was written."""
    try:
        store = await place.open(namespace)
    except (CorruptLog, UnsupportedSchema) as error:
        return is_named(error, when)
    found = False
    records = [history[-1].record for history in histories]
    for history in histories:
        run_id = history[0].run_id
        events = [event for append in history for event in append.events]
        found |= await is_refused(store.read(run_id), events, f"{when}: read of run {run_id!r}", when)
        found |= await is_refused(store.get(run_id), history[-1].record, f"{when}: get of {run_id!r}", when)
    found |= await is_refused(store.list_runs(), records, f"{when}: listing", when)
    await place.close(store)
    return found


async def is_refused(call: Awaitable[Any], expected: object, said: str, when: str) -> bool:
    """Whether a read raises `CorruptLog`; otherwise it has to answer what was written."""
    try:
        same(await call, expected, said)
    except (CorruptLog, UnsupportedSchema) as error:
        return is_named(error, when)
    return False


def is_named(error: CorruptLog | UnsupportedSchema, when: str) -> bool:
    """True; breaks the law if the error does not say where the damage is."""
    named = getattr(error, "location", "") or re.search(r"\d", str(error))
    holds(named, f"{when}: the error does not say where the damage is: {error}")
    return True


# ---- failing disks ---------------------------------------------------------------------


@proves(44, seconds=300)
async def a_full_disk_leaves_no_part_of_an_append(place: Place) -> None:
    """Where there is no space left, a commit is a typed error and writes nothing, or is whole."""
    await fail_at_every_call(place, ENOSPC, None)


@proves(44, seconds=300)
async def a_disk_that_fails_once_leaves_no_part_of_an_append(place: Place) -> None:
    """Where one write or sync fails, a commit is a typed error and writes nothing, or is whole."""
    await fail_at_every_call(place, EIO, 1)


@proves(44, seconds=300)
async def a_broken_disk_leaves_no_part_of_an_append(place: Place) -> None:
    """Where every write and sync fails, a commit is a typed error and writes nothing, or is whole."""
    await fail_at_every_call(place, EIO, None)


async def fail_at_every_call(place: Place, error: int, times: int | None) -> None:
    """Let the disk fail at the first call of a commit, at the second, …, until a commit meets none."""
    failures = 0
    for after in range(_MOST_CALLS):
        failed = await fail_at(place, error, times, after)
        failures += failed
        if not failed:
            break
    if not failures:
        raise NotChecked(
            "the store writes in a way that Python does not see: define failing_disk(namespace, error, "
            "after, times) on the subject"
        )


async def fail_at(place: Place, error: int, times: int | None, after: int) -> int:
    """Let the disk fail within a commit, and look what came of it; how often it failed."""
    store, other = await place.open_many(2)
    histories = [grown(f"{name}{after}", 2, 1) for name in ("a", "b")]
    first, second, third = ([history[n] for history in histories] for n in range(3))
    same(await store.commit(first), committed(first), "a commit before the disk failed")
    with place.subject.failing_disk(place.namespace, error, after, times) as disk:
        answers = await answers_of(store, second)
    when = f"the disk failed at call {after + 1} of a commit ({type_of(error, times)})"
    fresh = await place.open()
    for handle in (other, fresh):
        for history, answer in zip(histories, answers, strict=True):
            count = await count_stored(handle, history[:2], when)
            there = "it is there" if count == 2 else "it is not there"
            holds(count in may_have(answer), f"{when}, which answered {answer!r}; {there}")
    same(await fresh.commit(second), committed(second), f"{when}, and the same commit was made again")
    late = await answers_of(store, third)
    for history, answer in zip(histories, late, strict=True):
        count = await count_stored(fresh, history, f"{when}, and another one was made on the same handle")
        there = "it is there" if count == 3 else "it is not there"
        holds(count - 1 in may_have(answer), f"{when}; the next one answered {answer!r}, and {there}")
    for handle in (store, other, fresh):
        await place.close(handle)
    return disk.failures


async def answers_of(store: StorageBackend, appends: list[Append]) -> list[Answer | Exception]:
    """What a commit answers, or for each of the appends the error that it raised."""
    try:
        return [*await store.commit(appends)]
    except (StorageUnavailable, StorageClosed) as error:
        return [error for _ in appends]


def may_have(answer: Answer | Exception) -> tuple[int, ...]:
    """How many of a run's first two appends may be there, after that answer to the second."""
    if isinstance(answer, Committed):
        return (2,)
    if isinstance(answer, Unknown | StorageClosed):
        return 1, 2
    if isinstance(answer, Refused | StorageUnavailable):
        return (1,)
    raise LawBroken(f"a failing disk was answered with {answer!r}, and nobody else had written")


def type_of(error: int, times: int | None) -> str:
    """A failure in words."""
    return ("ENOSPC" if error == ENOSPC else "EIO") + (", once" if times else "")
