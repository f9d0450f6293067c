"""The frame of every benchmark: one shape for all figures, and what they were taken on.

A script takes a figure several times, in rounds, and shows their median and how far they are apart; the
floor beside it is taken in the same rounds. Each figure is printed as one JSON object a line, and with
`--json FILE` all of them are kept in a file, together with the machine. The standard library only: the
peers' scripts use this from environments in which nothing of this project is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUNDS = 5
SYNCED = "synced before it is acknowledged"
UNSYNCED = "handed to the operating system, not synced"
NOT_DURABLE = "kept in memory only"
READS = "nothing is written"
DRIVERS = ("msgspec", "aiosqlite", "asyncmy", "asyncpg", "hiredis", "motor", "pymongo", "redis", "sqlalchemy")
FIGURES: list[dict[str, Any]] = []
NOTED: dict[str, str] = {}


@dataclass(frozen=True)
class Bar:
    """What a figure, or its ratio over the floor, may be at most or must be at least."""

    number: int
    limit: float
    least: bool = False
    over_floor: bool = False

    def text(self, unit: str) -> str:
        of = "x floor" if self.over_floor else unit
        return f"{'≥' if self.least else '≤'} {self.limit:,g} {of}".rstrip()

    def verdict(self, value: float) -> str:
        met = value >= self.limit if self.least else value <= self.limit
        return "met" if met else "MISSED"


def show(
    what: str,
    values: Sequence[float] | float,
    unit: str,
    *,
    bar: Bar | None = None,
    floor: Sequence[float] | float = (),
    durable: str = "",
    **more: Any,
) -> dict[str, Any]:
    """Print one figure, taken in rounds, and keep it for the file.

    Args:
        what: what was measured.
        values: one a round.
        unit: of the values, and of the floor.
        bar: what is asked of it.
        floor: one a round, taken beside the values.
        durable: what an acknowledgement is worth where this was measured.
        more: whatever else is to be known, such as the ``store``.
    """
    rounds, floors = _rounds(values), _rounds(floor)
    figure: dict[str, Any] = {"bar": bar.number if bar else None, "what": what, "unit": unit}
    figure |= {"median": _middle(rounds), "spread": _spread(rounds), "rounds": len(rounds)}
    compared = statistics.median(rounds)
    if floors:
        ratios = [a / b for a, b in zip(rounds, floors, strict=True)]
        figure |= {"floor": _middle(floors), "floor_spread": _spread(floors)}
        figure |= {"ratio": _middle(ratios), "ratio_spread": _spread(ratios)}
        compared = statistics.median(ratios) if bar and bar.over_floor else compared
    if bar is not None:
        figure |= {"limit": bar.text(unit), "verdict": bar.verdict(compared)}
    if durable:
        figure["durable"] = durable
    figure |= {name: _short(value) if isinstance(value, float) else value for name, value in more.items()}
    FIGURES.append(figure)
    print(json.dumps(figure, ensure_ascii=False), flush=True)
    return figure


def say_missing(what: str, why: str) -> None:
    """Say that something could not be measured, so that nobody takes its absence for a result."""
    FIGURES.append({"bar": None, "what": what, "missing": why})
    print(json.dumps(FIGURES[-1], ensure_ascii=False), flush=True)


def by_rounds(samples: Sequence[float], rounds: int = ROUNDS) -> list[float]:
    """The medians of so many consecutive parts."""
    size = max(1, len(samples) // rounds)
    parts = [samples[begin : begin + size] for begin in range(0, size * rounds, size)]
    return [statistics.median(part) for part in parts if part]


def growth(samples: Sequence[float], part: int = 100) -> float:
    """What the last of them cost over the first."""
    return statistics.median(samples[-part:]) / statistics.median(samples[:part])


def parser(document: str | None) -> argparse.ArgumentParser:
    """The options of a script: those of its own are added to ``--json``."""
    made = argparse.ArgumentParser(description=(document or "").splitlines()[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="keep the figures and the machine there")
    return made


@contextlib.contextmanager
def kept(options: argparse.ArgumentParser) -> Iterator[argparse.Namespace]:
    """Read the command line; when the script has shown all its figures, keep them if that was asked for."""
    given = options.parse_args()
    FIGURES.clear()
    before = machine()  # its load is that before anything was measured
    began = time.monotonic()
    yield given
    if given.json:
        before["servers"] = dict(NOTED)
        name = Path(sys.argv[0]).stem
        whole = {"script": name, "machine": before, "seconds": round(time.monotonic() - began)}
        write(given.json, whole | {"figures": FIGURES})


def write(path: Path, whole: dict[str, Any]) -> None:
    """Keep a report, in a form in which differences of versions can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A folder for data below $BENCH_FOLDER, or where temporary files are; better a real disk."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_FOLDER")) as made:
        yield made


def note_server(name: str, version: str) -> None:
    """Say which server a script has measured."""
    NOTED[name] = version


def machine() -> dict[str, Any]:
    """What figures depend on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": _memory(),
        "os": _os(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "medium": _medium(os.environ.get("BENCH_FOLDER") or tempfile.gettempdir()),
        "load_before": round(load, 1),
        "drivers": dict(_versions()),
    }


def rss_mib(pid: int | str = "self") -> float:
    """The memory that a process has now, on Linux."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _rounds(values: Sequence[float] | float) -> list[float]:
    return [values] if isinstance(values, int | float) else list(values)


def _short(value: float) -> float:
    """Four digits: more are noise."""
    return float(f"{value:.4g}") if abs(value) < 10_000 else round(value)


def _middle(values: list[float]) -> float:
    return _short(statistics.median(values))


def _spread(values: list[float]) -> list[float]:
    return [_short(min(values)), _short(max(values))]


def _versions() -> Iterator[tuple[str, str]]:
    for name in DRIVERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _os() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return platform.platform(terse=True)


def _medium(path: str) -> str:
    """The kind of file system that data is written to."""
    path, found = os.path.realpath(path), ("", "unknown")
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, place, kind = line.split()[:3]
            inside = path == place or path.startswith(place.rstrip("/") + "/")
            if inside and len(place) >= len(found[0]):
                found = place, kind
    return found[1]
