"""From raw rows to figures: medians of the ratios of each round, with their spread."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.rows import Row

PEERS = ("fastapi", "litserve", "bentoml")
"""The documented peers that the target names; each with its variants (`fastapi-workers`, ...)."""


@dataclass(frozen=True)
class Spread:
    """A median with the smallest and the largest of n values.

    Of n independent values, the range holds the true median with a probability of 1 - 2^(1 - n): 94 % for 5.
    """

    median: float
    low: float
    high: float
    n: int

    def text(self, digits: int = 2, unit: str = "") -> str:
        """`0.98 (0.97 to 1.01)`."""
        if self.n == 1:
            return f"{self.median:,.{digits}f}{unit}"
        return f"{self.median:,.{digits}f}{unit} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Iterable[float]) -> Spread | None:
    """None for no values."""
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found), len(found)) if found else None


class Summary:
    """The rows of one run."""

    def __init__(self, rows: Iterable[Row], run: str) -> None:
        """`run`: which of the runs in the file."""
        self.run = run
        self.rows = [row for row in rows if row.run == run]

    def having(self, kind: str, **wanted: object) -> list[Row]:
        """Rows of a kind with these columns, in their order."""
        return [
            row for row in self.rows if row.kind == kind and all(getattr(row, name) == wanted[name] for name in wanted)
        ]

    def figure(self, kind: str, column: str = "value", **wanted: object) -> Spread | None:
        """Over rounds, one column of the rows of a kind."""
        return spread(getattr(row, column) for row in self.having(kind, **wanted))

    def distinct(self, column: str, kind: str = "closed") -> list[str]:
        """The values of a column, in the order in which they came."""
        return list(dict.fromkeys(getattr(row, column) for row in self.rows if row.kind == kind))

    def by_round(
        self, system: str, value: Callable[[Row], float], network: str, picture: str, clients: int = 16
    ) -> dict[int, float]:
        """Round to one value of a system's closed loops."""
        found = self.having("closed", system=system, network=network, picture=picture, clients=clients)
        return {row.round: value(row) for row in found}

    def ratio(self, ours: dict[int, float], theirs: dict[int, float]) -> Spread | None:
        """Of the rounds that both have."""
        return spread(ours[round] / theirs[round] for round in ours if theirs.get(round))

    def limit(self, system: str, network: str, picture: str) -> dict[int, float]:
        """Round to the first limit that was measured beside a system."""
        found: dict[int, float] = {}
        for row in self.having("limit", network=network, picture=picture, note=system):
            found.setdefault(row.round, row.rps)
        return found

    def best_peer(self, network: str, picture: str, clients: int = 16) -> tuple[dict[int, float], str]:
        """Round to the requests/s of the best documented peer of that round; the one that was best most often."""
        best: dict[int, tuple[float, str]] = {}
        for system in self.distinct("system"):
            if system.partition("-")[0] not in PEERS:
                continue
            for round, value in self.by_round(system, rps, network, picture, clients).items():
                best[round] = max(best.get(round, (0.0, "")), (value, system))
        names = Counter(name for _, name in best.values())
        return {round: value for round, (value, _) in best.items()}, (names.most_common(1) or [("", 0)])[0][0]


def rps(row: Row) -> float:
    """Good answers a second; 0 where some were bad, which would make it look fast."""
    return row.rps if row.failed <= row.answered * 0.01 else 0.0


def p99(row: Row) -> float:
    """[ms]."""
    return row.p99_ms


def latest(rows: Sequence[Row], kind: str = "closed") -> str:
    """The last run in the file that has rows of this kind."""
    return next((row.run for row in reversed(rows) if row.kind == kind), "")
