"""The same work on other systems and on this one, beside each other: `python benchmarks/beside_peers.py`.

Each system has an environment of its own, which is made here by pip from the versions in
`peers/requirements/`. In every round each of them does the same work once: a run of 1,000 sequential steps,
the replay of such a run, and 200 runs of 10 steps at once. What could not be installed or did not work is
said. Systems that need PostgreSQL get a database each:

    python tests/servers postgresql -- python benchmarks/beside_peers.py --postgresql {url}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import frame
from frame import Bar

sys.path.append(str(Path(__file__).parent / "peers"))
from work import AT_ONCE, REPLAY, SYNCED, UNITS

PEERS = Path(__file__).parent / "peers"
OURS = "ours"
# The systems, and their titles.
SYSTEMS = {
    OURS: "pyworkflow-core",
    "reference": "PyWorkflow 0.4",
    "dbos": "DBOS",
    "absurd": "Absurd",
    "langgraph": "LangGraph's functional API",
    "temporal": "Temporal's replayer",
    "eventsourcing": "eventsourcing (recorders only)",
}
NEED_POSTGRESQL = {"absurd"}
ONE_STORE_A_PROCESS = {"dbos"}
# It has no workflows, so that it is no measure for a system that has.
NO_ENGINE = {"eventsourcing"}
TIME_LIMIT = 200
Key = tuple[str, str, str]  # system, store, work


class Failed(Exception):
    """A system is not there, or does not do the work; says why."""


def environment(folder: Path, system: str) -> str:
    """The Python of the system's own environment, which is made if it is not there."""
    if system == OURS:
        return sys.executable
    wanted = (PEERS / f"requirements/{system}.txt").read_text()
    place, made = folder / system, folder / system / "installed.txt"
    python = str(place / "bin/python")
    if made.exists() and made.read_text() == wanted:
        return python
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [*install, str(PEERS / f"requirements/{system}.txt")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"it cannot be installed: {_last_line(done.stderr)}")
    made.write_text(wanted)
    return python


def one_round(python: str, system: str, postgresql: str) -> Iterator[dict[str, Any]]:
    """The figures of one round of a system."""
    if not postgresql and system in NEED_POSTGRESQL:
        raise Failed("it needs PostgreSQL: --postgresql URL")
    urls = ["", postgresql] if postgresql and system in ONE_STORE_A_PROCESS else [postgresql]
    for url in urls:
        command = [python, str(PEERS / f"on_{system}.py"), *(["--postgresql", url] if url else [])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"it did not end within {TIME_LIMIT} s") from error
        yield from (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        if done.returncode:
            raise Failed(f"it ended with {done.returncode}: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1][:300]


async def databases(url: str, systems: list[str]) -> dict[str, str]:
    """A database for each."""
    connection = await asyncpg.connect(url)
    frame.note_server("postgresql", str(await connection.fetchval("SHOW server_version")))
    urls = {}
    for system in systems:
        await connection.execute(f"DROP DATABASE IF EXISTS bench_{system}")
        await connection.execute(f"CREATE DATABASE bench_{system}")
        urls[system] = urlsplit(url)._replace(path=f"/bench_{system}").geturl()
    await connection.close()
    return urls


def measure(given: argparse.Namespace) -> tuple[dict[Key, list[dict[str, Any]]], dict[str, str]]:
    """All rounds of all systems, and why some are missing."""
    systems = given.systems or list(SYSTEMS)
    urls = asyncio.run(databases(given.postgresql, systems)) if given.postgresql else {}
    taken: dict[Key, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    for turn in range(given.rounds):
        for system in systems:
            if system in missing:
                continue
            try:
                python = environment(given.environments, system)
                for figure in one_round(python, system, urls.get(system, "")):
                    taken.setdefault((system, figure["store"], figure["work"]), []).append(figure)
            except Failed as error:
                missing[system] = f"{error} (round {turn + 1})"
    return taken, missing


def values(figures: list[dict[str, Any]]) -> list[float]:
    return [figure["value"] for figure in figures]


def show_all(taken: dict[Key, list[dict[str, Any]]]) -> None:
    for work in UNITS:
        for (system, store, done), figures in sorted(taken.items()):
            if done != work:
                continue
            ours = taken.get((OURS, store, work), [])
            beside = values(ours) if system != OURS and len(ours) == len(figures) else ()
            failed = sum(figure.get("failed", 0) for figure in figures)
            frame.show(work, values(figures), UNITS[work], floor=beside, durable=figures[0]["durable"],
                       floor_is="ours", system=SYSTEMS[system], store=store, failed_runs=failed)  # fmt: skip


def show_bars(taken: dict[Key, list[dict[str, Any]]]) -> None:
    """Ours over the fastest peer: bars 1 and 3."""
    peers = {key: values(figures) for key, figures in taken.items() if key[0] not in {OURS, *NO_ENGINE}}
    ours = {key[1:]: values(figures) for key, figures in taken.items() if key[0] == OURS}
    for asked, limit in (("fastest peer", 2), ("Temporal", 100)):
        of_them = [key for key in peers if key[2] == REPLAY and key[1] != "memory"]
        of_them = [key for key in of_them if asked == "fastest peer" or key[0] == "temporal"]
        if of_them and ("file", REPLAY) in ours:
            best = min(of_them, key=lambda key: min(peers[key]))
            bar = Bar(1, limit, least=True)
            compare(
                f"replay of a step, {asked} over ours", peers[best], ours["file", REPLAY], bar, "file", best
            )
    for store in ("sqlite", "postgresql"):
        of_them = [key for key in peers if key[1:] == (store, AT_ONCE) and durable(taken[key])]
        if of_them and (store, AT_ONCE) in ours:
            best = max(of_them, key=lambda key: max(peers[key]))
            what, bar = f"{AT_ONCE}, ours over the fastest durable peer", Bar(3, 10, least=True)
            compare(what, ours[store, AT_ONCE], peers[best], bar, store, best)


def durable(figures: list[dict[str, Any]]) -> bool:
    return all(figure["durable"] == SYNCED for figure in figures)


def compare(what: str, above: list[float], below: list[float], bar: Bar, store: str, peer: Key) -> None:
    ratios = [a / b for a, b in zip(above, below, strict=False)]
    frame.show(what, ratios, "x", bar=bar, store=store, peer=f"{SYSTEMS[peer[0]]}, {peer[1]}")


def main() -> None:
    options = frame.parser(__doc__)
    options.add_argument("systems", nargs="*", help=f"of {', '.join(SYSTEMS)}; all if none is named")
    options.add_argument("--environments", type=Path, required=True, help="folder for their environments")
    options.add_argument("--postgresql", metavar="URL", default="", help="where databases may be made")
    options.add_argument("--rounds", type=int, default=3)
    with frame.kept(options) as given:
        taken, missing = measure(given)
        show_all(taken)
        show_bars(taken)
        for system, why in missing.items():
            frame.say_missing(SYSTEMS[system], why)


if __name__ == "__main__":
    main()
