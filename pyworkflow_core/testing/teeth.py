"""How the suite is set on the faulty stores of the kill matrix, and on a store that does nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from ..storage import StorageBackend
from .broken import LawBroken, NotChecked
from .clock import Clock
from .faulty.nothing import DoNothing
from .hosts.lines import LinesStore
from .hosts.subjects import LinesSubject, RamSubject, TcpSubject
from .hosts.tcp import TcpStore
from .laws.registry import Check, all_checks
from .matrix import FAULTS, Fault
from .profiles import PROFILES
from .runner import applies, make_check
from .subject import Files, Subject


def make_subject(store: type[StorageBackend]) -> type[Subject]:
    """A subject class that opens `store`. Another process finds it in this module by the store's name."""
    base: type[Subject] = RamSubject
    if issubclass(store, LinesStore | TcpStore):
        base = LinesSubject if issubclass(store, LinesStore) else TcpSubject
    return type(store.__name__, (base,), {"store": store, "__module__": __name__})


def hear(fault: Fault, *, law: int | None = None, profile: str = "quick", seed: int = 0) -> Iterator[str]:
    """What the checks of the fault's law, or of another one, say of it; nothing if it survives them."""
    subject = _SUBJECTS[fault.store.__name__]()
    try:
        for check in all_checks():
            if check.law == (law or fault.law) and applies(check, fault.store.capabilities):
                said = _hear_check(check, subject, profile, seed)
                if said:
                    yield said
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
