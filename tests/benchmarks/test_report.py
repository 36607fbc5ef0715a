"""The benchmark's figures: medians of ratios, and a README that says what the committed rows give."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report, tables
from benchmarks.rows import Row, append, read_rows
from benchmarks.summary import Spread, Summary, rps

NETWORK, PICTURE = "net", "detailed-187kB"


def closed(round: int, system: str, rate: float, slow_ms: float = 100, failed: int = 0, run: str = "b") -> Row:
    """One closed loop of 16 clients."""
    return Row(
        run,
        "2026-01-01",
        round,
        "closed",
        system,
        NETWORK,
        PICTURE,
        16,
        answered=int(rate),
        failed=failed,
        rps=rate,
        p99_ms=slow_ms,
    )


def limit(round: int, beside: str, rate: float) -> Row:
    """The machine's limit beside a system."""
    return Row("b", "2026-01-01", round, "limit", "limit", NETWORK, PICTURE, rps=rate, note=beside)


def rows() -> list[Row]:
    """Three rounds; the machine is half as fast in the third, and FastAPI answers badly in the second."""
    return [
        closed(1, "glia", 900, run="a"),
        *(closed(1, "glia", 90, 120), closed(1, "twin", 100, 100), closed(1, "fastapi", 40), closed(1, "bentoml", 45)),
        *(closed(2, "glia", 99, 150), closed(2, "twin", 100, 100), closed(2, "fastapi", 400, failed=90)),
        *(closed(3, "glia", 50, 210), closed(3, "twin", 50, 200), closed(3, "fastapi", 20)),
        *(closed(2, "bentoml", 33), closed(3, "bentoml", 25)),
        *(limit(1, "glia", 100), limit(2, "glia", 110), limit(3, "glia", 50)),
    ]


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """Of the rows, by way of the file."""
    for row in rows():
        append(tmp_path / "bench.csv", row)
    return Summary(read_rows(tmp_path / "bench.csv"), "b")


def test_rows_survive_the_file(tmp_path: Path) -> None:
    for row in rows():
        append(tmp_path / "bench.csv", row)
    assert read_rows(tmp_path / "bench.csv") == rows()


def test_a_ratio_is_the_median_over_rounds_and_not_the_ratio_of_medians(summary: Summary) -> None:
    glia, twin = (summary.by_round(system, rps, NETWORK, PICTURE) for system in ("glia", "twin"))
    assert summary.ratio(glia, twin) == Spread(0.99, 0.9, 1.0, 3)
    assert summary.ratio(glia, summary.limit("glia", NETWORK, PICTURE)) == Spread(0.9, 0.9, 1.0, 3)


def test_the_best_peer_is_found_in_each_round_and_bad_answers_do_not_count(summary: Summary) -> None:
    best, name = summary.best_peer(NETWORK, PICTURE)
    assert best == {1: 45, 2: 33, 3: 25}
    assert name == "bentoml"


def test_what_misses_its_target_is_bold(summary: Summary) -> None:
    (line,) = tables.headline(summary)[2:]
    cells = line.split(" | ")
    assert cells[2:] == [
        "90 % (90 to 100)",
        "0.99 (0.90 to 1.00)",
        "**1.20 (1.05 to 1.50)**",
        "2.00 (2.00 to 3.00) bentoml |",
    ]


def test_the_readme_says_what_the_committed_rows_give() -> None:
    file = report.RESULTS / "bench.csv"
    if not file.exists():
        pytest.skip("no committed rows: make bench")
    _, _, rest = report.README.read_text().partition(report.BEGIN)
    written, _, _ = rest.partition(report.END)
    assert written.strip() == report.readme_block(*report.summary_of(file)).strip()
