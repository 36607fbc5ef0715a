"""From the CSV to bench.md, the plot, and the table in the README.

python -m benchmarks.report [CSV] [--run ID]
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from benchmarks import venvs
from benchmarks.rows import read_rows
from benchmarks.summary import Summary, latest
from benchmarks.systems import tool
from benchmarks.tables import everything, headline, small_targets

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def make_plotter() -> None:
    """The environment with matplotlib; without it there is no plot."""
    wrong = venvs.make("plot")
    if wrong:
        sys.stderr.write(wrong + "\n")


def read_machine(file: Path, run: str) -> dict[str, str]:
    """What a run ran on; empty for a run that the file lacks."""
    with file.open(newline="") as lines:
        return next((row for row in csv.DictReader(lines) if row["run"] == run), {})


def summary_of(file: Path, run: str = "") -> tuple[Summary, Summary, dict[str, str]]:
    """The figures of a run (the last one) and its machine; and the run whose scenarios are shown: its own, or later."""
    rows = read_rows(file)
    run = run or latest(rows)
    scenes = latest([row for row in rows if row.run >= run], "crowd") or run
    return Summary(rows, run), Summary(rows, scenes), read_machine(file.with_name(file.stem + "-runs.csv"), run)


def readme_block(summary: Summary, scenes: Summary, machine: dict[str, str]) -> str:
    """What stands in the README between the markers."""
    return "\n".join(
        [
            setting(summary, scenes, machine),
            "",
            *headline(summary),
            "",
            *small_targets(scenes),
            "",
            "![Requests a second of every system](benchmarks/results/bench.svg)",
            "",
            "Every system, every scenario and the raw rows: [benchmarks/results](benchmarks/results/bench.md); how it "
            "is measured, and what the twin lacks: [benchmarks](benchmarks/README.md).",
        ]
    )


def setting(summary: Summary, scenes: Summary, machine: dict[str, str]) -> str:
    """On what, when, how often."""
    rounds = max((row.round for row in summary.rows), default=0)
    later = f" The scenarios were measured again later, in run {scenes.run}." if scenes.run != summary.run else ""
    return (
        f"{machine.get('date', '')}, {machine.get('cpu', '')}, {machine.get('cores', '')} cores, "
        f"{machine.get('features', '')}; {rounds} interleaved rounds of {float(machine.get('seconds') or 0):g} s, "
        f"16 clients (wrk). Glia chose {machine.get('choices', '')}. Medians of the ratios of each round, with the "
        f"smallest and the largest; what misses its target is bold.{later}"
    )


def put_into(readme: Path, block: str) -> None:
    """Replace what stands between the markers."""
    text = readme.read_text()
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    assert found, f"{readme} lacks {BEGIN} or {END}"
    readme.write_text(f"{head}{BEGIN}\n{block}\n{END}{tail}")


def write(file: Path, run: str = "", readme: bool = True) -> None:
    """bench.md and bench.svg beside the CSV, and the README's table."""
    summary, scenes, machine = summary_of(file, run)
    about = setting(summary, scenes, machine)
    page = "\n".join([f"# Run {summary.run}", "", about, "", *everything(summary, scenes, machine)])
    file.with_suffix(".md").write_text(page + "\n")
    if readme:
        put_into(README, readme_block(summary, scenes, machine))
    python = Path(tool("plot", "python"))
    if python.exists() and summary.distinct("system"):
        command = [str(python), "-m", "benchmarks.plot", str(file), summary.run, str(file.with_suffix(".svg"))]
        subprocess.run(command, cwd=HERE.parent, check=True)


def main() -> None:
    """By arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("csv", type=Path, nargs="?", default=RESULTS / "bench.csv")
    parser.add_argument("--run", default="", help="id of the run; the last one")
    given = parser.parse_args()
    write(given.csv, given.run, readme=given.csv == RESULTS / "bench.csv")


if __name__ == "__main__":
    main()
