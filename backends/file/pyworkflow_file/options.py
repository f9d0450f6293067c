"""The options of the file store, as arguments and as parts of its URL."""

from __future__ import annotations

import difflib
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from pyworkflow_core.errors import ConfigurationError


class Options(Struct, frozen=True, kw_only=True):
    """What can be set.

    Attributes:
        segment_bytes: size at which the journal goes on in a new file.
        catch_up_lines: lines that the index may lag behind before a commit brings it up.
        heads: runs to keep in memory.
        compact_at: part of a sealed segment that may be dead before a deletion compacts it; 0
            leaves that to `compact`.
        inline_below: microseconds a sync may take to be made on the event loop itself.
        network_ok: use a network file system although its locks and syncs are not reliable.
        migrate: ``auto`` makes the folder, ``never`` leaves that to ``pyworkflow storage init``.
    """

    segment_bytes: int = 64 * 1024 * 1024
    catch_up_lines: int = 2000
    heads: int = 10_000
    compact_at: float = 0.5
    inline_below: int = 1000
    network_ok: bool = False
    migrate: str = "auto"

    def __post_init__(self) -> None:
        for name in ("segment_bytes", "catch_up_lines", "heads"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"file store: {name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.compact_at <= 1:
            raise ConfigurationError(f"file store: compact_at must be between 0 and 1, not {self.compact_at}")
        if self.migrate not in {"auto", "never"}:
            raise ConfigurationError(f"file store: migrate={self.migrate!r}: there are 'auto' and 'never'")


def parse_url(url: str) -> tuple[str, Options]:
    """The folder and the options of ``file:///absolute/path?option=value`` or ``file:relative/path``.

    Raises:
        ConfigurationError: no path, an unknown option, or a value that it cannot have.
    """
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise ConfigurationError(
            f"{url!r}: {parts.netloc!r} stands where a host name would. For an absolute path write "
            f"file:///{parts.netloc}{parts.path}, for a relative one file:{parts.netloc}{parts.path}."
        )
    if not parts.path:
        raise ConfigurationError(
            f"{url!r} names no folder; write file:///absolute/path or file:relative/path"
        )
    given: dict[str, int | float | bool | str] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        given[name] = _read_option(name, text)
    return unquote(parts.path), Options(**given)  # type: ignore[arg-type]


def _read_option(name: str, text: str) -> int | float | bool | str:
    known = Options.__struct_fields__
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"file store: no option {name!r}.{hint} There are: {', '.join(known)}.")
    default = getattr(Options(), name)
    try:
        if isinstance(default, bool):
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
                text.lower()
            ]
        return type(default)(text)  # type: ignore[no-any-return]
    except (KeyError, ValueError):
        kind = {bool: "1 or 0", int: "a whole number", float: "a number"}[type(default)]
        raise ConfigurationError(f"file store: option {name}={text!r} is not {kind}") from None
