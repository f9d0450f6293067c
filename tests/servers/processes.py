"""Processes that die with the one that started them, and can be killed with all that they started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
IPC_RMID = 0
NOBODY = 65534
START_SECONDS = 60.0
STARTS = 3
STOP_SECONDS = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that none gets out of sight."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def dying_with_parent(sent: int) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends this signal when the parent ends, however that happens."""
    prctl, parent = _libc.prctl, os.getpid()

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), sent)

    return in_child


def remove_shared_memory(identifier: int) -> None:
    """Remove a System V shared memory segment that a killed process left behind."""
    _libc.shmctl(identifier, IPC_RMID, None)


@dataclass(frozen=True)
class Rights:
    """How to run programs that refuse to be run by root.

    Attributes:
        prefix: words before the command.
        arguments: for `subprocess.Popen`.
    """

    prefix: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)

    def run(self, command: Sequence[str | Path], **arguments: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and raise with what it said if it fails."""
        words = [*self.prefix, *map(str, command)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, **self.arguments, **arguments
        )
        if done.returncode != 0:
            raise OSError(f"{words[len(self.prefix)]} failed: {(done.stderr or done.stdout)[-500:]}")
        return done

    def give(self, folder: Path) -> None:
        """Make a folder theirs that runs under these rights."""
        if "user" in self.arguments:
            os.chown(folder, NOBODY, NOBODY)


def unprivileged() -> Rights:
    """Rights for what refuses root: in a namespace where root looks like somebody else, or as nobody."""
    if os.geteuid() != 0:
        return Rights()
    namespace = ("unshare", "--map-user=1000", "--map-group=1000")
    if (
        shutil.which("unshare")
        and subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
    ):
        return Rights(namespace)
    return Rights(arguments={"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"})


@dataclass
class Program:
    """One process of a server, with the processes that it starts.

    Attributes:
        command: what is run.
        port: where it listens.
        ping: raises until the program answers.
        log: where its output goes.
        environment: added to that of this process.
        rights: whose it is.
        stop_signal: asks it to end in good order.
        end_signal: asks it to end at once, but without traces that a SIGKILL would leave outside its folder.
    """

    command: Sequence[str | Path]
    port: int
    ping: Callable[[], object]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    rights: Rights = field(default_factory=Rights)
    stop_signal: int = signal.SIGTERM
    end_signal: int = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.rights.prefix, *map(str, self.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=dying_with_parent(self.end_signal),  # noqa: PLW1509 - a keeper has one thread
                **self.rights.arguments,
            )

    def wait_until_up(self) -> None:
        """Wait until it answers.

        One that ends at once is begun again, a few times: after a kill the port may be
        somebody else's for a moment.

        Raises:
            OSError: it has ended, or does not answer in time.
        """
        what = f"{Path(self.command[0]).name} on port {self.port}"
        for left in reversed(range(STARTS)):
            try:
                wait_for(self.ping, lambda: self.running, what)
            except OSError:
                if self.running or not left:
                    raise
                time.sleep(0.2)
                self.start()
            else:
                return

    def stop(self) -> None:
        """End it in good order."""
        self._end(self.stop_signal)

    def end(self) -> None:
        """End it at once, without traces."""
        self._end(self.end_signal)

    def kill(self) -> None:
        """SIGKILL it and everything that it started, at once, and wait until all of it is gone."""
        if self.process is None:
            return
        pid = self.process.pid
        if self.running:
            os.kill(pid, signal.SIGSTOP)  # so that it starts nothing while we look
        others = _descendants(pid)
        for one in (*others, *([pid] if self.running else [])):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.process.wait()
        _wait_until_gone(others)

    def _end(self, sent: int) -> None:
        if self.process is None or not self.running:
            return
        if sent != signal.SIGKILL:
            self.process.send_signal(sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()


def wait_for(check: Callable[[], object], alive: Callable[[], bool], what: str) -> None:
    """Try until a check stops raising.

    Raises:
        OSError: what is waited for is no longer alive, or does not come in time.
    """
    from .wire import NotReady

    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            check()
        except (OSError, NotReady) as error:
            if not alive():
                raise OSError(f"{what} has ended") from error
            if time.monotonic() > ends:
                raise OSError(f"{what} was not up after {START_SECONDS:.0f} s: {error}") from error
            time.sleep(0.005)
        else:
            if not alive():
                raise OSError(f"{what} has ended, and somebody else answers in its place")
            return


def _parents() -> dict[int, int]:
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                status = Path(entry.path, "stat").read_text(errors="replace")
                parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    return parents


def _descendants(pid: int) -> list[int]:
    parents = _parents()
    found, front = [], {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front}
        found += sorted(front)
    return found


def _wait_until_gone(pids: Iterable[int]) -> None:
    for pid in pids:
        while os.path.exists(f"/proc/{pid}"):
            # Adopted ones are ours to reap; others disappear by themselves.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)


def end_everything() -> None:
    """SIGKILL all descendants of this process that are left."""
    left = _descendants(os.getpid())
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _wait_until_gone(left)
