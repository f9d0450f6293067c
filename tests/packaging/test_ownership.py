"""A second owner of the import package is seen in what is really installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# The folder comes last on the path, so that the stranger's files do not hide ours.
PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from pyworkflow._ownership import check_sole_owner
try:
    check_sole_owner()
except Exception as error:
    print(type(error).__name__, error)
else:
    print("alone")
"""


def ask(site: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(site)],
        cwd=site,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def install(site: Path, name: str, *files: str) -> None:
    info = site / f"{name}-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    for file in files:
        (site / file).parent.mkdir(exist_ok=True)
        (site / file).touch()
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_this_installation_has_one_owner(tmp_path: Path) -> None:
    assert ask(tmp_path) == "alone\n"


def test_a_stranger_that_installed_into_the_package_is_named(tmp_path: Path) -> None:
    install(tmp_path, "stranger", "pyworkflow/strange.py")
    assert ask(tmp_path).startswith(
        "ConfigurationError the import package 'pyworkflow' belongs to pyworkflow-core"
    )
    assert "stranger" in ask(tmp_path)


def test_a_stranger_with_a_longer_package_name_is_left_alone(tmp_path: Path) -> None:
    install(tmp_path, "stranger", "pyworkflow_stranger/__init__.py")
    assert ask(tmp_path) == "alone\n"
