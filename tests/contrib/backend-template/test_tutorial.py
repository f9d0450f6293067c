"""The code of the tutorial is the code of the template, so that there is one truth."""

from __future__ import annotations

import ast
from pathlib import Path

from run_page import Block, blocks_of, write_block

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "contrib/backend-template"
BLOCKS = blocks_of((ROOT / "docs/tutorial/write-a-backend.md").read_text(encoding="utf-8"))
OF_THE_PAGE = {"hello.py"}
OF_THE_TEMPLATE = {"README.md", "LICENSE", "tests/test_environment.py", "pyworkflow_lmdb/py.typed"}


def _in_template(suffixes: tuple[str, ...]) -> set[str]:
    """Files of the template, without what tools leave there."""
    files = (p.relative_to(TEMPLATE) for p in TEMPLATE.rglob("*") if p.is_file() and p.suffix in suffixes)
    return {str(p) for p in files if not any(part.startswith((".", "__pycache__")) for part in p.parts)}


def _write(folder: Path, blocks: list[Block]) -> None:
    """What a reader has typed after these blocks."""
    for block in blocks:
        for name in block.marks.keys() & {"file", "more", "change"}:
            path = folder / block.marks[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_block(Block(block.language, block.line, block.source, {name: str(path)}))


def test_a_reader_has_the_templates_files_at_the_end(tmp_path: Path) -> None:
    _write(tmp_path, BLOCKS)
    typed = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} - OF_THE_PAGE
    assert typed == _in_template((".py", ".toml")) - OF_THE_TEMPLATE
    assert _in_template((".py", ".toml", ".md", "", ".typed")) - typed == OF_THE_TEMPLATE
    for name in sorted(typed):
        assert (tmp_path / name).read_text() == (TEMPLATE / name).read_text(), name


def test_the_planted_mistake_is_one_comparison(tmp_path: Path) -> None:
    changes = [block for block in BLOCKS if "change" in block.marks]
    wrong, right = (ast.unparse(ast.parse(block.source)) for block in changes)
    assert right.replace(" or run.lease.token != claim.token", "") == wrong
