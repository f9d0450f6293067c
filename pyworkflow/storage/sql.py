"""The SQL backends. Each is imported when somebody asks for it, since each needs a driver of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyworkflow_sql

if TYPE_CHECKING:
    from pyworkflow_sql import MysqlStorageBackend as MysqlStorageBackend
    from pyworkflow_sql import PostgresqlStorageBackend as PostgresqlStorageBackend
    from pyworkflow_sql import SqliteStorageBackend as SqliteStorageBackend


def __getattr__(name: str) -> object:
    if name in pyworkflow_sql.__all__:
        return getattr(pyworkflow_sql, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
