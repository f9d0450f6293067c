"""Which files the demo takes, and how their names are written."""

from __future__ import annotations

import os
import stat
import sysconfig
from collections import Counter
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from msgspec import Struct

_NOT_OF_THE_LIBRARY = {b"__pycache__", b"site-packages", b"dist-packages", b"test", b"tests", b"idlelib"}
_BYTES = "bytes:"


class Found(Struct, frozen=True):
    """What there is below a folder.

    Attributes:
        names: absolute paths of the files, in order.
        skipped: how many were left out, by reason.
    """

    names: list[bytes]
    skipped: dict[str, int]


def default_folder() -> Path:
    """Where Python's own library is."""
    return Path(sysconfig.get_path("stdlib"))


def find_files(folder: Path, *, leave_out: Path, library: bool) -> Found:
    """Every regular file below `folder` that can be read, links to files included.

    Args:
        folder: where to look.
        leave_out: the demo's own folder, whose files change meanwhile.
        library: whether it is Python's library, of which caches, tests and packages are left out.
    """
    own = os.fsencode(leave_out.resolve())
    names: list[bytes] = []
    skipped: Counter[str] = Counter()

    def on_error(error: OSError) -> None:
        skipped["unreadable folder"] += 1

    for here, folders, files in os.walk(os.fsencode(folder.resolve()), onerror=on_error):
        skipped["link to a folder"] += sum(os.path.islink(os.path.join(here, f)) for f in folders)
        hidden = _NOT_OF_THE_LIBRARY if library else set()
        folders[:] = sorted(f for f in folders if f not in hidden and os.path.join(here, f) != own)
        for file in sorted(files):
            path = os.path.join(here, file)
            problem = _problem(path)
            if problem:
                skipped[problem] += 1
            else:
                names.append(path)
    return Found(names, {reason: count for reason, count in skipped.items() if count})


def _problem(path: bytes) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "broken link" if os.path.islink(path) else "unreadable file"
    if not stat.S_ISREG(mode):
        return "special file"
    return "" if os.access(path, os.R_OK) else "unreadable file"


def to_text(name: bytes) -> str:
    """A file's name as text that a log can hold, whatever bytes it has."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return _BYTES + quote_from_bytes(name)


def from_text(text: str) -> bytes:
    """The file's name that `to_text` wrote. Absolute paths never begin like its mark."""
    return unquote_to_bytes(text.removeprefix(_BYTES)) if text.startswith(_BYTES) else text.encode("utf-8")


def manifest_line(digest: str, name: bytes) -> bytes:
    """One line as ``sha256sum`` writes it: a name with odd characters is escaped, and so marked."""
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != name else b"") + digest.encode() + b"  " + escaped + b"\n"
