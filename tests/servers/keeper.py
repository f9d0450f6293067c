"""The process that owns one server: starts, kills and restarts it, and lets nothing of it outlive its users.

Those who use the server hold a connection to the keeper's control socket. When the last connection is gone
- closed, or because its owner was killed - the keeper ends the server, removes its folder and exits. If the
keeper itself is killed, the kernel ends the server, and the next keeper removes the folder. The socket lies
in the abstract namespace: its name is given out at most once at a time, and disappears with the keeper.

One line of JSON each way: `{"do": "restart"}` is answered by `{"url": …}` or `{"error": …}`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from .errors import Unavailable
from .fetch import cache_folder, fetch
from .kinds import KINDS, Kind
from .processes import Program, adopt_orphans, end_everything
from .service import Place, Service

PREFIX = "pyworkflow-server-"
NEWBORN_SECONDS = 60.0
"""A folder of another keeper is left alone for so long, because it may not be locked yet."""


def address(token: str) -> str:
    """The control socket of the keeper with this name."""
    return f"\0pyworkflow-servers/{os.getuid()}/{token}"


def main(name: str, token: str, *options: str) -> None:
    """Become the keeper of a new server. The first user's connection is standard input and standard error."""
    first = socket.socket(fileno=os.dup(0))
    if os.fork():
        os._exit(0)  # whoever started us need not wait for us
    os.setsid()
    os.environ["PYWORKFLOW_SERVERS"] = str(cache_folder().absolute())
    os.chdir("/")
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(address(token))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _send(first, {"taken": True})  # another was quicker: use that one
        return
    listener.listen(100)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    _Keeper(KINDS[name], listener, first, options).run()


class _Keeper:
    """Owns one server until nobody uses it any more."""

    def __init__(
        self, kind: Kind, listener: socket.socket, first: socket.socket, options: tuple[str, ...]
    ) -> None:
        self._kind = kind
        self._listener = listener
        self._users = {first: b""}
        self._options = options
        self._programs: list[Program] = []
        self._description: dict[str, Any] = {}
        self._service: Service

    def run(self) -> None:
        """Start the server, do what its users ask for, and end it when there is none left."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _leave)
        adopt_orphans()
        _sweep()
        with _folder(self._kind.name) as folder:
            try:
                self._create(folder)
                self._serve()
            except SystemExit:
                self._answer_all({"error": "the keeper of the server was asked to end"})
            except BaseException as error:
                self._answer_all(self._failure(error))
            self._listener.close()
            for program in reversed(self._programs):
                program.end()
            if self._programs:
                self._service.clean_up()
            end_everything()
        # The end of these connections tells their owners that all is gone.
        for user in self._users:
            user.close()

    def _create(self, folder: Path) -> None:
        for bundle in self._kind.bundles:
            fetch(bundle)
        self._service = self._kind.make(Place(folder, self._options))
        self._programs = self._service.programs
        self._start(self._programs)
        self._description = {
            "url": self._service.url,
            "ports": [program.port for program in self._programs],
            "log": str(self._programs[0].log),
            "folder": str(folder),
            "keeper": os.getpid(),
        }
        self._answer_all(self._description)

    def _serve(self) -> None:
        while True:
            for ready in select.select([self._listener, *self._users], [], [])[0]:
                if ready is self._listener:
                    self._accept()
                elif not self._hear(ready):
                    if self._is_last(ready):
                        return
                    del self._users[ready]
                    ready.close()

    def _accept(self) -> None:
        user, _ = self._listener.accept()
        self._users[user] = b""
        _send(user, self._description)

    def _is_last(self, user: socket.socket) -> bool:
        while select.select([self._listener], [], [], 0)[0]:
            self._accept()
        return list(self._users) == [user]

    def _hear(self, user: socket.socket) -> bool:
        """Do what a user asks for. False if he has left."""
        try:
            data = user.recv(65536)
        except ConnectionError:
            data = b""
        *lines, self._users[user] = (self._users[user] + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                self._do(request["do"], request.get("port"))
            except Exception as error:
                _send(user, self._failure(error))
            else:
                _send(user, self._description)
        return bool(data)

    def _do(self, what: str, port: int | None) -> None:
        chosen = [program for program in self._programs if port in (None, program.port)]
        if not chosen:
            raise OSError(f"no program of this server listens on port {port}")
        if what in ("kill", "restart"):
            for program in chosen:
                program.kill()
        elif what == "stop":
            for program in reversed(chosen):
                program.stop()
        if what in ("start", "restart"):
            self._start(chosen)

    def _start(self, programs: list[Program]) -> None:
        for program in programs:
            if not program.running:
                program.start()
        for program in programs:
            program.wait_until_up()
        if self._service.alive():
            self._service.settle()

    def _answer_all(self, answer: dict[str, Any]) -> None:
        while select.select([self._listener], [], [], 0)[0]:
            self._users[self._listener.accept()[0]] = b""
        for user in self._users:
            _send(user, answer)

    def _failure(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, Unavailable):
            return {"unavailable": str(error)}
        said = str(error) if isinstance(error, OSError) else traceback.format_exc()
        logs = [program.log for program in self._programs if not program.running and program.log.exists()]
        tails = [f"{log.name}: {log.read_text(errors='replace')[-800:]}" for log in logs]
        return {"error": "\n".join([said, *tails])}


def _send(user: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # he is gone
        user.sendall(json.dumps(answer).encode() + b"\n")


def _leave(*_: object) -> NoReturn:
    raise SystemExit


@contextlib.contextmanager
def _folder(name: str) -> Iterator[Path]:
    """A new folder, locked so that others see that it is in use, and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-")).absolute()
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder.chmod(0o711)  # programs of another user must get through it
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _sweep() -> None:
    """Remove the folders of keepers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.stat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < NEWBORN_SECONDS:
                continue
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
