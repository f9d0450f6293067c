"""The subject of a run of the suite: how it reaches a backend. An author subclasses it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from msgspec import Struct

from ..errors import ConfigurationError
from ..plugins import find_backend, open_storage, redact
from ..record import RunRecord
from ..storage import StorageBackend
from .broken import NotChecked
from .clock import Clock
from .disk import FailingDisk, failing_disk

PLACEHOLDER = "{namespace}"


class Files(Struct, frozen=True):
    """Where a namespace of a file-like store lies, for the checks that cut it.

    Attributes:
        folder: everything that it has; copied to make another namespace.
        log: a glob, relative to `folder`, of the files that hold the log. The last of them in
            the order of their names is where appends go.
        derived: globs of what is only derived from the log, or a lock; removed before a cut.
    """

    folder: Path
    log: str
    derived: tuple[str, ...] = ()


class KnownFailure(Struct, frozen=True):
    """A law that a backend is known to break. It still counts as broken.

    Attributes:
        law: the law's number.
        reason: why.
        issue: where it is followed up.
    """

    law: int
    reason: str
    issue: str


def known_failure(law: int, reason: str, issue: str) -> KnownFailure:
    """Say that a backend breaks `law`. If it does not, that is an error: remove the line."""
    return KnownFailure(law, reason, issue)


class Subject:
    """How the suite reaches a backend. `open` is all it needs; every other method is a help.

    What a check needs and a subject does not have is reported as not checked, which is not
    passed. `folder` is a temporary folder of the run, the same in every process of it.
    """

    known_failures: ClassVar[tuple[KnownFailure, ...]] = ()
    name = ""
    """What the report calls the backend; the class of its handles if empty."""

    _folder: Path | None = None

    # ---- what an author must give --------------------------------------------------

    def open(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        """A new handle on `namespace`, which is made if there is none; closed at the end.

        Args:
            namespace: letters, digits and underscores, at most 30. Handles on equal names share
                their runs, handles on others see nothing of them.
            clock: the time; for a backend that has a clock of its own to set.
        """
        raise NotImplementedError(f"{type(self).__name__} must define open(namespace, clock)")

    # ---- what an author may give ---------------------------------------------------

    async def drop(self, namespace: str) -> None:
        """Remove everything of `namespace`. Without an override, its runs are deleted one by one."""
        async with self.open(namespace, Clock()) as store:
            before: list[RunRecord] = []
            while (records := (await store.find(limit=500)).records) and records != before:
                before = records  # a store that cannot delete must not keep the suite for ever
                for record in records:
                    await store.delete(record.run_id, expected=record.head)

    def url(self, namespace: str) -> str | None:
        """The storage URL of `namespace`, if there is one."""
        return None

    def files(self, namespace: str) -> Files | None:
        """Where `namespace` lies, for a store with capability ``file_medium``."""
        return None

    def failing_disk(
        self, namespace: str, error: int, after: int, times: int | None = None
    ) -> AbstractContextManager[FailingDisk]:
        """Let the disk fail below `files(namespace)` for a while.

        Without an override, writes and syncs that go through Python's `os` fail. What it gives
        must tell by its attribute `failures` how often it has failed.

        Args:
            namespace: whose disk.
            error: the `errno` of what fails: ENOSPC or EIO.
            after: so many writes and syncs come through before.
            times: how many fail; None for every further one.
        """
        files = self.files(namespace)
        if files is None:
            raise NotChecked("define files(namespace) or failing_disk(namespace, error, after, times)")
        return failing_disk(files.folder, error, after, times)

    def address(self) -> tuple[str, int] | None:
        """Host and port of the server, for a proxy that cuts connections to it."""
        return None

    def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AbstractAsyncContextManager[StorageBackend] | None:
        """A new handle on `namespace` that reaches the server at another address: the proxy's."""
        return None

    async def restart(self) -> bool:
        """Kill the server as hard as `capabilities` allow, and start it again. False if it cannot be done."""
        return False

    def transaction(self, store: StorageBackend) -> AbstractAsyncContextManager[Any] | None:
        """A transaction of the user's own, to commit `within`: committed at the end, undone by an error."""
        return None

    def open_golden(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend] | None:
        """A handle on a store that an older version wrote with `golden.write`, restored in `namespace`.

        A backend of one version only restores what that version wrote.
        """
        return None

    # ---- what the suite uses -------------------------------------------------------

    @property
    def folder(self) -> Path:
        """A temporary folder of the run; the same in every process of it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="pyworkflow-laws-"))
        return self._folder

    def remove_folder(self) -> None:
        """Remove `folder`, at the end of a run."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def gives(self, hook: str) -> bool:
        """Whether the author has given the optional method `hook`."""
        return getattr(type(self), hook) is not getattr(Subject, hook)


class UrlSubject(Subject):
    """A backend that a storage URL names.

    Args:
        template: the URL, with ``{namespace}`` where the namespace goes.

    Attributes:
        default_port: the port of a server whose URL names none.
        restart_command: a shell command that kills the server and starts it again.
    """

    default_port: ClassVar[int | None] = None
    restart_command = ""

    def __init__(self, template: str) -> None:
        self.template = template

    def url(self, namespace: str) -> str:
        """The URL of `namespace`."""
        return self.template.replace(PLACEHOLDER, quote(namespace, safe=""))

    @asynccontextmanager
    async def open(self, namespace: str, clock: Clock) -> AsyncIterator[StorageBackend]:
        """A new handle on the URL of `namespace`."""
        async with open_storage(self.url(namespace)) as store:
            yield store

    def address(self) -> tuple[str, int] | None:
        """Host and port of the URL; None if it has none, or several hosts."""
        server = urlsplit(self.url("namespace")).netloc.rpartition("@")[2]
        if not server or "," in server:
            return None
        parts = urlsplit(f"//{server}")
        port = parts.port or self.default_port
        return None if parts.hostname is None or port is None else (parts.hostname, port)

    @asynccontextmanager
    async def open_at(
        self, namespace: str, clock: Clock, host: str, port: int
    ) -> AsyncIterator[StorageBackend]:
        """A new handle on the URL with another host and port."""
        parts = urlsplit(self.url(namespace))
        user, at, _ = parts.netloc.rpartition("@")
        async with open_storage(parts._replace(netloc=f"{user}{at}{host}:{port}").geturl()) as store:
            yield store

    async def restart(self) -> bool:
        """Run `restart_command`, if there is one.

        Raises:
            NotChecked: it failed.
        """
        if not self.restart_command:
            return False
        process = await asyncio.create_subprocess_shell(
            self.restart_command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise NotChecked(f"the restart command failed: {said.decode(errors='replace')[-500:]}")
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact(self.template)!r})"


Factory = Callable[[str, Clock], AbstractAsyncContextManager[StorageBackend]]


class FactorySubject(Subject):
    """A backend that a function opens.

    Args:
        factory: takes a namespace and a clock, and returns an async context manager of a handle.
    """

    def __init__(self, factory: Factory) -> None:
        self.factory = factory

    def open(self, namespace: str, clock: Clock) -> AbstractAsyncContextManager[StorageBackend]:
        """What the function returns."""
        return self.factory(namespace, clock)


def subject_of(target: str | Subject | Factory) -> Subject:
    """The subject that `target` names: a storage URL, a subject, or a function that opens handles.

    A URL's plugin may bring a subject of its own, which knows how to cut, restart and clean up
    (`BackendInfo.conformance`). Without one the URL must say where the namespace goes.

    Raises:
        ConfigurationError: the URL names no namespace, or no backend.
    """
    if isinstance(target, Subject):
        return target
    if not isinstance(target, str):
        return FactorySubject(target)
    found = find_backend(target)
    if found.info.conformance:
        made: Subject = found.resolve(found.info.conformance)(target)
        return made
    if PLACEHOLDER not in target:
        raise ConfigurationError(
            f"{redact(target)!r} does not say where a namespace goes, and its plugin does not either. "
            f"Write {PLACEHOLDER} into the URL where each check gets a name of its own."
        )
    return UrlSubject(target)


@contextlib.contextmanager
def lasting(subject: Subject) -> Any:
    """Use the subject's folder, and remove it at the end."""
    try:
        yield subject
    finally:
        subject.remove_folder()
