"""The options of the SQL backends, as arguments and as parts of their URLs.

What is not an option of ours stays in the URL, and reaches the database's driver as it does
for every user of SQLAlchemy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.plugins import redact

from .driver_options import read_bool

_NAMESPACE = re.compile(r"[a-z_][a-z0-9_]{0,29}")


class Options(Struct, frozen=True, kw_only=True):
    """What can be set on every database.

    Attributes:
        namespace: keeps runs apart that share a database: a schema of PostgreSQL, elsewhere
            what the names of the tables begin with.
        feed: whether the namespace has a feed; fixed when it is made. None takes it as it is.
        migrate: ``auto`` makes the tables and brings them up to date, ``never`` leaves that to you.
    """

    namespace: str = "pyworkflow"
    feed: bool | None = None
    migrate: str = "auto"

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ConfigurationError(
                f"namespace {self.namespace!r}: at most 30 lower-case letters, digits and underscores, "
                "and no digit first"
            )
        if self.migrate not in {"auto", "never"}:
            raise ConfigurationError(f"migrate={self.migrate!r}: there are 'auto' and 'never'")


class SqliteOptions(Options, frozen=True, kw_only=True):
    """What can be set on SQLite.

    Attributes:
        timeout: seconds to wait while another process writes.
        inline_below: microseconds a commit may take to be made on the event loop itself.
        network_ok: use a network file system although its locks and syncs are not reliable.
    """

    timeout: float = 30.0
    inline_below: int = 1000
    network_ok: bool = False


class ServerOptions(Options, frozen=True, kw_only=True):
    """What can be set on a server's database.

    Attributes:
        pool_size: connections that are kept open.
        max_overflow: how many more may be opened when those are busy.
        pool_timeout: seconds to wait for one of them.
        pool_recycle: seconds after which a connection is replaced; -1 for never.
        pool_pre_ping: ask whether a connection lives before it is used.
    """

    pool_size: int = 5
    max_overflow: int = 10
    pool_timeout: float = 30.0
    pool_recycle: int = -1
    pool_pre_ping: bool = False


def parse_url(url: str | URL, kind: type[Options], given: Mapping[str, Any]) -> tuple[URL, dict[str, Any]]:
    """The URL without our options, and our options: those in the URL, and those that are `given`.

    Raises:
        ConfigurationError: it is no URL, or an option has a value that it cannot have.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        shown = redact(url) if isinstance(url, str) else "the URL"
        raise ConfigurationError(f"{shown!r} is not a URL of a database") from None
    known = kind.__struct_fields__
    ours = {name: _read(kind, name, value) for name, value in parsed.query.items() if name in known}
    return parsed.difference_update_query(list(ours)), {**ours, **given}


def _read(kind: type[Options], name: str, value: str | tuple[str, ...]) -> Any:
    default = getattr(kind(), name)
    text = value if isinstance(value, str) else value[-1]
    try:
        if default is None or isinstance(default, bool):
            return read_bool(text)
        return type(default)(text)
    except ValueError:
        what = {int: "a whole number", float: "a number"}.get(type(default), "1 or 0")
        raise ConfigurationError(f"option {name}={text!r} is not {what}") from None
