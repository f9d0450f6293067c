"""PostgreSQL, and pgbouncer before it. Both refuse to be run by root."""

from __future__ import annotations

import functools
import os
import shutil
import signal
from pathlib import Path

from . import wire
from .fetch import library_path
from .processes import Program, Rights, remove_shared_memory, unprivileged
from .service import Place, Service, find_reachable

USER = "postgres"
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "timezone=UTC",
    "max_connections=200",
    "dynamic_shared_memory_type=mmap",  # inside the data folder, where it is removed with the rest
)


class PostgreSQL(Service):
    """One PostgreSQL server whose user `postgres` needs no password."""

    def __init__(self, place: Place) -> None:
        self._start(place, place.options)

    def _start(self, place: Place, options: tuple[str, ...]) -> None:
        rights = unprivileged()
        port = place.port()
        home = place.subfolder("postgresql")
        rights.give(home)
        self._data = home / "data"
        programs = find_reachable(place, rights, "postgresql-18", "postgres").parent
        environment = {**ENVIRONMENT, **library_path(programs.parents[2])}
        # fmt: off
        rights.run([
            programs / "initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync", "--no-instructions",
        ], env={**os.environ, **environment})
        # fmt: on
        settings = [word for setting in (f"port={port}", *SETTINGS, *options) for word in ("-c", setting)]
        self.programs = [
            Program(
                [programs / "postgres", "-D", self._data, *settings],
                port,
                functools.partial(wire.ping_postgresql, port, USER, USER),
                place.folder / "postgresql.log",
                environment,
                rights,
                stop_signal=signal.SIGINT,
                end_signal=signal.SIGQUIT,  # at once, but it still removes its shared memory
            )
        ]
        self.url = f"postgresql://{USER}@127.0.0.1:{port}/{USER}"

    def clean_up(self) -> None:
        """Remove the shared memory that a killed server left."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return  # it ended in good order
        if len(lines) > 6 and len(key := lines[6].split()) == 2:
            remove_shared_memory(int(key[1]))


class PgBouncer(PostgreSQL):
    """A PostgreSQL server behind a pooler that gives a client another session for each transaction.

    Options are the pooler's, a file among them a copy that it may read.
    """

    def __init__(self, place: Place) -> None:
        self._start(place, ())
        rights, server, port = self.programs[0].rights, self.programs[0].port, place.port()
        program = find_reachable(place, rights, "pgbouncer", "pgbouncer")
        settings = place.folder / "pgbouncer.ini"
        options = "\n".join(_own_file(option, place.folder, rights) for option in place.options)
        settings.write_text(
            f"""[databases]
* = host=127.0.0.1 port={server} user={USER}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
{options}
"""
        )
        self.programs.append(
            Program(
                [program, settings],
                port,
                functools.partial(wire.ping_postgresql, port, USER, USER),
                place.folder / "pgbouncer.log",
                library_path(program.parents[2]),
                rights,
                stop_signal=signal.SIGINT,
            )
        )
        self.url = f"postgresql://{USER}@127.0.0.1:{port}/{USER}"


def _own_file(option: str, folder: Path, rights: Rights) -> str:
    """The option; a file that it names becomes a copy that the server may read, and nobody else."""
    name, _, value = option.partition("=")
    if not name.endswith("_file"):
        return option
    copy = folder / Path(value).name
    shutil.copyfile(value, copy)
    copy.chmod(0o600)
    rights.give(copy)
    return f"{name}={copy}"
