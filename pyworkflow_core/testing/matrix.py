"""The kill matrix: which law catches which faulty store, and for what reason.

This is the proof that the suite has teeth. The faulty stores know nothing of laws; this
module knows both. `make_subject` gives the suite a way to reach any of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from msgspec import Struct

from ..storage import StorageBackend
from .broken import LawBroken, NotChecked
from .clock import Clock
from .faulty import (
    lines_reading,
    lines_writing,
    ram_appends,
    ram_arguments,
    ram_claims,
    ram_events,
    ram_feed,
    ram_handles,
    ram_listing,
    ram_races,
    tcp_clients,
)
from .faulty.nothing import DoNothing
from .hosts.lines import LinesStore
from .hosts.subjects import LinesSubject, RamSubject, TcpSubject
from .hosts.tcp import TcpStore
from .laws.registry import Check, all_checks
from .profiles import PROFILES
from .runner import applies, make_check
from .subject import Files, Subject


class Fault(Struct, frozen=True):
    """A faulty store, and what the suite must say of it.

    Attributes:
        store: the store.
        law: number of the law that catches it.
        says: a part of what that law then says: the fault's own reason.
        also: other laws that it cannot but break.
    """

    store: type[StorageBackend]
    law: int
    says: str = ""
    also: tuple[int, ...] = ()


FAULTS: tuple[Fault, ...] = (
    Fault(ram_events.CreatesRunsWhenAsked, 1),
    Fault(ram_events.RaisesForUnknownRuns, 1),
    Fault(ram_events.FloatsNumbers, 2),
    Fault(ram_events.NormalisesText, 2),
    Fault(ram_events.ReordersKeys, 2),
    Fault(ram_events.CutsLongBodies, 2),
    Fault(ram_events.NumbersByTable, 3),
    Fault(ram_events.NumbersFromZero, 3),
    Fault(ram_appends.AnswersRowCount, 3),
    Fault(ram_appends.ReportsTheExpectedHead, 4),
    Fault(ram_appends.OverwritesTheTail, 4),
    Fault(ram_appends.AcceptsTheFuture, 5),
    Fault(ram_appends.CreatesInTheMiddle, 5),
    Fault(ram_appends.WakesOnConflict, 6),
    Fault(ram_appends.LeasesOnConflict, 6),
    Fault(ram_appends.InsertsWhatFits, 6),
    Fault(ram_appends.UndoesTheNeighbours, 7),
    Fault(ram_appends.StopsAtTheFirstConflict, 7),
    Fault(ram_appends.SortsItsAnswers, 7),
    Fault(ram_appends.AppendsWhatIsMissing, 7),
    Fault(ram_races.ShowsEventsOneByOne, 7),
    Fault(ram_arguments.AcceptsNothing, 8),
    Fault(ram_events.IncludesAfter, 9),
    Fault(ram_events.CutsBeforeSkipping, 9),
    Fault(ram_events.HandsOutItsLog, 10),
    Fault(ram_events.KeepsTheCallersRecord, 10),
    Fault(ram_events.HandsOutItsRecord, 10),
    Fault(ram_events.FoldsCase, 11),
    Fault(ram_events.NormalisesIds, 11),
    Fault(ram_events.ReadsByPrefix, 11),
    Fault(ram_events.MakesPathsOfIds, 11),
    Fault(ram_appends.NeverRecognises, 12),
    Fault(ram_appends.RecognisesOnlyTheLast, 12),
    Fault(ram_appends.AnswersThePresentHead, 12),
    Fault(ram_appends.ComparesTheFirstId, 12),
    Fault(ram_appends.LooksForIdsAnywhere, 12),
    Fault(ram_appends.IgnoresBodies, 13),
    Fault(ram_appends.CallsItAConflict, 13),
    Fault(ram_races.RecordsLater, 14),
    Fault(ram_races.CachesRecords, 14),
    Fault(ram_appends.OverwritesTheRecord, 14),
    Fault(ram_appends.StampsTheRecord, 14),
    Fault(ram_appends.DropsEmptyColumns, 14),
    Fault(ram_races.LooksBeforeItLocks, 15),
    Fault(ram_races.TrustsItsOwnHeads, 15),
    Fault(lines_writing.LocksNothing, 15),
    Fault(ram_races.CountsNothingAsDone, 16),
    Fault(ram_races.CleansUpTheWinner, 16),
    Fault(ram_races.WritesTheWholeLog, 16),
    Fault(ram_races.ReadsFromReplicas, 17),
    Fault(ram_races.StaysHalfDone, 18),
    Fault(ram_races.KeepsTheLock, 18),
    Fault(tcp_clients.KeepsTheConnection, 18),
    Fault(ram_races.CachesLogs, 19),
    Fault(lines_reading.ReadsOnlyItsOwn, 19),
    Fault(ram_races.CreatesUnchecked, 20),
    Fault(ram_claims.KeepsOneDueTime, 21),
    Fault(ram_claims.WakesThroughLeases, 21),
    Fault(ram_claims.NeverEndsLeases, 22),
    Fault(ram_claims.EndsLeasesLate, 22),
    Fault(ram_claims.ReleasesByOwner, 23),
    Fault(ram_claims.ReleasesAnything, 23),
    Fault(ram_claims.RevivesLeases, 23),
    Fault(ram_claims.MakesTokensOfNames, 23),
    Fault(ram_claims.PicksBeforeItTakes, 24),
    Fault(ram_claims.OrdersByTimeFirst, 25),
    Fault(ram_claims.PrefersHighNumbers, 25),
    Fault(ram_claims.OrdersByWakeTime, 25),
    Fault(ram_claims.CutsBeforeOrdering, 25),
    Fault(ram_claims.ServesOneQueue, 26),
    Fault(ram_claims.FoldsQueues, 26),
    Fault(ram_claims.ForgetsTheQueueOfOneRun, 26),
    Fault(ram_claims.SortsNullsFirst, 27),
    Fault(ram_claims.WakesForTheFinished, 27),
    Fault(ram_claims.ReleasesTheWakeTime, 28),
    Fault(ram_claims.PostponesAtClaim, 28),
    Fault(ram_claims.PostponesAtExtend, 28),
    Fault(ram_claims.ForgetsTheAppendsLease, 28),
    Fault(ram_claims.OnlyReleasesWithAppends, 28),
    Fault(ram_claims.StealsTheLease, 28),
    Fault(ram_claims.ReleasesByAppendingLater, 28),
    Fault(ram_claims.ForgetsLeasesOfTheDead, 29),
    Fault(ram_listing.SkipsTies, 30),
    Fault(ram_listing.RepeatsTheLast, 30),
    Fault(ram_listing.FiltersAfterTheLimit, 30),
    Fault(ram_listing.ListsOldestFirst, 30),
    Fault(ram_listing.CountsInItsCursor, 31),
    Fault(ram_listing.ListsByLastChange, 31),
    Fault(ram_listing.TakesOneStatus, 32),
    Fault(ram_listing.TakesNoStatusForAll, 32),
    Fault(ram_listing.IncludesTheEnd, 32),
    Fault(ram_listing.TakesAnyAttribute, 32),
    Fault(ram_listing.SearchesByPattern, 32),
    Fault(ram_listing.ForgetsTheParent, 32),
    Fault(ram_listing.FreezesTheStatus, 32),
    Fault(ram_listing.StartsOverSilently, 33),
    Fault(ram_listing.LeaksDecodingErrors, 33),
    Fault(ram_feed.PublishesAgain, 34),
    Fault(ram_feed.FeedsTheDeleted, 34),
    Fault(ram_feed.SkipsWithinAppends, 34),
    Fault(ram_feed.PublishesBackwards, 35),
    Fault(ram_feed.NumbersBeforeCommitting, 36),
    Fault(ram_feed.NumbersBeforeWaiting, 36),
    Fault(ram_feed.FollowsTheClock, 36),
    Fault(ram_feed.RemembersItsOwnPositions, 37),
    Fault(ram_feed.GuessesLostPositions, 37),
    Fault(ram_feed.LeaksPositionErrors, 37),
    Fault(ram_feed.WakesItsOwnHandle, 38),
    Fault(ram_feed.WakesForNewRuns, 38),
    Fault(ram_feed.NeverWakes, 38),
    Fault(ram_feed.WakesOneOfAll, 38),
    Fault(ram_feed.LeavesATask, 39),
    Fault(ram_feed.LeavesAWaiter, 39),
    Fault(ram_feed.SwallowsCancellation, 39),
    Fault(lines_writing.AcknowledgesFirst, 40),
    Fault(lines_reading.RefusesTornTails, 41),
    Fault(lines_writing.WritesInTwoCalls, 41),
    Fault(lines_reading.WritesOntoTornTails, 42),
    Fault(lines_reading.EndsTornTails, 42),
    Fault(lines_reading.SkipsDamage, 43),
    Fault(lines_reading.IgnoresChecksums, 43),
    Fault(lines_reading.StopsAtDamage, 43),
    Fault(lines_writing.LeavesPartialWrites, 44),
    Fault(lines_writing.IgnoresShortWrites, 44),
    Fault(lines_writing.LeaksSystemErrors, 44),
    Fault(lines_writing.AppliesBeforeWriting, 44),
    Fault(lines_writing.AcknowledgesWhatFailed, 44),
    Fault(lines_writing.TakesAFailedSyncForNothing, 44),
    Fault(tcp_clients.CallsALostAnswerAConflict, 45),
    Fault(tcp_clients.CallsALostAnswerSuccess, 45),
    Fault(tcp_clients.LeaksConnectionErrors, 45),
    Fault(tcp_clients.StaysBroken, 45),
    Fault(tcp_clients.WaitsForEver, 45),
    Fault(tcp_clients.SaysItIsUnavailable, 45),
    Fault(tcp_clients.LosesWhatItAcknowledged, 46),
    Fault(tcp_clients.AnswersFromTheBuffer, 46),
    Fault(ram_arguments.AcceptsAnyId, 47),
    Fault(ram_arguments.ReadsAnyId, 47),
    Fault(ram_events.TakesIdsForPatterns, 47),
    Fault(ram_events.CutsIds, 47),
    Fault(ram_events.StripsIds, 47),
    Fault(ram_arguments.RaisesForTheOversized, 48),
    Fault(ram_arguments.StoresTheOversized, 48),
    Fault(ram_arguments.RefusesTheNeighbours, 48),
    Fault(ram_arguments.StoresTheStart, 48),
    Fault(ram_events.DecodesLeniently, 49),
    Fault(ram_arguments.MakesTextOfAttributes, 49),
    Fault(ram_arguments.TakesZeroForAll, 50),
    Fault(ram_arguments.CountsFromTheEnd, 50),
    Fault(ram_events.DropsUnknownTypes, 51),
    Fault(ram_events.LowersVersions, 51),
    Fault(ram_handles.ClosesOnce, 52),
    Fault(ram_handles.ReadsWhenClosed, 52),
    Fault(ram_handles.OpensAgainWhenClosed, 52),
    Fault(ram_handles.LeaksKeyErrors, 53),
    Fault(ram_handles.LeaksOverflows, 53),
    Fault(ram_handles.LeavesItsThread, 54),
    Fault(ram_handles.LeavesItsTask, 54),
    Fault(lines_writing.LeavesItsFile, 54),
    Fault(lines_reading.ForgetsTheOldFormat, 55),
    Fault(lines_reading.RefusesTheOldFormat, 55),
    Fault(lines_reading.MisreadsTheOldFormat, 55),
    Fault(ram_handles.ForgetsGraves, 56),
    Fault(ram_handles.IgnoresIncarnations, 56),
    Fault(ram_handles.DeletesOnlyTheLog, 56),
    Fault(ram_handles.LeavesTheDueEntry, 56),
    Fault(ram_handles.LeavesTheLease, 56),
    Fault(ram_handles.DeletesWhateverIsThere, 56),
    Fault(ram_handles.SharesWhatIsDue, 57),
    Fault(ram_handles.SharesRecords, 57),
    Fault(tcp_clients.MixesNamespaces, 57),
    Fault(ram_claims.RestoresTheWakeTime, 58),
    Fault(ram_claims.BreaksLeasesFromOutside, 58),
    Fault(ram_claims.LosesWakeUpsOfTheLeased, 58),
    Fault(ram_arguments.AcceptsARunTwice, 59),
    Fault(ram_arguments.TakesTheLastOfARun, 59),
    Fault(ram_feed.WritesAtOnce, 60),
    Fault(ram_feed.CommitsInParts, 60),
    Fault(ram_feed.ForgetsWhatIsHeld, 60),
    Fault(ram_feed.LeasesOutsideOfTransactions, 60),
)
"""Every fault, by the number of the law that catches it."""


def make_subject(store: type[StorageBackend]) -> type[Subject]:
    """A subject class that opens `store`. Another process finds it in this module by the store's name."""
    base: type[Subject] = RamSubject
    if issubclass(store, LinesStore | TcpStore):
        base = LinesSubject if issubclass(store, LinesStore) else TcpSubject
    return type(store.__name__, (base,), {"store": store, "__module__": __name__})


def hear(fault: Fault, *, profile: str = "quick", seed: int = 0) -> list[str]:
    """What the checks of the fault's law say of it; nothing if it survives."""
    subject = _SUBJECTS[fault.store.__name__]()
    try:
        checks = [c for c in all_checks() if c.law == fault.law and applies(c, fault.store.capabilities)]
        return [said for check in checks if (said := _hear_check(check, subject, profile, seed))]
    finally:
        subject.remove_folder()


def _hear_check(check: Check, subject: Subject, profile: str, seed: int) -> str:
    try:
        make_check(check, subject, PROFILES[profile], seed)
    except LawBroken as error:
        return error.said
    except NotChecked:
        pass
    return ""


class NothingSubject(Subject):
    """Reaches the store that does nothing, and gives the suite all that it asks for."""

    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """A handle on nothing."""
        async with DoNothing() as store:
            yield store

    async def drop(self, namespace: str) -> None:
        """Nothing is there to be removed."""

    def files(self, namespace: str) -> Files:
        """A file of zeros."""
        folder = self.folder / namespace
        folder.mkdir(exist_ok=True)
        (folder / "log").write_bytes(bytes(1000))
        return Files(folder, "log")

    def address(self) -> tuple[str, int]:
        """An address that nobody connects to."""
        return "127.0.0.1", 9

    def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AbstractAsyncContextManager[StorageBackend]:
        """The same from anywhere."""
        return self.open(namespace, clock)

    async def restart(self) -> bool:
        """It is as if it had never been away."""
        return True

    def transaction(self, store: StorageBackend) -> AbstractAsyncContextManager[Any]:
        """A transaction that holds nothing."""
        return nullcontext(object())

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        """The same of any age."""
        return self.open(namespace, clock)


_SUBJECTS = {fault.store.__name__: make_subject(fault.store) for fault in FAULTS}


def __getattr__(name: str) -> Any:
    """The subject of a fault, by the name of its store."""
    if name in _SUBJECTS:
        return _SUBJECTS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
