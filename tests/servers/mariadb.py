"""MariaDB, from Debian's package, unpacked and not installed."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from pathlib import Path

from . import wire
from .fetch import fetch, library_path
from .processes import Program
from .service import Place, Service

SYSTEM_TABLES = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
BEFORE = """
set @auth_root_socket=NULL, @skip_auth_anonymous=1;
create database test;
use mysql;
"""
USER = """
flush privileges;
create user if not exists 'test'@'127.0.0.1' identified by 'test';
grant all on *.* to 'test'@'127.0.0.1' with grant option;
"""


class MariaDB(Service):
    """One MariaDB server with a database `test`, of the user `test` with the password `test`."""

    def __init__(self, place: Place) -> None:
        bundle = fetch("mariadb")
        share = bundle / "usr/share/mysql"
        data = place.subfolder("mariadb")
        (data / "mysql").mkdir()
        port = place.port()
        environment = library_path(bundle)
        # fmt: off
        command: list[str | Path] = [
            bundle / "usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}",
            f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}",
            *(["--user=root"] if os.geteuid() == 0 else []),
        ]
        # fmt: on
        # What mariadb-install-db does, which is a shell script that expects an installation.
        tables = "".join((share / name).read_text() for name in SYSTEM_TABLES)
        sql = f"{BEFORE}{tables}{USER}"
        done = subprocess.run(
            [*command, "--bootstrap", "--innodb-flush-method=nosync"],
            input=sql, text=True, capture_output=True, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        if done.returncode != 0:
            raise OSError(f"the system tables cannot be made: {done.stderr[-500:]}")
        # fmt: off
        options = [
            f"--port={port}", "--bind-address=127.0.0.1", "--socket=mariadb.sock", "--pid-file=mariadb.pid",
            "--skip-name-resolve", "--innodb-buffer-pool-size=64M", "--max-connections=500", *place.options,
        ]
        # fmt: on
        self.programs = [
            Program(
                [*command, *options],
                port,
                functools.partial(wire.ping_mysql, port),
                place.folder / "mariadb.log",
                environment,
                stop_signal=signal.SIGTERM,
            )
        ]
        self.url = f"mysql://test:test@127.0.0.1:{port}/test"
