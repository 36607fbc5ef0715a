"""The plot: requests a second of every system, and the limit, for each network and picture.

python -m benchmarks.plot CSV RUN FILE       with matplotlib
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

from benchmarks.rows import read_rows
from benchmarks.summary import Summary

OURS, TWIN, THEIRS, LIMIT = "#0b7a75", "#7a8b99", "#c9ced3", "#444444"


def colour(system: str) -> str:
    """By family."""
    return OURS if system.startswith("glia") else TWIN if system.startswith("twin") else THEIRS


def draw(summary: Summary, file: Path) -> None:
    """One panel a network and picture; bars from the smallest to the largest, whiskers over the rounds."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "glia", "font.size": 8, "font.family": "sans-serif", "svg.fonttype": "none"})
    from matplotlib import pyplot as plt

    networks, pictures = summary.distinct("network"), summary.distinct("picture")
    size = (4.6 * len(pictures), 0.6 + 2.6 * len(networks))
    figure, grid = plt.subplots(len(networks), len(pictures), figsize=size, squeeze=False, layout="constrained")
    for line, network in enumerate(networks):
        for column, picture in enumerate(pictures):
            panel = grid[line][column]
            bars = []
            for system in summary.distinct("system"):
                shared = {"system": system, "network": network, "picture": picture, "clients": 16}
                found = summary.figure("closed", "rps", **shared)
                bars += [(found.median, found.low, found.high, system)] if found else []
            bars.sort()
            places = range(len(bars))
            panel.barh(
                places,
                [bar[0] for bar in bars],
                color=[colour(bar[3]) for bar in bars],
                xerr=[[bar[0] - bar[1] for bar in bars], [bar[2] - bar[0] for bar in bars]],
                error_kw={"lw": 0.8, "ecolor": "#222222"},
            )
            panel.set_yticks(list(places), [bar[3] for bar in bars])
            limit = summary.figure("limit", "rps", network=network, picture=picture, note="glia")
            if limit:
                panel.axvline(limit.median, color=LIMIT, lw=1, ls="--")
                panel.text(limit.median, -0.9, "limit ", ha="right", va="center", color=LIMIT)
            panel.set_title(f"{network}, {picture}", loc="left", fontsize=8)
            panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("requests/s, 16 clients; median, smallest and largest of the rounds", fontsize=8)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """By arguments."""
    draw(Summary(read_rows(Path(sys.argv[1])), sys.argv[2]), Path(sys.argv[3]))


if __name__ == "__main__":
    main()
