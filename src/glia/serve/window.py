"""Durations counted: histograms since the start, and what happened in each of the last two minutes' seconds."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Shaped

EDGES_S = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0,
)  # fmt: skip
"""The bucket bounds that are published [s]."""


def _finer(edges: Sequence[float], ratio: float) -> tuple[float, ...]:
    """The same bounds and, in equal ratios between them, enough more that neighbours are at most `ratio` apart."""
    bounds = [edges[0]]
    for low, high in pairwise(edges):
        parts = int(np.ceil(np.log(high / low) / np.log(ratio) - 1e-9))
        bounds += [low * (high / low) ** (part / parts) for part in range(1, parts)] + [high]
    return tuple(bounds)


BOUNDS_S = _finer(EDGES_S, 1.13)
"""The bounds that are counted by [s]: a quantile read from them is at most some percent off."""
BUCKETS = len(BOUNDS_S) + 1
SLOTS = 128
"""Seconds that a window remembers."""
ROW_EDGES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Bucket bounds of batch sizes [rows]."""


class Histogram:
    """How often a value fell under each bound, and the sum of all values."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = BOUNDS_S) -> None:
        """`bounds`: ascending, each the largest value of its bucket; one more bucket takes what is above."""
        self.bounds = bounds
        self.counts = array("Q", bytes(8 * (len(bounds) + 1)))
        self.sum = 0.0

    def add(self, value: float) -> int:
        """Count one value; its bucket."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        return bucket

    def cumulative(self, edges: Iterable[float]) -> list[tuple[float, int]]:
        """How many values were at most each edge, +Inf the last. Every edge must be a bound."""
        sums = np.cumsum(self.counts)
        found = [(edge, int(sums[self.bounds.index(edge)])) for edge in edges]
        return [*found, (float("inf"), int(sums[-1]))]


class Window:
    """What happened in each of the last seconds. Its memory is fixed, whatever the load."""

    __slots__ = ("_buckets", "_failed", "_requests", "_second", "_steps")

    def __init__(self) -> None:
        """Empty."""
        self._second = array("q", [-1] * SLOTS)
        self._requests = array("Q", bytes(8 * SLOTS))
        self._failed = array("Q", bytes(8 * SLOTS))
        self._buckets = array("I", bytes(4 * SLOTS * BUCKETS))
        self._steps: list[dict[str, float]] = [{} for _ in range(SLOTS)]

    def _slot(self, second: int) -> int:
        """Where a second is counted; what lay there longer than SLOTS ago is forgotten."""
        slot = second % SLOTS
        if self._second[slot] != second:
            self._second[slot] = second
            self._requests[slot] = self._failed[slot] = 0
            self._buckets[slot * BUCKETS : (slot + 1) * BUCKETS] = array("I", bytes(4 * BUCKETS))
            self._steps[slot] = {}
        return slot

    def add(self, second: int, bucket: int, steps: Mapping[str, float]) -> None:
        """An answer: the bucket of its whole duration, and its steps [ms]."""
        slot = self._slot(second)
        self._requests[slot] += 1
        self._buckets[slot * BUCKETS + bucket] += 1
        sums = self._steps[slot]
        for name, ms in steps.items():
            sums[name] = sums.get(name, 0.0) + ms

    def fail(self, second: int) -> None:
        """A request without an answer: it counts, but how soon it failed says nothing about latency."""
        slot = self._slot(second)
        self._requests[slot] += 1
        self._failed[slot] += 1

    def _slots(self, first: int, last: int) -> list[int]:
        """The slots of the seconds from `first` to `last`, both included, in which anything happened."""
        seconds = range(max(first, last - SLOTS + 1, 0), last + 1)
        return [second % SLOTS for second in seconds if self._second[second % SLOTS] == second]

    def counts(self, first: int, last: int) -> tuple[int, int, Shaped[np.ndarray, " buckets"]]:
        """Requests, failed ones, and answers by bucket, from second `first` to `last`, both included."""
        slots = self._slots(first, last)
        buckets = np.frombuffer(self._buckets, np.uint32).reshape(SLOTS, BUCKETS)[slots].sum(0, np.int64)
        return sum(self._requests[i] for i in slots), sum(self._failed[i] for i in slots), buckets

    def steps_ms(self, first: int, last: int) -> dict[str, float]:
        """Milliseconds of each step, summed over the answers of these seconds."""
        sums: dict[str, float] = {}
        for slot in self._slots(first, last):
            for name, ms in self._steps[slot].items():
                sums[name] = sums.get(name, 0.0) + ms
        return sums


def quantile_ms(buckets: Shaped[np.ndarray, " buckets"], share: float) -> float | None:
    """The duration [ms] that `share` of all answers did not exceed, straight between its bucket's bounds; or None."""
    sums = np.cumsum(buckets)
    if not sums[-1]:
        return None
    wanted = share * float(sums[-1])
    bucket = int(np.searchsorted(sums, wanted))
    if bucket >= len(BOUNDS_S):
        return BOUNDS_S[-1] * 1e3
    low, before = (BOUNDS_S[bucket - 1], float(sums[bucket - 1])) if bucket else (0.0, 0.0)
    inside = (wanted - before) / float(buckets[bucket]) if buckets[bucket] else 0.0
    return (low + (BOUNDS_S[bucket] - low) * inside) * 1e3
