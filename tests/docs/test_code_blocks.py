"""The code in the documentation works: every page's blocks are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN_PAGE = Path(__file__).with_name("run_page.py")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# It installs a distribution: tests/contrib/backend-template/test_installed.py walks it.
WALKED = ROOT / "docs/tutorial/write-a-backend.md"


def run(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUN_PAGE), *options, str(page)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def _has_code(page: Path) -> bool:
    return re.search(r"^ *`{3,}(python|console)", page.read_text(encoding="utf-8"), re.M) is not None


HERE = [page for page in PAGES if _has_code(page) and page != WALKED]


@pytest.mark.parametrize("page", HERE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    done = run(page, tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_another_file_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def _all_pages_reached_from(start: Path) -> set[Path]:
    reached: set[Path] = set()
    ahead = [start.resolve()]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        ahead += [(page.parent / link).resolve() for link in links]
    return reached


def test_every_page_can_be_reached_from_the_first_one() -> None:
    reached = _all_pages_reached_from(ROOT / "docs/index.md")
    unreached = {
        p for p in PAGES if p.resolve() not in reached and p.name not in ("README.md", "template.md")
    }
    assert sorted(str(p.relative_to(ROOT)) for p in unreached) == []


def check(text: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return run(page, folder, *options)


def test_blocks_of_a_page_share_a_namespace_and_a_folder(tmp_path: Path) -> None:
    done = check(
        "```python\nimport os\nx = 1\nopen('kept', 'w').close()\n```\n\ntext\n\n"
        "```python\nprint(x + 1, os.path.exists('kept'))\n```\n",
        tmp_path,
    )
    assert done.stdout == "2 True\n", done.stderr


def test_await_is_allowed_at_top_level_in_one_loop(tmp_path: Path) -> None:
    done = check(
        "```python\nimport asyncio\nloop = asyncio.get_running_loop()\nawait asyncio.sleep(0)\n```\n"
        "```python\nawait asyncio.sleep(0)\nassert asyncio.get_running_loop() is loop\nprint('ok')\n```\n",
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "ok\n") or "no running event loop" in done.stderr, (
        done.stderr
    )


def test_a_failing_block_fails_with_its_page_and_line(tmp_path: Path) -> None:
    done = check("# Title\n\n```python\nx = 1\nraise ValueError(x)\n```\n", tmp_path)
    assert done.returncode != 0
    assert 'page.md", line 5' in done.stderr


def test_a_marked_block_is_compiled_and_not_run(tmp_path: Path) -> None:
    mark = "<!-- no-run: it would never end -->\n"
    assert check(f"{mark}```python\nraise ValueError\n```\n", tmp_path).returncode == 0
    assert "SyntaxError" in check(f"{mark}```python\nis not python\n```\n", tmp_path).stderr


def test_a_mark_that_is_above_no_block_is_refused(tmp_path: Path) -> None:
    assert "directly above" in check("<!-- no-run: why -->\n\ntext\n", tmp_path).stderr


def test_an_unclosed_block_is_refused(tmp_path: Path) -> None:
    assert "not closed" in check("```python\nx = 1\n", tmp_path).stderr


@pytest.mark.parametrize(("mark", "passes"), [("", False), ("<!-- exit: 127 -->\n", True)])
def test_a_command_must_exit_as_the_page_says(tmp_path: Path, mark: str, passes: bool) -> None:
    # A command that no version has: the shell does not find it and says 127.
    done = check(f"{mark}```console\n$ pyworkflow-that-is-not-there now\nout\n```\n", tmp_path)
    assert (done.returncode == 0) is passes, done.stderr


def test_a_block_with_a_file_mark_becomes_that_file_and_commands_use_it(tmp_path: Path) -> None:
    done = check(
        "<!-- file: two.py -->\n```python\nprint('in the file')\n```\n\n```console\n$ python two.py\n```\n",
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "$ python two.py\nin the file\n"), done.stderr


def test_a_shown_run_id_stands_for_the_one_that_was_printed(tmp_path: Path) -> None:
    done = check(
        "<!-- file: say.py -->\n```python\nimport sys\nprint('run_' + 'a' * 20, *sys.argv[1:])\n```\n\n"
        f"```console\n$ python say.py\nrun_{'1' * 20}\n$ python say.py run_{'1' * 20} run_{'2' * 20}\n```\n",
        tmp_path,
    )
    assert f"say.py run_{'a' * 20} run_{'2' * 20}\n" in done.stdout, done.stderr


def test_a_command_killed_by_a_signal_exits_as_a_shell_says(tmp_path: Path) -> None:
    page = (
        "<!-- file: die.py -->\n```python\nimport os\nos.kill(os.getpid(), 9)\n```\n\n"
        "<!-- exit: 137 -->\n```console\n$ NOW=yes python die.py\n```\n"
    )
    done = check(page, tmp_path)
    assert done.returncode == 0, done.stderr


def test_other_commands_of_a_console_block_are_not_run(tmp_path: Path) -> None:
    assert check("```console\n$ exit 3\n$ pip install nothing\n```\n", tmp_path).returncode == 0


def test_a_file_goes_on_two_lines_below_its_end(tmp_path: Path) -> None:
    parts = ["def f():\n    return 1\n", "def g():\n    return f()\n"]
    page = [f"<!-- {m}: a.py -->\n```python\n{p}```\n" for m, p in zip(["file", "more"], parts, strict=True)]
    done = check("\n".join(page), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.py").read_text() == f"{parts[0]}\n\n{parts[1]}"


def test_a_changed_function_takes_the_place_of_the_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def f():\n    return 1\n\n\ndef g():\n    return f()\n")
    done = check("<!-- change: one.py -->\n```python\ndef f():\n    return 2\n```\n", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.py").read_text() == "def f():\n    return 2\n\n\ndef g():\n    return f()\n"


def test_a_page_that_is_walked_runs_every_command_where_it_says(tmp_path: Path) -> None:
    done = check("```console\n$ mkdir here\n$ cd here\n$ touch it\n```\n", tmp_path, "--walk")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here/it").exists()


@pytest.mark.parametrize(
    ("shown", "passes"),
    [
        ("one two\nfour", True),
        ("one   two", True),
        ("… two\nth…", True),
        (f"run_{'0' * 20} ends", True),
        ("two", False),
        ("four\none two", False),
    ],
)
def test_a_page_that_is_walked_must_print_what_it_shows(tmp_path: Path, shown: str, passes: bool) -> None:
    say = f"printf 'one two\\nthree\\nrun_{'a' * 20}  ends\\nfour\\n'"
    done = check(f"```console\n$ {say}\n{shown}\n```\n", tmp_path, "--walk")
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
    assert passes or "did not print" in done.stderr
