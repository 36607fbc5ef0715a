"""What has to hold after a soak.

The first 3 minutes (a fifth of a shorter soak) are left out: allocators and caches fill. After them, upward growth of
each of these may be at most 5 %, and no answer may have failed (503 with Retry-After is an answer):

- **front**: RSS of the first process. Medians of each minute, a line through them (Theil and Sen: the median of all
  pairwise slopes), its rise from the first to the last minute over its level at the start.
- **replicas at equal age**: a replica that was just started is small, and evictions start new ones all the time; so
  each life counts once, by its median RSS between 10 and 30 s of age, and the lives of one model are compared by the
  time of their start: line as above. The figure is the median over the models that were started often enough.
- **total in equal states**: RSS of all processes together depends on which models are loaded; so samples are
  compared only with samples of the same set of replicas, all of them older than 10 s: the median of the last half
  over the median of the first half, for each set that was seen often in both; the median over the sets.

RSS counts what processes share in each of them; that is fine for growth. A figure without enough samples does not
count, but that of the front always has them.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
        "front": front_growth(late),
        "replicas at equal age": age_growth(late),
        "total in equal states": state_growth(late),
    }
    lines = [f"{name}: {'too few samples' if rise is None else f'{rise:+.1%}'}" for name, rise in found.items()]
    peak = max(sum(each.rss_mb for each in group) for group in by_time(late).values())
    lines.append(f"most in use: {peak:.0f} MB; {len({sample.pid for sample in samples})} processes lived")
    failed = answered[-1].failed if answered else 0
    lines.append(f"failed answers: {failed}")
    grown = [rise for rise in found.values() if rise is not None and rise > MOST]
    asked = bool(answered and answered[-1].ok)
    return Verdict(not grown and not failed and asked and found["front"] is not None, tuple(lines))


def by_time(samples: Iterable[Sample]) -> dict[float, list[Sample]]:
    """The samples of each moment."""
    found: dict[float, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.t_s].append(sample)
    return found


def rise(points: Sequence[tuple[float, float]]) -> float | None:
    """Growth along the Theil-Sen line from the first to the last point, over its level at the first."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0]]
    if not slopes:
        return None
    slope = statistics.median(slopes)
    begun, ended = points[0][0], points[-1][0]
    level = statistics.median(y - slope * (x - begun) for x, y in points)
    return slope * (ended - begun) / level


def front_growth(samples: Iterable[Sample]) -> float | None:
    """Of the medians of each minute (each tenth of a shorter soak)."""
    front = [sample for sample in samples if sample.name == "front"]
    if not front:
        return None
    step = min(60.0, (front[-1].t_s - front[0].t_s) / 10 or 60.0)
    bins: dict[int, list[float]] = defaultdict(list)
    for sample in front:
        bins[int(sample.t_s / step)].append(sample.rss_mb)
    return rise([(key * step, statistics.median(values)) for key, values in sorted(bins.items())])


def age_growth(samples: Iterable[Sample]) -> float | None:
    """Of the lives of each model's replicas; the median over the models."""
    lives: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.name not in ("front", "starting or stopping") and YOUNG_S <= sample.age_s <= GROWN_S:
            lives[sample.name, sample.pid].append(sample)
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (name, _), life in lives.items():
        points[name].append((life[0].t_s, statistics.median(sample.rss_mb for sample in life)))
    rises = [rise(sorted(each)) for each in points.values() if len(each) >= ENOUGH]
    known = [value for value in rises if value is not None]
    return statistics.median(known) if known else None


def state_growth(samples: Iterable[Sample]) -> float | None:
    """Of the total with the same replicas loaded, second half over first; the median over the sets."""
    states: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    moments = by_time(samples)
    for t_s, group in moments.items():
        replicas = [sample for sample in group if sample.name != "front"]
        if replicas and min(sample.age_s for sample in replicas) >= YOUNG_S:
            state = tuple(sorted(sample.name for sample in replicas))
            states[state].append((t_s, sum(sample.rss_mb for sample in group)))
    middle = (min(moments) + max(moments)) / 2
    ratios = []
    for seen in states.values():
        first, last = ([rss for t_s, rss in seen if (t_s >= middle) == late] for late in (False, True))
        if min(len(first), len(last)) >= ENOUGH:
            ratios.append(statistics.median(last) / statistics.median(first) - 1)
    return statistics.median(ratios) if ratios else None
