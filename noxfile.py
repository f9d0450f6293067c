"""Everything that a contributor can run: `nox -l` lists it, `nox` alone runs the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
PROJECT: dict[str, Any] = nox.project.load_toml(ROOT / "pyproject.toml")
OTHER_PYTHONS = ("3.12", "3.13")
# Some tests take a hundred times as long as others: a worker that has nothing left takes from another.
# Many wait for a server, a process or a lease: one worker more than there are cores.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
IN_PARALLEL = ["-n", str(CORES + 1), "--dist", "worksteal"]
PROPERTY_TESTS = ["tests/engine/test_random_programs.py", "tests/core", "--ignore=tests/core/testing"]
# The server that it needs, if any, and the URL: {folder} is a temporary one, {url} the server's.
CONFORMANCE = {
    "memory": ("", "memory://"),
    "file": ("", "file://{folder}/file"),
    "sqlite": ("", "sqlite:///{folder}/laws.db?feed=1"),
    "postgresql": ("postgresql", "{url}?feed=1"),
    "mariadb": ("mariadb", "{url}"),
    "redis": ("redis", "{url}"),
    "redis6": ("redis6", "{url}"),
    "redis-cluster": ("redis-cluster", "{url}"),
    "mongodb": ("mongodb", "{url}"),
    "mongodb-replica": ("mongodb-replica", "{url}"),
    "mongodb-motor": ("mongodb-replica", "{url}&driver=motor"),
}
# Each takes less than five minutes.
BENCHMARKS = (
    "replay",
    "step",
    "file_store",
    "size",
    "startup",
    "sqlite_store",
    "postgresql_store",
    "mariadb_store",
    "redis_store",
    "mongodb_store",
)
# The server with its options, and the URL.
SCALED: dict[str, tuple[list[str], str]] = {
    "file": ([], "file:{folder}/scale-file"),
    "sqlite": ([], "sqlite:///{folder}/scale.db"),
    "postgresql": (["postgresql"], "{url}"),
    "mariadb": (["mariadb", "--innodb-buffer-pool-size=512M"], "{url}"),
    "redis": (["redis", "--appendfsync", "everysec"], "{url}"),
    "mongodb": (["mongodb"], "{url}"),
}
_AT_ONCE = 4
RULE_TESTS = ("tests/test_house_rules.py", "tests/packaging/test_layers.py", "tests/packaging/test_news.py")
TYPED_SCRIPTS = (
    "noxfile.py",
    "docs/generate.py",
    "docs/backends_page.py",
    "docs/performance_page.py",
    "docs/performance_plots.py",
    "tests/packaging/smoke.py",
    "tests/servers",
)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests in parallel. Arguments go to pytest."""
    _run_tests(session)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run the tests under coverage, with its floor. Arguments go to pytest."""
    # Not create_tmp(): it would move the tests' own temporary folders into the checkout.
    session.env["COVERAGE_FILE"] = str(session.cache_dir.resolve() / "coverage")
    session.run("coverage", "erase", silent=True)
    _run_tests(session, "coverage", "run")
    session.run("coverage", "combine", "--quiet", silent=True)
    # A part of the tests covers a part of the code: the floor holds for all of them.
    floor = PROJECT["tool"]["coverage"]["report"]["fail_under"] if not session.posargs else 0
    session.run("coverage", "report", f"--fail-under={floor}")


@nox.session(default=False)
def properties(session: nox.Session) -> None:
    """Run random programs and values with many examples; HYPOTHESIS_PROFILE=nightly for very many."""
    _install_project(session, "test")
    session.env.setdefault("HYPOTHESIS_PROFILE", os.environ.get("HYPOTHESIS_PROFILE", "ci"))
    workers = [] if any(a.startswith("-n") for a in session.posargs) else IN_PARALLEL
    session.run("pytest", "-q", *workers, *(session.posargs or PROPERTY_TESTS))


def _tests_on_another_python(session: nox.Session) -> None:
    """Run the tests on another Python, where it is installed. Arguments go to pytest."""
    _run_tests(session)


for _python in OTHER_PYTHONS:
    nox.session(name=f"tests-{_python}", python=_python, default=False)(_tests_on_another_python)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check style, types, layers, news fragments and the rules of the house."""
    _install_project(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("mypy", "--strict", *TYPED_SCRIPTS)
    session.run("lint-imports")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)
    session.run("python", "docs/generate.py", "--check")
    session.run("python", "docs/performance_page.py", "--check")
    session.run("pytest", "-q", *RULE_TESTS)


@nox.session(default=False)
def conformance(session: nox.Session) -> None:
    """Prove the laws on every backend, or those named. Options: --profile NAME, --keep the reports."""
    _install_project(session, "test")
    keep = ["--keep"] if "--keep" in session.posargs else []
    words = [word for word in session.posargs if word != "--keep"]
    names = [word for word in words if word in CONFORMANCE] or list(CONFORMANCE)
    options = [word for word in words if word not in CONFORMANCE]
    failed = []
    with tempfile.TemporaryDirectory(prefix="pyworkflow-conformance-") as folder:
        # Most of the time each waits for its disk. All at once would starve each other of processors.
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            done = threads.map(lambda name: _prove_backend(session, name, folder, options), names)
            for name, said in zip(names, done, strict=True):
                session.log(f"{name}\n{said}")
                report = Path(folder, f"{name}.json")
                score = json.loads(report.read_text())["score"] if report.exists() else "NONE"
                failed += [] if score == "1.0" else [name]
        session.run("python", "docs/backends_page.py", folder, *keep)
    if len(names) == len(CONFORMANCE):
        # Forms that differ in little, and others again as pytest runs them, in the quick profile.
        session.run("pytest", "-q", "-n", "auto", "-m", "forms", "tests/backends")
    if failed:
        session.error(f"not every law holds: {', '.join(failed)}")


@nox.session(default=False)
def kills(session: nox.Session) -> None:
    """Kill processes and servers around their appends, and race them; PYWORKFLOW_KILLS=all everywhere."""
    _install_project(session, "test")
    session.run("pytest", "-q", "-n", "auto", "-m", "kills", *(session.posargs or ["tests"]))


@nox.session(default=False)
def teeth(session: nox.Session) -> None:
    """Show that the suite bites: every faulty store is caught by the law that it breaks."""
    _install_project(session, "test")
    session.run("pytest", "-q", "-n", "auto", "-m", "teeth", *(session.posargs or ["tests"]))
    session.run("python", "-m", "pyworkflow_core.testing", "--count")


@nox.session(default=False)
def template(session: nox.Session) -> None:
    """Install the backend template as a stranger would, prove it, and walk the tutorial to it."""
    _install_project(session, "test")
    session.install("virtualenv")
    session.run("pytest", "-q", "-m", "template", *(session.posargs or ["tests/contrib"]))


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Run the code blocks of the documentation, and check that its generated pages are current."""
    _install_project(session, "test")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Run `pyworkflow demo`. Arguments go to it."""
    session.install("-e", ".")
    session.run("pyworkflow", "demo", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure us and the floors, or those named, and print each verdict; --keep makes the page of it."""
    _install_project(session, "bench")
    names = [word for word in session.posargs if word != "--keep"] or list(BENCHMARKS)
    with tempfile.TemporaryDirectory(prefix="pyworkflow-bench-") as folder:
        for name in names:
            session.run("python", f"benchmarks/{name}.py", "--json", f"{folder}/{name}.json")
        _performance_page(session, folder)


@nox.session(name="bench-peers", default=False)
def bench_peers(session: nox.Session) -> None:
    """Measure other systems beside us, each in an environment of its own; --keep makes the page of it."""
    _install_project(session, "bench")
    words = [word for word in session.posargs if word != "--keep"]
    environments = session.cache_dir.resolve() / "peers"
    with tempfile.TemporaryDirectory(prefix="pyworkflow-bench-") as folder:
        command = ["python", "benchmarks/beside_peers.py", "--environments", str(environments), *words]
        command += ["--postgresql", "{url}", "--json", f"{folder}/peers.json"]
        session.run("python", "tests/servers", "postgresql", "--", *command)
        _performance_page(session, folder)


@nox.session(name="bench-scale", default=False)
def bench_scale(session: nox.Session) -> None:
    """Measure stores as they grow to a million runs, or those named; --keep makes the page of it."""
    _install_project(session, "bench")
    names = [word for word in session.posargs if word in SCALED] or list(SCALED)
    options = [word for word in session.posargs if word != "--keep" and word not in SCALED]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_FOLDER")) as folder:
        for name in names:
            server, url = SCALED[name]
            script = ["python", "benchmarks/scale.py", url.replace("{folder}", folder), *options]
            script += ["--json", f"{folder}/scale-{name}.json"]
            session.run(*(["python", "tests/servers", *server, "--"] if server else []), *script)
        _performance_page(session, folder)


def _performance_page(session: nox.Session, folder: str) -> None:
    keep = ["--keep"] if "--keep" in session.posargs else []
    session.run("python", "docs/performance_page.py", folder, *keep)


@nox.session(default=False)
def packaging(session: nox.Session) -> None:
    """Build, look into the wheel, and use it and an editable install far from the checkout."""
    session.install("build", "virtualenv")
    with tempfile.TemporaryDirectory(prefix="pyworkflow-packaging-") as folder:
        away = Path(folder)
        session.run("python", "-m", "build", "--outdir", str(away / "dist"), str(ROOT))
        (wheel,) = (away / "dist").glob("*.whl")
        _check_wheel(session, wheel)
        # The plugin is built from a copy, so that nothing is written into the checkout.
        session.run("python", "-c", _COPY, str(ROOT / "tests/packaging/thirdparty"), str(away / "toy"))
        for name, requirement in (("wheel", [str(wheel)]), ("editable", ["-e", str(ROOT)])):
            _use_installed(session, name, away / name, requirement, away / "toy")


def _prove_backend(session: nox.Session, name: str, folder: str, options: list[str]) -> str:
    """Run the suite on one backend, beside others; what it says."""
    server, url = CONFORMANCE[name]
    command = ["pyworkflow", "conformance", url.replace("{folder}", folder), *options]
    command += ["--json", f"{folder}/{name}.json"]
    if server:
        command = ["python", "tests/servers", server, "--", *command, "--restart", "{restart}"]
    env = os.environ | {"PATH": f"{session.bin}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [f"{session.bin}/{command[0]}", *command[1:]],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


_COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])"


def _group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PROJECT, name)


def _install_project(session: nox.Session, group: str) -> None:
    session.install("-e", ".[all]", *_group(group))


def _run_tests(session: nox.Session, *measured: str) -> None:
    """Run the tests by pytest, or by what is `measured`."""
    _install_project(session, "test")
    if os.environ.get("CI") == "true":
        # So that no test's time limit includes a download. What is lacking is told by the tests that need it.
        session.run("python", "tests/servers", "--prepare", success_codes=(0, 1))
    workers = [] if any(a.startswith("-n") for a in session.posargs) else IN_PARALLEL
    session.run(*(measured or ("python",)), "-m", "pytest", *workers, *session.posargs)


def _check_wheel(session: nox.Session, wheel: Path) -> None:
    """Refuse a wheel with anything but the import packages, typed, and the licence."""
    packages = {Path(path).name for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    names = zipfile.ZipFile(wheel).namelist()
    found = {name.partition("/")[0] for name in names}
    metadata = {name for name in found if name.endswith(".dist-info")}
    problems = [f"unexpected at top level: {name}" for name in sorted(found - packages - metadata)]
    problems += [f"missing: {name}" for name in sorted(packages - found)]
    problems += [f"not typed: {name}" for name in sorted(packages) if f"{name}/py.typed" not in names]
    problems += [f"a test: {name}" for name in names if re.search(r"(^|/)(tests/|test_|conftest)", name)]
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        problems.append("no licence")
    if problems:
        session.error("the wheel is wrong: " + "; ".join(problems))
    session.log(f"{wheel.name}: {len(names)} files in {', '.join(sorted(packages))}")


def _use_installed(session: nox.Session, kind: str, venv: Path, requirement: list[str], toy: Path) -> None:
    """Install into a fresh environment and use it there, from a folder of its own."""
    session.run("python", "-m", "virtualenv", "--quiet", "--python", sys.executable, str(venv))
    scripts = venv / "bin"
    env: dict[str, str | None] = {"PYTHONPATH": None, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}

    def run(*command: str) -> None:
        session.run(str(scripts / command[0]), *command[1:], env=env, external=True)

    work = venv / "work"
    work.mkdir()
    with session.chdir(work):
        run("python", "-m", "pip", "install", "--quiet", *requirement)
        run("pyworkflow", "--help")
        run("pyworkflow", "backends")
        run("pyworkflow", "demo")
        run("python", "-m", "pip", "install", "--quiet", str(toy), "mypy")
        run("pyworkflow", "backends")
        run("python", str(ROOT / "tests/packaging/smoke.py"), kind)
        run("python", "-m", "mypy", "--strict", str(ROOT / "tests/packaging/smoke.py"))
        run("python", "-m", "mypy", "--strict", "-p", "toy_backend")
        run("python", "-m", "pip", "check")
