"""What has to hold after a soak.

The first 3 minutes (a fifth of a shorter soak) are left out: allocators and caches fill. After them each of the figures
below is a line (Theil and Sen: the median of all pairwise slopes); its growth is the rise from the first to the last
point over the level at the first. Growth fails above 5 %, unless it is less than twice what the scatter of the points
alone would give: that is told beside each. Nor may any answer have failed (503 with Retry-After is an answer).

- **front**: RSS of the first process, the median of each minute.
- **steady replica**: RSS of the replica that lived longest, if it lived for half of the soak at least, the lower
  quartile of each minute: what it keeps, not what a picture of twelve megapixels needs while it is decoded. A shorter
  life tells how a replica warms up, not whether it grows.
- **replicas at equal age**: evictions start new ones all the time; each life counts once, by the lower quartile of
  its RSS between 10 and 30 s of age, over the median of its model's lives.
- **total in equal states**: RSS of all processes depends on which models are loaded; so each moment is divided by the
  median of all moments with the same set of replicas; the lower quartile of each minute.

RSS counts in each process what they share; for growth that is fine. A figure without enough points is not judged, but
that of the front must be there.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

SETTLE_S, SETTLE_SHARE = 180.0, 0.2
MOST = 0.05
YOUNG_S, GROWN_S = 10.0, 30.0
ENOUGH = 5


@dataclass(frozen=True)
class Sample:
    """One process at one time."""

    t_s: float
    pid: int
    name: str
    """`front`, what a replica holds, or `starting or stopping`."""
    age_s: float
    rss_mb: float
    pss_mb: float


@dataclass(frozen=True)
class Answered:
    """The answers so far."""

    t_s: float
    ok: int
    busy: int
    failed: int
    left: int


@dataclass(frozen=True)
class Verdict:
    """Whether it passed, and the figures in words."""

    passed: bool
    lines: tuple[str, ...]


def verdict(samples: Sequence[Sample], answered: Sequence[Answered]) -> Verdict:
    """Judge a soak by its samples."""
    end = max(sample.t_s for sample in samples)
    late = [sample for sample in samples if sample.t_s >= min(SETTLE_S, SETTLE_SHARE * end)]
    found = {
        "front": growth(front(late)),
        "steady replica": growth(steady(late)),
        "replicas at equal age": growth(lives(late)),
        "total in equal states": growth(totals(late)),
    }
    lines = [f"{name}: {each.text() if each else 'too few points'}" for name, each in found.items()]
    peak = max(sum(each.rss_mb for each in group) for group in by_time(late).values())
    lines.append(f"most in use: {peak:.0f} MB; {len({sample.pid for sample in samples})} processes lived")
    failed = answered[-1].failed if answered else 0
    lines.append(f"failed answers: {failed}")
    flat = all(each.fits for each in found.values() if each) and found["front"] is not None
    asked = bool(answered and answered[-1].ok)
    return Verdict(flat and asked and not failed, tuple(lines))


@dataclass(frozen=True)
class Growth:
    """The rise of a line over its level at the start, and one deviation of what scatter alone would give."""

    rise: float
    scatter: float

    @property
    def fits(self) -> bool:
        """Whether it is flat enough."""
        return self.rise <= max(MOST, 2 * self.scatter)

    def text(self) -> str:
        """`+1.2% (scatter 0.5%)`."""
        return f"{self.rise:+.1%} (scatter {self.scatter:.1%})" + ("" if self.fits else " TOO MUCH")


Points = list[tuple[float, float]]


def growth(points: Points) -> Growth | None:
    """Along the Theil-Sen line; None for too few points."""
    if len(points) < ENOUGH:
        return None
    points = sorted(points)
    slope = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0])
    begun, ended = points[0][0], points[-1][0]
    levels = [y - slope * (x - begun) for x, y in points]
    level = statistics.median(levels)
    # Two thirds of residuals lie within a deviation; the rise over n even points has 12 / n of their variance.
    deviation = sorted(abs(each - level) for each in levels)[len(levels) * 2 // 3]
    return Growth(slope * (ended - begun) / level, deviation / level * (12 / len(points)) ** 0.5)


def low(values: Sequence[float]) -> float:
    """The lower quartile."""
    return sorted(values)[len(values) // 4]


def by_time(samples: Iterable[Sample]) -> dict[float, list[Sample]]:
    """The samples of each moment."""
    found: dict[float, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.t_s].append(sample)
    return found


def by_minute(points: Points, figure: Callable[[Sequence[float]], float]) -> Points:
    """One point a minute (a tenth of a shorter soak)."""
    if not points:
        return []
    step = min(60.0, (points[-1][0] - points[0][0]) / 10 or 60.0)
    bins: dict[int, list[float]] = defaultdict(list)
    for t_s, value in points:
        bins[int(t_s / step)].append(value)
    return [(key * step, figure(values)) for key, values in sorted(bins.items())]


def is_replica(sample: Sample) -> bool:
    """Whether it is one that was up."""
    return sample.name not in ("front", "starting or stopping")


def front(samples: Iterable[Sample]) -> Points:
    """The first process, minute by minute."""
    return by_minute([(each.t_s, each.rss_mb) for each in samples if each.name == "front"], statistics.median)


def steady(samples: Iterable[Sample]) -> Points:
    """The replica that lived longest, minute by minute; none where none lived for half of the time."""
    by_pid: dict[int, Points] = defaultdict(list)
    begun, ended = float("inf"), 0.0
    for sample in samples:
        begun, ended = min(begun, sample.t_s), max(ended, sample.t_s)
        if is_replica(sample):
            by_pid[sample.pid].append((sample.t_s, sample.rss_mb))
    longest = max(by_pid.values(), key=len, default=[])
    if not longest or longest[-1][0] - longest[0][0] < (ended - begun) / 2:
        return []
    return by_minute(longest, low)


def lives(samples: Iterable[Sample]) -> Points:
    """Every life that reached an age, by its start; over the median of its model."""
    found: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in filter(is_replica, samples):
        if YOUNG_S <= sample.age_s <= GROWN_S:
            found[sample.name, sample.pid].append(sample)
    by_model: dict[str, Points] = defaultdict(list)
    for (name, _), life in found.items():
        by_model[name].append((life[0].t_s, low([sample.rss_mb for sample in life])))
    return [point for points in by_model.values() if len(points) > 1 for point in _over_median(points)]


def totals(samples: Iterable[Sample]) -> Points:
    """All processes, over the median of the moments with the same replicas, none of them young; minute by minute."""
    states: dict[tuple[str, ...], Points] = defaultdict(list)
    for t_s, group in by_time(samples).items():
        replicas = [sample for sample in group if sample.name != "front"]
        if replicas and min(sample.age_s for sample in replicas) >= YOUNG_S:
            state = tuple(sorted(sample.name for sample in replicas))
            states[state].append((t_s, sum(sample.rss_mb for sample in group)))
    points = [point for seen in states.values() if len(seen) >= ENOUGH for point in _over_median(seen)]
    return by_minute(sorted(points), low)


def _over_median(points: Points) -> Points:
    middle = statistics.median(value for _, value in points)
    return [(t_s, value / middle) for t_s, value in points]
