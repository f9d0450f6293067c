"""The options of the backend, as arguments and as parts of its URL.

What is not an option of ours stays in the URL, and reaches the driver as it does for every user of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.plugins import redact

_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
DRIVERS = ("pymongo", "motor")


class Options(Struct, frozen=True, kw_only=True):
    """What can be set.

    Attributes:
        namespace: what the names of the collections begin with; it keeps runs apart that share
            a database.
        driver: ``pymongo`` or ``motor``.
        lanes: how many commands of a handle are under way at once; the others wait their turn.
        migrate: ``auto`` makes the indexes where they are missing, ``never`` leaves that to you.
    """

    namespace: str = "pyworkflow"
    driver: str = "pymongo"
    lanes: int = 8
    migrate: str = "auto"

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ConfigurationError(
                f"namespace {self.namespace!r}: at most 40 letters, digits and underscores, "
                "and no digit first"
            )
        if self.driver not in DRIVERS:
            raise ConfigurationError(f"driver={self.driver!r}: there are {' and '.join(map(repr, DRIVERS))}")
        if self.lanes < 1:
            raise ConfigurationError(f"lanes={self.lanes}: at least one command must be possible")
        if self.migrate not in {"auto", "never"}:
            raise ConfigurationError(f"migrate={self.migrate!r}: there are 'auto' and 'never'")


class Place(Struct, frozen=True):
    """Where a URL points.

    Attributes:
        url: the URL without our options, for the driver.
        database: the database that it names; empty if none.
        given: the driver's own options in it, by their names in lower case.
        options: ours.
    """

    url: str
    database: str
    given: frozenset[str]
    options: Options


def parse_url(url: str, more: Mapping[str, Any]) -> Place:
    """Take a URL apart.

    Args:
        url: ``mongodb://…`` or ``mongodb+srv://…``.
        more: options given as arguments, which win.

    Raises:
        ConfigurationError: it is no URL, or an option has a value that it cannot have.
    """
    base, _, query = url.partition("?")
    scheme, mark, rest = base.partition("://")
    servers, _, database = rest.partition("/")
    if not mark or scheme not in {"mongodb", "mongodb+srv"} or not servers:
        raise ConfigurationError(f"{redact(url)!r} is no URL of MongoDB: write mongodb://host/database")
    ours: dict[str, Any] = {}
    theirs: list[tuple[str, str]] = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in Options.__struct_fields__:
            ours[name] = _read(name, value)
        else:
            theirs.append((name, value))
    ours |= {name: value for name, value in more.items() if value is not None}
    plain = (
        f"{base if '/' in rest else base + '/'}{'?' if theirs else ''}{urlencode(theirs, quote_via=quote)}"
    )
    return Place(plain, unquote(database), frozenset(name.lower() for name, _ in theirs), Options(**ours))


def _read(name: str, text: str) -> Any:
    if name != "lanes":
        return text
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"option {name}={text!r} is not a whole number") from None
