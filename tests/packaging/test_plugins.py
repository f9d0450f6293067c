"""Backends are found as plugins: each test installs some into a folder and asks from a new process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "thirdparty"

PLUGIN = """
from pyworkflow_core.plugins import BackendInfo, hookimpl

@hookimpl
def pyworkflow_backend():
    return BackendInfo({arguments})
"""


class Site:
    """A folder of installed distributions, as pip would leave it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def module(self, name: str, source: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source))

    def distribution(self, name: str, entries: dict[str, str], version: str = "1.0") -> None:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{scheme} = {value}" for scheme, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[pyworkflow.backends]", *lines]) + "\n")

    def plugin(self, scheme: str, arguments: str, *, of: str = "") -> None:
        """A distribution of its own with one light module."""
        module = f"{(of or scheme).replace('-', '_')}_plugin"
        self.module(module, PLUGIN.format(arguments=arguments))
        self.distribution(of or f"{scheme}-backend", {scheme: module})

    def toy(self) -> None:
        """The whole third-party backend, under its own name."""
        (self.folder / "toy_backend").symlink_to(TOY / "toy_backend")
        self.distribution("toy-backend", {"toy": "toy_backend._plugin"})

    def run(self, program: str) -> str:
        """What a new process prints that has this folder on its path."""
        prelude = """
            import sys
            from pyworkflow_core.plugins import list_backends, open_storage

            def refusal(url):
                try:
                    open_storage(url)
                except Exception as error:
                    return f"{type(error).__name__}: {error}"
                raise AssertionError(f"{url} was opened")
        """
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(prelude) + textwrap.dedent(program)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


def test_a_strangers_backend_is_opened_by_its_url(site: Site) -> None:
    site.toy()
    assert site.run("print(type(open_storage('toy://x')).__name__)") == "ToyBackend\n"
    assert site.run("print(type(open_storage('TOY:')).__name__)") == "ToyBackend\n"


def test_a_strangers_backend_keeps_what_it_is_given(site: Site) -> None:
    site.toy()
    smoke = Path(__file__).with_name("smoke.py")
    program = f"""
        import asyncio, importlib.util
        spec = importlib.util.spec_from_file_location("smoke", {str(smoke)!r})
        smoke = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(smoke)
        asyncio.run(smoke.append_and_read("toy://"))
        print("kept")
    """
    assert site.run(program) == "kept\n"


def test_an_unknown_scheme_names_a_close_match_and_what_is_installed(site: Site) -> None:
    site.toy()
    text = site.run("print(refusal('toyy://x'))")
    assert text.startswith("UnknownBackendError: no storage backend answers to 'toyy'. Did you mean 'toy'?")
    installed = text.partition("Installed: ")[2].strip(".\n").split(", ")
    assert {"file", "memory", "toy"} <= set(installed)


def test_an_unknown_scheme_like_no_other_gets_no_guess(site: Site) -> None:
    assert "Did you mean" not in site.run("print(refusal('qqqqqqq://x'))")


def test_two_distributions_with_one_name_are_both_named(site: Site) -> None:
    site.plugin("same", "open='nowhere:x'", of="first-backend")
    site.plugin("same", "open='nowhere:x'", of="second-backend")
    site.toy()
    text = site.run("print(refusal('same://x')); print(type(open_storage('toy:')).__name__)")
    assert text.startswith("DuplicateBackendError: ")
    assert "first-backend 1.0" in text
    assert "second-backend 1.0" in text
    assert text.endswith("ToyBackend\n")


def test_the_same_distribution_seen_twice_is_no_duplicate(site: Site) -> None:
    site.toy()
    site.distribution("toy-backend", {"toy": "toy_backend._plugin"}, version="1.1")
    assert site.run("print(type(open_storage('toy://x')).__name__)") == "ToyBackend\n"


def test_a_broken_plugin_reports_its_cause_and_breaks_no_other(site: Site) -> None:
    site.module("broken_plugin", "raise ValueError('no luck today')")
    site.distribution("broken-backend", {"broken": "broken_plugin"})
    site.toy()
    program = """
        try:
            open_storage("broken://x")
        except Exception as error:
            print(type(error).__name__, "|", error, "|", repr(error.__cause__))
        print({b.scheme: b.problem for b in list_backends()}["broken"])
        print(repr({b.scheme: b.problem for b in list_backends()}["toy"]))
        print(type(open_storage("toy://x")).__name__)
    """
    first, second, third, fourth = site.run(program).splitlines()
    assert first.startswith("BrokenBackendError | storage backend 'broken' of broken-backend 1.0")
    assert first.endswith("ValueError: no luck today | ValueError('no luck today')")
    assert "ValueError: no luck today" in second
    assert (third, fourth) == ("''", "ToyBackend")


@pytest.mark.parametrize(
    "source",
    [
        "import a_module_that_is_not_there",
        "this is not Python",
        "from pyworkflow_core.plugins import a_name_of_another_version",
    ],
)
def test_a_plugin_that_cannot_be_imported_is_called_broken(site: Site, source: str) -> None:
    site.module("broken_plugin", source)
    site.distribution("broken-backend", {"broken": "broken_plugin"})
    assert site.run("print(refusal('broken:'))").startswith("BrokenBackendError: ")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def pyworkflow_backend(): return None",
        PLUGIN.format(arguments="open='a:b'").replace("BackendInfo(", "dict("),
    ],
)
def test_a_module_that_describes_no_backend_says_what_it_lacks(site: Site, source: str) -> None:
    site.module("empty_plugin", source)
    site.distribution("empty-backend", {"empty": "empty_plugin"})
    text = site.run("print(refusal('empty://x'))")
    assert text.startswith("BrokenBackendError: storage backend 'empty' of empty-backend 1.0")
    assert "@hookimpl" in text
    assert "pyworkflow_backend()" in text


def test_a_missing_driver_says_what_to_install(site: Site) -> None:
    site.plugin("redlike", "open='nowhere:x', extra='redis', drivers=('a_missing_driver',)")
    text = site.run("print(refusal('redlike://x'))")
    assert text.startswith("MissingDriverError: storage backend 'redlike' needs 'a_missing_driver'")
    assert "pip install 'pyworkflow-core[redis]'" in text


def test_a_strangers_missing_driver_names_its_own_requirement(site: Site) -> None:
    site.plugin("rocks", "open='nowhere:x', extra='rocks-backend[driver]', drivers=('a_missing_driver',)")
    assert "pip install 'rocks-backend[driver]'" in site.run("print(refusal('rocks://x'))")
    assert "pip install 'rocks-backend[driver]'" in site.run("print(list_backends())")


def test_listing_backends_imports_no_driver_and_no_backend(site: Site) -> None:
    site.module("a_driver", "raise SystemExit('the driver was imported')")
    site.module("heavy", "raise SystemExit('the backend was imported')")
    site.plugin("heavy-one", "open='heavy:x', drivers=('a_driver',), summary='big'")
    program = """
        one = {b.scheme: b for b in list_backends()}["heavy-one"]
        print(one.summary, repr(one.problem), one.distribution)
        print([m for m in ("a_driver", "heavy") if m in sys.modules])
    """
    assert site.run(program) == "big '' heavy-one-backend 1.0\n[]\n"


def test_importing_the_plugin_interface_loads_no_plugin(site: Site) -> None:
    site.toy()
    assert site.run("print([m for m in sys.modules if m.startswith('toy')])") == "[]\n"


def test_a_driver_in_the_scheme_does_not_change_the_backend(site: Site) -> None:
    site.toy()
    assert site.run("print(type(open_storage('toy+fast://x')).__name__)") == "ToyBackend\n"


def test_a_registered_scheme_with_a_plus_wins(site: Site) -> None:
    site.toy()
    site.module("plus", "def open_url(url): raise LookupError('the one with a plus')")
    site.plugin("toy+fast", "open='plus:open_url'", of="plus-backend")
    assert "the one with a plus" in site.run("print(refusal('toy+fast://x'))")


def test_the_backend_gets_the_url_as_it_was_written(site: Site) -> None:
    site.module("echo", "def open_url(url): raise LookupError(url)")
    site.plugin("echo", "open='echo:open_url'")
    assert site.run("print(refusal('Echo+x://A/b?c=%20#d'))") == (
        "BrokenBackendError: storage backend 'echo': echo:open_url failed: LookupError: Echo+x://A/b?c=%20#d\n"
    )
    assert "hunter2" not in site.run("print(refusal('echo://user:hunter2@host/db'))")


def test_a_plugin_that_cannot_describe_itself_is_listed_with_its_problem(site: Site) -> None:
    site.plugin("bad", "opn='bad:open_url'")
    listed = site.run(
        "from pyworkflow_core.plugins import list_backends\n"
        "print([b.problem for b in list_backends() if b.scheme == 'bad'])"
    )
    assert "storage backend 'bad' of" in listed
    assert "cannot describe itself: TypeError" in listed


@pytest.mark.parametrize("url", ["", "runs", "/var/runs", "./runs", ":memory:", "//host/x"])
def test_a_url_without_a_scheme_is_refused_with_an_example(site: Site, url: str) -> None:
    text = site.run(f"print(refusal({url!r}))")
    assert text.startswith("ConfigurationError: ")
    assert "file:///" in text


@pytest.mark.parametrize(
    "url",
    [
        "nothing://user:hunter2@host/db",
        "//user:hunter2@host/db",
        "broken://user:hunter2@host/db",
        "broken+x://user:hunter2@host:99999/db",
        "//user:hunter2@[half/db",
        "user:hunter2@host/db",
        "user:hunter2@host:5432",
        "wrong://user:hunter2@host/db",
    ],
)
def test_no_error_text_shows_a_password(site: Site, url: str) -> None:
    site.module("broken_plugin", "raise ValueError('no luck')")
    site.distribution("broken-backend", {"broken": "broken_plugin"})
    site.module("wrong", "def open_url(url): return url")
    site.plugin("wrong", "open='wrong:open_url'")
    assert "hunter2" not in site.run(f"print(refusal({url!r}))")


def test_a_factory_that_returns_no_backend_is_called_broken(site: Site) -> None:
    site.module("wrong", "def open_url(url): return 7")
    site.plugin("wrong", "open='wrong:open_url'")
    text = site.run("print(refusal('wrong://x'))")
    assert text.startswith("BrokenBackendError: ")
    assert "returned int, not a StorageBackend" in text


@pytest.mark.parametrize("target", ["nowhere:open_url", "echo:nothing", "echo"])
def test_a_backend_that_cannot_be_resolved_is_called_broken(site: Site, target: str) -> None:
    site.module("echo", "")
    site.plugin("lost", f"open={target!r}")
    assert site.run("print(refusal('lost://x'))").startswith("BrokenBackendError: storage backend 'lost'")
