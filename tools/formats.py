"""Write docs/formats.md: every importer over every network of other people that is here, as the tests see it.

python tools/formats.py            needs the networks beside the repository, and the second readers of `dev`
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from foreign.case import Outcome, all_cases, run_case  # noqa: E402
from glia.store.catalog import catalog  # noqa: E402

TARGET = ROOT / "docs/formats.md"
HEAD = """# Formats

Made by `python tools/formats.py` of what the tests see: every importer over networks that other people made, with the
numbers that they recorded, or those of a second reader. `max abs` is the largest difference of an output, `max rel` the
same relative to the output's largest value.

"""


def table(outcomes: list[Outcome]) -> list[str]:
    """Networks with what became of each."""
    rows = ["| network | compared with | max abs | max rel | |", "|---|---|---|---|---|"]
    for one in outcomes:
        figures = [f"{value:.1e}" if value is not None else "" for value in (one.max_abs, one.max_rel)]
        words = one.words.partition(". ")[0].replace("|", "\\|")[:300]
        rows.append(f"| {one.case.name} | {one.case.oracle} | {figures[0]} | {figures[1]} | {words} |")
    return rows


def summary(by_format: dict[str, list[Outcome]]) -> list[str]:
    """Formats with their counts."""
    rows = [
        "| format | networks | imported | refused, with the reason | worst parity (relative) |",
        "|---|---|---|---|---|",
    ]
    for format, outcomes in sorted(by_format.items()):
        passed = [one for one in outcomes if one.words == "passed"]
        worst = max((one.max_rel for one in passed if one.max_rel is not None), default=None)
        refused = sum(one.words.startswith("refused") for one in outcomes)
        shown = f"{worst:.1e}" if worst is not None else "none to compare with"
        rows.append(f"| {format} | {len(outcomes)} | {len(passed)} | {refused} | {shown} |")
    return rows


def networks_of_the_catalog() -> list[str]:
    """Every network that can be fetched, with the parity on its card."""
    rows = ["| network | format | compared with | max abs | tolerance |", "|---|---|---|---|---|"]
    for entry in catalog().values():
        parity = entry.parity
        figures = [f"{value:.1e}" if value is not None else "" for value in (parity.max_abs, parity.tolerance)]
        rows.append(f"| {entry.name} | {entry.format} | {parity.oracle} | {figures[0]} | {figures[1]} |")
    return rows


def document() -> str:
    """The whole page."""
    by_format: dict[str, list[Outcome]] = defaultdict(list)
    for case in all_cases():
        by_format[case.format].append(run_case(case))
    lines = [*summary(by_format), "", "## The catalog", "", *networks_of_the_catalog()]
    for format, outcomes in sorted(by_format.items()):
        lines += ["", f"## {format}", "", *table(outcomes)]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document())
