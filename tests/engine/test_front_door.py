"""What `import pyworkflow` offers comes from where it says, and only when it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pyworkflow

TREE = ast.parse(Path(pyworkflow.__file__).read_text(encoding="utf-8"))


def _imports_for_type_checkers() -> dict[str, str]:
    (block,) = (node for node in TREE.body if isinstance(node, ast.If))
    froms = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: "." * f.level + (f.module or "") for f in froms for alias in f.names}


def test_type_checkers_see_the_names_that_programs_get() -> None:
    assert _imports_for_type_checkers() == pyworkflow._HOME_OF
    assert sorted(pyworkflow._HOME_OF) == pyworkflow.__all__


def test_every_name_is_listed_before_it_is_asked_for() -> None:
    assert set(pyworkflow.__all__) <= set(dir(pyworkflow))


def test_the_bare_import_loads_no_engine() -> None:
    code = "import sys, pyworkflow; print([m for m in ('asyncio', 'msgspec') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
