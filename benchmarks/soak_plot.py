"""The curve of a soak: memory of every process, and what was answered.

python -m benchmarks.soak_plot CSV FILE       with matplotlib
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

from benchmarks.soak_verdict import Sample, by_time


def read_samples(file: Path) -> list[Sample]:
    """One a process and moment."""
    with file.open(newline="") as lines:
        return [
            Sample(
                float(row["t_s"]),
                int(row["pid"]),
                row["name"],
                float(row["age_s"]),
                float(row["rss_mb"]),
                float(row["pss_mb"]),
            )
            for row in csv.DictReader(lines)
        ]


def draw(samples: list[Sample], answers: list[dict[str, str]], file: Path) -> None:
    """Three panels: total and front; each replica; answers."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "glia", "font.size": 8, "svg.fonttype": "none", "lines.linewidth": 0.8})
    from matplotlib import pyplot as plt

    figure, (top, middle, bottom) = plt.subplots(3, 1, sharex=True, figsize=(9, 6.5), layout="constrained")
    moments = by_time(samples)
    minutes = [t_s / 60 for t_s in moments]
    for name, pick in (("RSS of all", "rss_mb"), ("PSS of all", "pss_mb")):
        top.plot(minutes, [sum(getattr(each, pick) for each in group) for group in moments.values()], label=name)
    front = [sample for sample in samples if sample.name == "front"]
    top.plot([sample.t_s / 60 for sample in front], [sample.rss_mb for sample in front], label="RSS of the front")
    lives: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.name not in ("front", "starting or stopping"):
            lives[sample.name, sample.pid].append(sample)
    colours = {name: f"C{number}" for number, name in enumerate(sorted({name for name, _ in lives}))}
    for (name, _), life in lives.items():
        middle.plot([s.t_s / 60 for s in life], [s.rss_mb for s in life], color=colours[name])
    for name, colour in colours.items():
        middle.plot([], [], color=colour, label=name)
    for kind in ("ok", "busy", "failed", "left"):
        bottom.plot([float(row["t_s"]) / 60 for row in answers], [int(row[kind]) for row in answers], label=kind)
    for panel, title in ((top, "memory [MB]"), (middle, "RSS of each replica [MB]"), (bottom, "answers so far")):
        panel.set_ylabel(title)
        panel.set_ylim(bottom=0)
        panel.legend(loc="upper left", fontsize=6, frameon=False, ncols=3)
        panel.spines[["top", "right"]].set_visible(False)
    bottom.set_xlabel("minutes")
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """By arguments."""
    file = Path(sys.argv[1])
    with file.with_name("soak-answers.csv").open(newline="") as lines:
        answers = list(csv.DictReader(lines))
    draw(read_samples(file), answers, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
