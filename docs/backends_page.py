"""The page of the backends, from the reports of the conformance suite that are kept beside it.

`python docs/backends_page.py FOLDER` compares fresh reports with the kept ones, law by law;
with `--keep` it keeps the fresh ones instead. Seeds, versions and times are not compared.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pyworkflow_core.testing.laws.table import LAWS, PARTS
from pyworkflow_core.testing.report import Report, Verdict, read_report

KEPT = Path(__file__).parent / "reference/conformance"
WORDS = {
    "durable": "an acknowledged append survives a killed process",
    "multi_process": "several processes may use one namespace",
    "feed": "a feed of all runs' events",
    "push": "workers are woken, and need not poll",
    "transactions": "an append can join your own transaction",
}
YES = {True: "yes", False: "-"}


def backends_page(note: str) -> str:
    """The page, from the kept reports."""
    reports = {path.stem: read_report(path.read_bytes()) for path in sorted(KEPT.glob("*.json"))}
    return "\n".join([note, *_page(reports)])


def _page(reports: dict[str, Report]) -> Iterator[str]:
    yield "# Backends\n"
    yield (
        "What the [conformance suite](laws.md) found of each backend of this project. A figure is laws\n"
        "obeyed of laws that apply; `-` is a capability that the backend does not declare. Continuous\n"
        "integration runs the suite and fails if it finds anything else than what stands here.\n"
    )
    yield f"| backend | {' | '.join(PARTS)} | suite |\n|---|{'---|' * (len(PARTS) + 1)}"
    for name, report in reports.items():
        figures = [fraction(report, part) for part in PARTS]
        yield f"| `{name}` | {' | '.join(figures)} | {report.score} |"
    yield "\n## What they can do\n"
    yield f"| | {' | '.join(f'`{name}`' for name in reports)} |\n|---|{'---|' * len(reports)}"
    for capability, words in WORDS.items():
        cells = [YES[getattr(report.capabilities, capability)] for report in reports.values()]
        yield f"| `{capability}`: {words} | {' | '.join(cells)} |"
    for attribute, words in (("clock", "whose clock says what is due"), ("due_order", "priorities order")):
        cells = [str(getattr(report.capabilities, attribute)) for report in reports.values()]
        yield f"| `{attribute}`: {words} | {' | '.join(cells)} |"
    losses = [report.capabilities.failover_loss or "nothing" for report in reports.values()]
    yield f"| `failover_loss`: what a failover can lose | {' | '.join(losses)} |"
    yield "\n## What is not shown\n"
    missing = [line for name, report in reports.items() for line in _missing(name, report)]
    yield (
        "\n".join(missing)
        if missing
        else "Nothing: every law that a backend declares was checked, and holds."
    )
    yield ""


def _missing(name: str, report: Report) -> Iterator[str]:
    for result in report.results:
        law = f"`{name}`: law {result.law}, {LAWS[result.law].sentence}"
        if result.verdict is Verdict.FAILED:
            yield f"- {law}: broken{f' ({result.known})' if result.known else ''}."
        elif result.verdict is Verdict.SKIPPED:
            yield f"- {law}: not checked ({result.reason})."


def fraction(report: Report, part: str) -> str:
    """Passed of declared laws of one part; ``-`` where it is not declared."""
    of_part = [r.verdict for r in report.results if LAWS[r.law].part == part]
    declared = [verdict for verdict in of_part if verdict is not Verdict.UNDECLARED]
    return f"{declared.count(Verdict.PASSED)}/{len(declared)}" if declared else "-"


def _without_places(report: Report) -> Report:
    """The report without what is of one machine and one moment only."""
    return msgspec.structs.replace(report, target=report.target.partition(":")[0] + ":", seconds=0.0)


def differences(fresh: Report, kept: Report) -> list[str]:
    """Laws of which the two reports say different things."""
    before = {r.law: (r.verdict, r.known) for r in kept.results}
    after = {r.law: (r.verdict, r.known) for r in fresh.results}
    found = [
        f"law {law}: now {after[law][0] if law in after else 'gone'}, "
        f"kept {before[law][0] if law in before else 'nothing'}"
        for law in sorted(before.keys() | after.keys())
        if before.get(law) != after.get(law)
    ]
    return found + (["the capabilities differ"] if fresh.capabilities != kept.capabilities else [])


def main(arguments: list[str]) -> int:
    """Compare the reports of a folder with the kept ones, or keep them."""
    (folder,) = [Path(word) for word in arguments if not word.startswith("--")]
    wrong = 0
    for path in sorted(folder.glob("*.json")):
        fresh = read_report(path.read_bytes())
        kept = KEPT / path.name
        if "--keep" in arguments:
            KEPT.mkdir(exist_ok=True)
            kept.write_bytes(_without_places(fresh).to_json())
        found = differences(fresh, read_report(kept.read_bytes())) if kept.exists() else ["it has no report"]
        for line in found:
            print(f"{path.stem}: {line}")
        wrong += len(found)
    if wrong:
        print("docs/reference/conformance says something else: nox -s conformance -- --keep")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
