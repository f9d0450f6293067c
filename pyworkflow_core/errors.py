"""Every error that the core raises, as one tree.

::

    WorkflowError
    ├── ConfigurationError
    │   ├── UnknownBackendError
    │   ├── DuplicateBackendError
    │   ├── BrokenBackendError
    │   └── MissingDriverError
    ├── CodecError
    │   ├── UnserializableValueError      (also a TypeError)
    │   ├── UnknownTypeError
    │   └── MalformedValueError           (also a ValueError)
    ├── InvalidIdError                    (also a ValueError)
    ├── NonDeterminismError
    ├── HistoryVersionError
    └── StorageError
        ├── StorageUnavailable
        │   └── StorageFull
        ├── StorageClosed
        ├── OutcomeUnknown
        ├── CorruptLog
        ├── LimitExceeded
        ├── EventIdReused
        ├── InvalidCursor
        ├── FeedPositionLost
        └── UnsupportedSchema

    asyncio.CancelledError
    └── CancellationError                 (so that ``except Exception`` cannot swallow it)

A lost race is no error: ``commit`` answers it as a ``Conflict`` value.
"""

from __future__ import annotations

import asyncio


class WorkflowError(Exception):
    """Root of every error of this project, `CancellationError` aside."""


class ConfigurationError(WorkflowError):
    """A setting, a name or an argument that cannot work; says which, and what would."""


class UnknownBackendError(ConfigurationError):
    """No installed plugin answers to the scheme of a storage URL."""


class DuplicateBackendError(ConfigurationError):
    """Two installed distributions register a backend under one name."""


class BrokenBackendError(ConfigurationError):
    """A backend plugin failed to import, to describe itself or to make a backend; says why."""


class MissingDriverError(ConfigurationError):
    """A backend's database driver is not installed; the message names the extra that brings it."""


class CodecError(WorkflowError):
    """A value cannot be written to the log, or read back from it."""


class UnserializableValueError(CodecError, TypeError):
    """A value that the codec cannot write. `path` says where in the value it sits.

    Attributes:
        path: the way to the offending part, such as ``result['items'][3].conn``.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class UnknownTypeError(CodecError):
    """Stored data names a type that is neither registered nor reachable from annotations."""


class MalformedValueError(CodecError, ValueError):
    """Stored bytes are not what the codec writes."""


class InvalidIdError(WorkflowError, ValueError):
    """A run id, name or token that no backend may see: empty, over 255 bytes, NUL, surrogate."""


class NonDeterminismError(WorkflowError):
    """Workflow code and its recorded history disagree.

    Attributes:
        run_id: the run whose replay stopped.
        sequence: the event at which code and history part.
        kind: what changed: ``"step"``, ``"order"``, ``"arguments"`` or ``"missing"``.
        expected: what the history has there.
        actual: what the code asked for instead.
    """

    def __init__(
        self,
        message: str,
        *,
        run_id: str = "",
        sequence: int = 0,
        kind: str = "step",
        expected: str = "",
        actual: str = "",
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.sequence = sequence
        self.kind = kind
        self.expected = expected
        self.actual = actual


class HistoryVersionError(WorkflowError):
    """A history holds events of a newer version than this code can replay."""


class StorageError(WorkflowError):
    """Root of what a storage backend raises."""


class StorageUnavailable(StorageError):
    """The medium cannot be reached or used now. Nothing of the call was written."""


class StorageFull(StorageUnavailable):
    """No space left, or a quota reached. Nothing of the call was written; retry when there is."""


class StorageClosed(StorageError):
    """The handle was closed, or was poisoned by a failed sync; open a new one."""


class OutcomeUnknown(StorageError):
    """An append may or may not have been written.

    Only resubmitting the identical append settles it; the commit queue has done so for as
    long as it was told to before it raises this.
    """


class CorruptLog(StorageError):
    """Stored bytes are damaged. Names the place; nothing is skipped.

    Attributes:
        location: the file and byte offset, or the row, of the damage.
    """

    def __init__(self, message: str, *, location: str = "") -> None:
        super().__init__(message)
        self.location = location


class LimitExceeded(StorageError):
    """An event, append or record is larger than the backend declares it can store."""


class EventIdReused(StorageError):
    """An event id is already in the log with another body; the append is refused."""


class InvalidCursor(StorageError):
    """A listing cursor that this backend did not hand out."""


class FeedPositionLost(StorageError):
    """A feed position that the backend no longer holds; start again from the beginning."""


class UnsupportedSchema(StorageError):
    """The stored data have a version that this code cannot use: a newer one, or one to migrate.

    Attributes:
        found: the version that the data have; 0 if there are none yet, None if it is not said.
        needed: the version that this code makes; None if it is not said.
    """

    def __init__(self, message: str, *, found: int | None = None, needed: int | None = None) -> None:
        super().__init__(message)
        self.found = found
        self.needed = needed


class CancellationError(asyncio.CancelledError):
    """Raised at a pyworkflow await when a cancellation request was delivered to the run.

    It derives from `asyncio.CancelledError`, not from `WorkflowError`, so that a broad
    ``except Exception`` in workflow code cannot swallow it.

    Attributes:
        reason: the text given with the request, or None.
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason if reason is not None else "cancelled")
        self.reason = reason
