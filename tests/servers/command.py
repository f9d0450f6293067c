"""The command line of the package.

    python tests/servers NAME [OPTION…] -- COMMAND…
    python tests/servers --prepare [NAME…]
    python tests/servers --list

The first starts a server, runs the command, ends the server, and returns what the command returned. Options
are those of the server's own program, such as --appendfsync always for Redis. In the command, {url} is
replaced by the server's URL, and {restart} by a shell command that kills the server and starts it again.
Tests that the command runs find the server by the environment variable that --list shows. --prepare fetches
the programs of all servers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from . import keeper
from .errors import Unavailable
from .fetch import fetch
from .kinds import KINDS
from .processes import dying_with_parent
from .server import control, serve

USAGE = 2
NOT_FOUND = 127


def main(words: list[str]) -> int:
    """Do what a command line says, and return the exit code."""
    match words:
        case ["--keep", name, token, *options]:
            keeper.main(name, token, *options)
            return 0
        case ["--restart", token]:
            return _restart(token)
        case ["--prepare", *names] if all(name in KINDS for name in names):
            return _prepare(names or list(KINDS))
        case ["--list"]:
            print("\n".join(f"{kind.name:18}{kind.title}; {kind.variable}" for kind in KINDS.values()))
            return 0
        case ["--help"]:
            print(__doc__)
            return 0
        case [name, *rest] if name in KINDS and "--" in rest[:-1]:
            middle = rest.index("--")
            return _run(name, rest[middle + 1 :], tuple(rest[:middle]))
    print(__doc__, f"Names: {', '.join(KINDS)}", sep="\n", file=sys.stderr)
    return USAGE


def _run(name: str, command: list[str], options: tuple[str, ...]) -> int:
    # The user asks for a new one, whatever the environment names.
    for variable in KINDS[name].variables:
        os.environ.pop(variable, None)
    try:
        server = serve(name, options=options)
    except (Unavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    with server:
        replaced = [
            word.replace("{url}", server.url).replace("{restart}", server.restart_command) for word in command
        ]
        environment = {**os.environ, **dict.fromkeys(KINDS[name].variables, server.url)}
        try:
            process = subprocess.Popen(
                replaced,
                env=environment,
                preexec_fn=dying_with_parent(signal.SIGTERM),  # noqa: PLW1509 - no threads here
            )
        except OSError as error:
            print(error, file=sys.stderr)
            return NOT_FOUND
        code = _wait(process)
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the command has got it, too, and decides
            continue


def _prepare(names: list[str]) -> int:
    failed = False
    for bundle in dict.fromkeys(bundle for name in names for bundle in KINDS[name].bundles):
        try:
            print(f"{bundle}: {fetch(bundle)}")
        except Unavailable as error:
            failed = True
            print(f"{bundle}: {error}", file=sys.stderr)
    return int(failed)


def _restart(token: str) -> int:
    try:
        control(token, "restart")
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
