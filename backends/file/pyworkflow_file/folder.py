"""Whether a folder can hold a store: its kind of file system, its format, its rights."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from pyworkflow_core.errors import ConfigurationError, CorruptLog, StorageUnavailable, UnsupportedSchema
from pyworkflow_core.mounts import network_file_system

from .disk import storage_error

if TYPE_CHECKING:
    from .disk import Disk

FORMAT = 1
_FORMAT_LINE = "pyworkflow file store {}\n"

_TRIES = 10


def check_platform(platform: str = sys.platform) -> None:
    """Refuse a system whose locks and syncs the store does not know.

    Raises:
        ConfigurationError: it is neither Linux nor macOS.
    """
    if platform not in {"linux", "darwin"}:
        raise ConfigurationError(
            f"the file store runs on Linux and macOS, not on {platform!r}; use a database backend there"
        )


def check_local(folder: str, mounts: str) -> None:
    """Refuse a folder on a network, where locks and syncs do not mean what they say.

    Raises:
        StorageUnavailable: the folder lies on such a file system.
    """
    if kind := network_file_system(folder, mounts):
        raise StorageUnavailable(
            f"{folder} is on a network file system ({kind}), where locks and syncs cannot be relied on. "
            "Use a local disk or a database; network_ok=1 takes the risk."
        )


def make_folder(folder: str, disk: Disk) -> None:
    """Create the folder where there is none, so that it survives a power failure.

    Raises:
        StorageUnavailable: something else has the name, or the parent cannot be written.
    """
    for left in reversed(range(_TRIES)):
        try:
            _make_missing(folder, disk)
            return
        except FileNotFoundError as error:
            if not left:  # somebody removes the empty folder above it each time
                raise storage_error(error, folder, "use") from error
        except OSError as error:
            raise storage_error(error, folder, "use") from error


def _make_missing(folder: str, disk: Disk) -> None:
    missing = []
    path = os.path.abspath(folder)
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for name in reversed(missing):
        os.makedirs(name, exist_ok=True)
        disk.sync_folder(os.path.dirname(name))
    if not os.path.isdir(folder):
        raise NotADirectoryError(20, "not a folder")


def check_made(folder: str) -> None:
    """Refuse a folder in which no store has been made.

    Raises:
        UnsupportedSchema: there is none, and this handle must not make one.
    """
    if not os.path.exists(os.path.join(folder, "FORMAT")):
        raise UnsupportedSchema(
            f"there is no store in {folder}, and migrate=never forbids to make one; "
            "'pyworkflow storage init' makes it",
            found=0,
            needed=FORMAT,
        )


def check_format(folder: str, disk: Disk) -> None:
    """Note the store's format in a new folder, and refuse one that newer code wrote.

    Raises:
        UnsupportedSchema: the format is newer than this code.
        CorruptLog: the format file holds something else.
    """
    path = os.path.join(folder, "FORMAT")
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(100)
    except FileNotFoundError:
        text = ""
    if not text:
        # Written aside and renamed, so that nobody ever reads half of it.
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(_FORMAT_LINE.format(FORMAT))
            file.flush()
            disk.sync(file.fileno())
        os.replace(path + ".new", path)
        disk.sync_folder(folder)
        return
    match = re.fullmatch(_FORMAT_LINE.format(r"(\d{1,9})"), text)
    if match is None:
        raise CorruptLog(f"{path} holds {text[:40]!r}, not the format of a file store", location=f"{path}:0")
    if int(match[1]) > FORMAT:
        raise UnsupportedSchema(
            f"{folder} has format {match[1]}; this version of pyworkflow reads up to {FORMAT}. Upgrade it.",
            found=int(match[1]),
            needed=FORMAT,
        )
