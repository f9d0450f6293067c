"""The figures of the performance page, from the reports of the benchmarks that are kept beside it.

`python docs/performance_page.py FOLDER` prints the fresh reports of a folder as a table; with `--keep` it
keeps them, and writes the page's tables and plots (which need matplotlib) anew. Without a folder it writes
these from the kept reports, and with `--check` it only says what is out of date, without matplotlib.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

EXPLANATION = Path(__file__).parent / "explanation"
KEPT = EXPLANATION / "performance"
PAGE = EXPLANATION / "performance.md"
BEYOND = EXPLANATION / "beyond-one-database.md"
BEGIN = "<!-- figures: written by docs/performance_page.py from the reports in performance/ -->\n"
END = "<!-- end of figures -->\n"
BILLION = "<!-- billion: written by docs/performance_page.py from the reports in performance/ -->\n"
BILLION_END = "<!-- end of billion -->\n"
PEAK = 3 * 1_000_000_000 / 86_400  # events a second
PLOTS = {
    "floors": "a step over the floor of its medium, and many runs at once",
    "peers": "the same work on this and other systems",
    "scale": "what things cost as a store grows",
}
FORMS = ("svg", "png")
BARS = {
    1: "replay",
    2: "a sequential durable step",
    3: "200 runs of 10 steps at once",
    4: "raw append",
    5: "a step on the memory store",
    6: "growth",
    7: "size",
    8: "start-up",
    9: "claims",
}
BUSY = 0.75  # of a core each: above it, something else ran; the script before counts for about one core
Report = dict[str, Any]
Figure = dict[str, Any]


def read(folder: Path) -> list[Report]:
    """The reports of a folder, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def number(value: float) -> str:
    """As many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def amount(median: float, spread: list[float], unit: str) -> str:
    """A median, with the least and the greatest of the rounds if they differ."""
    between = f" ({number(spread[0])}-{number(spread[1])})" if spread[0] != spread[1] else ""
    return f"{number(median)}{between} {unit}"


def cells(figure: Figure) -> list[str]:
    """What, where, how much, floor, ratio."""
    floor = ratio = "-"
    if "floor" in figure:
        floor = amount(figure["floor"], figure["floor_spread"], figure["unit"])
        floor += f"; {figure['floor_is']}" if "floor_is" in figure else ""
        ratio = f"{number(figure['ratio'])}"
    what = figure["what"] + (f", among {figure['size']:,} runs" if "size" in figure else "")
    what += f" ({figure['peer']})" if "peer" in figure else ""
    value = amount(figure["median"], figure["spread"], figure["unit"])
    return [what, figure.get("store", "-"), value, floor, ratio]


def table(heads: Iterable[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """A table of Markdown."""
    heads = list(heads)
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def bars_table(reports: list[Report]) -> Iterator[str]:
    """Every figure of which something is asked."""
    figures = [figure for report in reports for figure in report["figures"] if figure["bar"]]
    heads = (
        "bar",
        "what",
        "store",
        "figure",
        "floor",
        "ratio",
        "asked",
        "verdict",
        "acknowledged means",
    )
    rows = [
        [str(f["bar"]), *cells(f), f["limit"], f["verdict"], f.get("durable", "-")]
        for f in sorted(figures, key=lambda f: f["bar"])
    ]
    yield from table(heads, rows)


def others_table(reports: list[Report]) -> Iterator[str]:
    """What was measured beside, without the peers and the sizes, which have tables of their own."""
    figures = [
        figure
        for report in reports
        for figure in report["figures"]
        if not figure["bar"] and "missing" not in figure and "system" not in figure and "size" not in figure
    ]
    heads = ("what", "store", "figure", "floor", "ratio", "acknowledged means")
    yield from table(heads, [[*cells(f), f.get("durable", "-")] for f in figures])


def peers_table(reports: list[Report]) -> Iterator[str]:
    """The same work on all systems; the quickest first."""
    figures = [figure for report in reports for figure in report["figures"] if "system" in figure]
    heads = ("work", "system", "store", "figure", "over ours", "acknowledged means", "failed runs")
    figures.sort(key=lambda f: (f["what"], -f["median"] if f["unit"] == "steps/s" else f["median"]))
    rows = []
    for f in figures:
        value, over = amount(f["median"], f["spread"], f["unit"]), number(f["ratio"]) if "ratio" in f else "-"
        rows.append([f["what"], f["system"], f["store"], value, over, f["durable"], str(f["failed_runs"])])
    yield from table(heads, rows)


def scale_table(reports: list[Report]) -> Iterator[str]:
    """Costs by size, a line for each store and size."""
    found: dict[tuple[str, int], dict[str, Figure]] = {}
    for report in reports:
        for figure in report["figures"]:
            if "size" in figure:
                found.setdefault((figure["store"], figure["size"]), {})[figure["what"]] = figure
    columns = list(dict.fromkeys(what for row in found.values() for what in row))
    rows = [
        [store, f"{size:,}", *(_middle(row[what]) if what in row else "-" for what in columns)]
        for (store, size), row in sorted(found.items())
    ]
    yield from table(["store", "sleeping runs", *columns], rows)


def _middle(figure: Figure) -> str:
    return f"{number(figure['median'])} {figure['unit']}"


def busy_load(reports: list[Report]) -> float:
    """The greatest load before a script on a machine that was not quiet; 0 if all were."""
    machines = [report["machine"] for report in reports]
    loads = [at["load_before"] for at in machines if at["load_before"] > BUSY * at["cores"]]
    return max(loads, default=0.0)


def machine_lines(reports: list[Report]) -> Iterator[str]:
    """What the figures were taken on; a line for each machine and day."""
    places: dict[str, list[str]] = {}
    for report in reports:
        at = report["machine"]
        memory = f"{at['memory_gib']} GiB" if at["memory_gib"] else "unknown memory"
        words = f"{at['date']}: {at['cpu']}, {at['cores']} cores, {memory}, {at['os']}, {at['kernel']}, "
        places.setdefault(words + f"{at['python']}, data on {at['medium']}", []).append(report["script"])
    for words, scripts in places.items():
        yield f"- {words}: {', '.join(f'`{name}`' for name in dict.fromkeys(scripts))}"
    versions = {
        f"{name} {version}"
        for report in reports
        for part in ("drivers", "servers")
        for name, version in report["machine"][part].items()
    }
    yield f"- Drivers and servers: {', '.join(sorted(versions))}."
    if most := busy_load(reports):
        yield (
            f"- **Taken on a busy machine** (load up to {most:g} before a script began): the figures show\n"
            "  what is measured and not what is reached, and no verdict counts. Take them anew as said below."
        )
    yield ""


def missing_lines(reports: list[Report]) -> Iterator[str]:
    """What could not be measured."""
    for report in reports:
        for figure in report["figures"]:
            if "missing" in figure:
                yield f"- Not measured: {figure['what']}: {figure['missing']}."
    yield ""


def figures_part(reports: list[Report]) -> str:
    """Everything between the two marks of the page."""
    parts = ["## Taken on\n", *machine_lines(reports), *missing_lines(reports)]
    parts += ["## The bars\n", *_plot("floors"), *bars_table(reports)]
    parts += ["## Other systems\n", *_plot("peers"), *peers_table(reports)]
    parts += ["## Growth\n", *_plot("scale"), *scale_table(reports)]
    parts += ["## What else was measured\n", *others_table(reports)]
    return "\n".join(parts)


def _plot(name: str) -> Iterator[str]:
    yield f"![{PLOTS[name]}](performance/{name}.svg)\n\n[As PNG](performance/{name}.png).\n"


def billion_table(reports: list[Report]) -> str:
    """How many databases a billion events a day would take, and how much room."""
    figures = [figure for report in reports for figure in report["figures"] if "missing" not in figure]
    rooms = {f["store"]: f["median"] for f in figures if f["what"] == "room of a run with one event"}
    sizes = {f["store"]: f["median"] for f in figures if f["what"] == "size"}
    sizes |= {f["store"]: f["median"] / 2 for f in figures if f["what"] == "size of a step in many runs"}
    rows = []
    for figure in figures:
        if figure["bar"] != 4:
            continue
        store, rate = figure["store"], figure["median"]
        room = rooms.get(store.partition(",")[0])
        row = [store, number(rate), str(math.ceil(PEAK / (rate / 2)))]
        row += (
            [f"{number(sizes[store])} bytes", f"{number(sizes[store])} GB"] if store in sizes else ["-", "-"]
        )
        rows.append([*row, f"{number(room)} bytes" if room else "-"])
    heads = (
        "store",
        "events/s of one",
        "databases at the peak",
        "an event",
        "room of a day",
        "a run of one event",
    )
    busy = "Measured on a busy machine: less than what is reached.\n" if busy_load(reports) else ""
    return "\n".join([*table(heads, rows), busy])


def written(page: str, begin: str, part: str, end: str) -> str:
    """The page with this part between its marks; what is written by hand stays."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{part}\n{end}{after}"


def pages() -> dict[Path, str]:
    """The pages as they should be."""
    reports = read(KEPT)
    texts = {path: path.read_text(encoding="utf-8") for path in (PAGE, BEYOND)}
    return {
        PAGE: written(texts[PAGE], BEGIN, figures_part(reports), END),
        BEYOND: written(texts[BEYOND], BILLION, billion_table(reports), BILLION_END),
    }


def fingerprint() -> str:
    """Of the kept reports: it stands in each plot that was drawn from them."""
    digest = hashlib.sha256()
    for path in sorted(KEPT.glob("*.json")):
        digest.update(path.read_bytes())
    return f"reports {digest.hexdigest()[:16]}"


def stale() -> list[str]:
    """The page and the plots that are not those of the kept reports."""
    wrong = [path.name for path, text in pages().items() if path.read_text(encoding="utf-8") != text]
    mark = fingerprint().encode()
    paths = [KEPT / f"{name}.{form}" for name in PLOTS for form in FORMS]
    return wrong + [path.name for path in paths if not path.exists() or mark not in path.read_bytes()]


def write() -> None:
    """The page's figures and the plots, from the kept reports."""
    import performance_plots

    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    performance_plots.draw(read(KEPT), KEPT, fingerprint())


def main(arguments: list[str]) -> int:
    """Print, keep, write or check."""
    if "--check" in arguments:
        for name in stale():
            print(f"docs/explanation: {name} is out of date: python docs/performance_page.py")
        return int(bool(stale()))
    for folder in (Path(word) for word in arguments if not word.startswith("--")):
        reports = read(folder)
        for part in (bars_table, peers_table, scale_table, missing_lines):
            print("\n".join(part(reports)))
        if "--keep" in arguments:
            KEPT.mkdir(exist_ok=True)
            for path in folder.glob("*.json"):
                shutil.copy(path, KEPT / path.name)
        else:
            return 0
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
