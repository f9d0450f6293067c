"""Storage in SQL databases, through SQLAlchemy: SQLite, PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .mysql import MysqlStorageBackend
    from .postgresql import PostgresqlStorageBackend
    from .sqlite import SqliteStorageBackend

__all__ = ["MysqlStorageBackend", "PostgresqlStorageBackend", "SqliteStorageBackend"]

_MODULES = {
    "MysqlStorageBackend": ".mysql",
    "PostgresqlStorageBackend": ".postgresql",
    "SqliteStorageBackend": ".sqlite",
}


def __getattr__(name: str) -> object:
    # Imported when somebody asks: each needs a driver that the others do not.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
