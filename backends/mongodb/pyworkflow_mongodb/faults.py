"""What an error of the driver means: typed errors, with the cause kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pymongo.errors import (
    BulkWriteError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from pyworkflow_core.errors import (
    FeedPositionLost,
    LimitExceeded,
    StorageClosed,
    StorageError,
    StorageFull,
    StorageUnavailable,
)

_DUPLICATE = 11000
_TOO_LARGE = {10334, 17419, 17420}
_NO_ROOM = {14031, 12501}
_FORBIDDEN = {13, 18, 8000}  # Unauthorized, AuthenticationFailed, Atlas' own
_HISTORY_LOST = {
    136,  # CappedPositionLost
    222,  # CloseChangeStream: the collection is gone
    239,  # SnapshotTooOld
    246,  # SnapshotUnavailable
    280,  # ChangeStreamFatalError
    286,  # ChangeStreamHistoryLost
}
# A token that no server has written: InvalidResumeToken, and what its parts may be found to be.
_NO_TOKEN = {2, 9, 15, 260, 40647, 40649, 50795, 50796, 50797, 50811}


def typed(error: PyMongoError, doing: str) -> StorageError:
    """The error that a caller is to see, of one that says that nothing was written."""
    text = f"MongoDB: {doing}: {say(error)}"
    if isinstance(error, InvalidOperation):
        return StorageClosed(text)
    if isinstance(error, OperationFailure) and error.code in _NO_ROOM:
        return StorageFull(text)
    if isinstance(error, OperationFailure) and error.code in _TOO_LARGE:
        return LimitExceeded(text)
    return StorageUnavailable(text)


def lost_position(error: PyMongoError) -> FeedPositionLost | None:
    """The error for a position that the server cannot go on from, if this is what it says."""
    if isinstance(error, OperationFailure) and error.code in _HISTORY_LOST | _NO_TOKEN:
        return FeedPositionLost(
            f"the server no longer holds this position: {say(error)}. Begin again with None; a larger "
            "oplog (replSetResizeOplog) holds positions for longer."
        )
    return None


@contextlib.contextmanager
def reading(doing: str) -> Iterator[None]:
    """Let an error of the driver come out as a typed one."""
    try:
        yield
    except PyMongoError as error:
        raise typed(error, doing) from error


def is_unsent(error: PyMongoError) -> bool:
    """Whether surely nothing reached a server: none could be found to speak to."""
    return isinstance(error, ServerSelectionTimeoutError)


def is_forbidden(error: PyMongoError) -> bool:
    """Whether the server refused a whole command, and did nothing."""
    return isinstance(error, OperationFailure) and error.code in _FORBIDDEN


def is_our_duplicate(write_error: dict[str, object]) -> bool:
    """Whether a write was refused by the key of our documents, not by an index of somebody else."""
    if write_error.get("code") != _DUPLICATE:
        return False
    pattern = write_error.get("keyPattern")
    return pattern == {"_id": 1} if pattern is not None else "index: _id_" in str(write_error.get("errmsg"))


def is_too_large(write_error: dict[str, object]) -> bool:
    """Whether the document would be larger than MongoDB's documents can be."""
    return write_error.get("code") in _TOO_LARGE


def say(error: PyMongoError) -> str:
    """An error for people, in one line: topologies and documents are left out."""
    if isinstance(error, BulkWriteError):
        found = [*error.details.get("writeErrors", []), *error.details.get("writeConcernErrors", [])]
        return "; ".join(str(each.get("errmsg", each)) for each in found[:3])
    text = str(error).partition(", full error")[0].partition(", Timeout:")[0]
    return text.strip() or type(error).__name__
