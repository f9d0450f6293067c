"""What SQLite says, in the terms of the storage contract."""

from __future__ import annotations

import sqlite3

from pyworkflow_core.errors import CorruptLog, StorageError, StorageFull, StorageUnavailable


class Busy(Exception):
    """Another process is writing."""


class Unsettled(Exception):
    """A commit failed in such a way that it may come to light after a crash. The cause says how."""


def is_busy(error: sqlite3.Error) -> bool:
    """Whether a lock of another connection was in the way."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def typed_error(error: sqlite3.Error, path: str) -> StorageError:
    """The typed error for what SQLite said about the file at `path`. Nothing was written."""
    code = _code(error)
    text = f"SQLite file {path}: {error}"
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"{text}. Nothing was written; make room and try again.")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return CorruptLog(f"{text}. Restore it from a backup.", location=path)
    if code == sqlite3.SQLITE_CANTOPEN:
        return StorageUnavailable(f"{text}. Its folder must exist, and this user may write there.")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return StorageUnavailable(f"{text}. This user needs the right to write it, and its folder.")
    return StorageUnavailable(f"{text}.")


def _code(error: sqlite3.Error) -> int:
    """The primary code: the extended one says where it came from, too."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
