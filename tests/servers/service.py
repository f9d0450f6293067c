"""What a server consists of, and the place that it is given."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from .fetch import BUNDLES, fetch, library_path
from .ports import Reservation
from .processes import Program, Rights


@dataclass
class Place:
    """A folder and ports that belong to one server.

    Attributes:
        folder: everything that it writes lies in there.
        options: of the caller, added to the command of its main programs.
    """

    folder: Path
    options: tuple[str, ...] = ()
    _reservations: list[Reservation] = field(default_factory=list)

    def port(self) -> int:
        """One more port."""
        self._reservations.append(Reservation())
        return self._reservations[-1].port

    def subfolder(self, name: str) -> Path:
        """One more folder."""
        folder = self.folder / name
        folder.mkdir()
        return folder


class Service(ABC):
    """One server, which may be several programs.

    Attributes:
        url: how drivers reach it.
        programs: in the order in which they are started. The first one's log is the server's.
    """

    url: str
    programs: list[Program]

    @abstractmethod
    def __init__(self, place: Place) -> None:
        """Write what the programs need before they are started."""

    def alive(self) -> bool:
        """Whether all programs run."""
        return all(program.running for program in self.programs)

    def settle(self) -> None:  # noqa: B027 - most need nothing
        """Called when all programs run and answer: join them, and return when the server as a whole can work.

        Called after every start, so it looks what is left to do.
        """

    def clean_up(self) -> None:  # noqa: B027 - most leave nothing
        """Called when all programs have ended for good: remove what is left of them outside the folder."""


def find(bundle: str, program: str) -> Path:
    """A program of a bundle."""
    return _in(fetch(bundle), bundle, program)


def find_reachable(place: Place, rights: Rights, bundle: str, program: str) -> Path:
    """A program of a bundle for somebody else, copied if he may not enter the cache."""
    path = find(bundle, program)
    try:
        rights.run([path, "--version"], env={**os.environ, **library_path(fetch(bundle))})
    except OSError:
        return _in(
            shutil.copytree(fetch(bundle), place.subfolder(bundle), dirs_exist_ok=True), bundle, program
        )
    return path


def _in(folder: Path, bundle: str, program: str) -> Path:
    return next(folder / path for path in BUNDLES[bundle].programs if Path(path).name == program)
