"""The plots of the performance page, drawn by matplotlib from the reports of the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogFormatter, NullFormatter

Figure = dict[str, Any]
WIDTH = 9.0
OURS = "pyworkflow-core"
MET, MISSED, PLAIN = "#3b7a57", "#b5523b", "#5a7ca8"


def draw(reports: list[dict[str, Any]], folder: Path, mark: str) -> None:
    """All plots, as SVG and PNG, with the mark of the reports in them."""
    mpl.rcParams["svg.hashsalt"] = "performance"  # the same figures make the same file
    figures = [figure for report in reports for figure in report["figures"] if "missing" not in figure]
    for name, made in (("floors", _floors(figures)), ("peers", _peers(figures)), ("scale", _scale(figures))):
        made.tight_layout()
        made.savefig(folder / f"{name}.svg", metadata={"Source": mark, "Date": None})
        made.savefig(folder / f"{name}.png", dpi=110, metadata={"Source": mark})
        plt.close(made)


def _lines(axes: Any, figures: list[Figure], names: list[str], key: str, spread: str) -> None:
    """A bar for each, the first on top, with its spread."""
    values = [figure[key] for figure in figures]
    least = [max(0.0, value - figure[spread][0]) for value, figure in zip(values, figures, strict=True)]
    most = [max(0.0, figure[spread][1] - value) for value, figure in zip(values, figures, strict=True)]
    colours = {"met": MET, "MISSED": MISSED}
    shades = [colours.get(figure.get("verdict", ""), PLAIN) for figure in figures]
    shades = [MET if f.get("system") == OURS else shade for f, shade in zip(figures, shades, strict=True)]
    axes.barh(names, values, xerr=[least, most], color=shades, error_kw={"lw": 0.8, "ecolor": "#555"})
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)


def _floors(figures: list[Figure]) -> Any:
    made, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 6.4))
    steps = [f for f in figures if f["bar"] == 2 and f["what"] == "sequential step"]
    names = [f"{f['store']} (asked: {f['limit'].removesuffix(' x floor')})" for f in steps]
    _lines(above, steps, names, "ratio", "ratio_spread")
    above.axvline(1, color="#555", lw=0.8, ls=":")
    above.set_title("a sequential step over the bare driver", fontsize=9)
    many = [f for f in figures if f["bar"] == 3 and f["unit"] == "steps/s"]
    names = [f"{f['store']} (asked: {f['limit'].removesuffix(' steps/s')})" for f in many]
    _lines(below, many, names, "median", "spread")
    below.set_title("200 runs of 10 steps at once, steps/s", fontsize=9)
    return made


def _peers(figures: list[Figure]) -> Any:
    works = list(dict.fromkeys(f["what"] for f in figures if "system" in f))
    made, panels = plt.subplots(
        max(1, len(works)), 1, figsize=(WIDTH, 2.9 * max(1, len(works))), squeeze=False
    )
    for axes, work in zip(panels[:, 0], works, strict=False):
        of_it = [f for f in figures if f.get("system") and f["what"] == work]
        of_it.sort(key=lambda f: f["median"], reverse=of_it[0]["unit"] == "steps/s")
        _lines(axes, of_it, [f"{f['system']}, {f['store']}" for f in of_it], "median", "spread")
        axes.set_xscale("log")
        axes.set_title(f"{work}, {of_it[0]['unit']}", fontsize=9)
        axes.tick_params(axis="y", labelsize=7)
    return made


def _scale(figures: list[Figure]) -> Any:
    sized = [f for f in figures if "size" in f]
    works = list(dict.fromkeys(f["what"] for f in sized))
    rows = max(1, (len(works) + 1) // 2)
    made, panels = plt.subplots(rows, 2, figsize=(WIDTH, 2.8 * rows), squeeze=False)
    for axes in panels.flat[len(works) :]:
        axes.set_visible(False)
    for axes, work in zip(panels.flat, works, strict=False):
        for store in dict.fromkeys(f["store"] for f in sized):
            of_it = sorted(
                (f for f in sized if (f["store"], f["what"]) == (store, work)), key=lambda f: f["size"]
            )
            if of_it:
                axes.plot(
                    [f["size"] for f in of_it], [f["median"] for f in of_it], "o-", ms=3, lw=1, label=store
                )
                axes.set_ylabel(of_it[0]["unit"], fontsize=8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
        axes.tick_params(which="minor", labelsize=6)
        axes.set_title(f"{work}, by sleeping runs", fontsize=9)
        axes.tick_params(labelsize=7)
    if works:
        panels.flat[0].legend(fontsize=7)
    return made
