"""The watch: what was asked, how it ended, how long it took, and what became of the replicas.

Its own counters and no library's, because they feed two doors, `/metrics` and `/v1/status`, and cost a request some
microseconds: no lock (all of it belongs to the event loop), no label looked up twice, nothing imported.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import numpy as np

from glia.core.errors import GliaError
from glia.serve.frames import Frame
from glia.serve.window import BUCKETS, ROW_EDGES, SLOTS, Histogram, Window, quantile_ms

OK = "ok"
CLIENT_GONE = "client-gone"
"""The outcome of a request whose client left; every other outcome is `ok` or the code of its error."""
MOST = 1000
"""Names that one family may have, so that nothing that is served and forgotten for years fills the memory."""
OTHER = "other"


class Counts:
    """One service: since the start, and the last two minutes."""

    __slots__ = ("codes", "in_flight", "latency", "rows", "steps", "window")

    def __init__(self) -> None:
        """Nothing yet."""
        self.in_flight = 0
        """Requests that wait or execute."""
        self.codes: Counter[str] = Counter()
        self.latency = Histogram()
        """Whole durations of answers [s]; what failed is in `codes` alone."""
        self.steps: dict[str, Histogram] = {}
        self.rows = Histogram(ROW_EDGES)
        """Rows of the run that each answer came from."""
        self.window = Window()


Ended = Callable[[str, float, Mapping[str, float]], None]
"""Told of a request's end: its code, how long it took [ms], and its steps [ms], empty if it failed."""


class Watch:
    """Counts; asks nobody anything. All methods belong to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, never going back."""
        self._clock = clock
        self._start = clock()
        self.services: dict[str, Counts] = {}
        self.http: Counter[int] = Counter()
        """HTTP status to answers, on every route."""
        self.starts: Counter[str] = Counter()
        """Replica key to how often it was started, as the four below."""
        self.start_failures: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()
        self.unloads: Counter[str] = Counter()
        self.start_s = Histogram()
        """From the start of a replica's process until it is ready [s]."""

    @property
    def uptime_s(self) -> float:
        """Since this watch began."""
        return self._clock() - self._start

    def service(self, name: str) -> Counts:
        """A service's counts. Give it only names that were resolved: what clients ask for must never become labels."""
        counts = self.services.get(name)
        if counts is None:
            name = name if len(self.services) < MOST else OTHER
            counts = self.services.setdefault(name, Counts())
        return counts

    async def watched(
        self, service: str, frames: AsyncGenerator[Frame, None], rows: int = 1, also: Ended = lambda *_: None
    ) -> AsyncGenerator[Frame, None]:
        """The same frames; their request is counted when it ends, however it ends.

        `rows`: how many it is by itself; its end frame may say that more ran together. `also`: told the end too.
        """
        counts = self.service(service)
        counts.in_flight += 1
        start = time.perf_counter()
        code, body = CLIENT_GONE, {}
        try:
            async with aclosing(frames):
                async for frame in frames:
                    if frame.kind == "end":
                        code, body = OK, {**frame.body, "batch": max(rows, frame.body.get("batch") or 1)}
                    yield frame
        except GliaError as error:
            code = error.code
            raise
        except Exception:
            code = GliaError.code
            raise
        finally:
            counts.in_flight -= 1
            seconds = time.perf_counter() - start
            self.ended(counts, code, seconds, body)
            also(code, seconds * 1e3, body.get("steps") or {})

    def ended(self, counts: Counts, code: str, seconds: float, body: Mapping[str, Any]) -> None:
        """The end of a request: `body` is its end frame's, with `steps` [ms] and `batch` [rows]; empty if it failed."""
        second = int(self._clock() - self._start)
        counts.codes[code] += 1
        if code != OK:
            counts.window.fail(second)
            return
        steps = body.get("steps") or {}
        bucket = counts.latency.add(seconds)
        counts.rows.add(body.get("batch") or 1)
        for name, ms in steps.items():
            step = counts.steps.get(name)
            if step is None:
                step = counts.steps.setdefault(name if len(counts.steps) < MOST else OTHER, Histogram())
            step.add(ms * 1e-3)
        counts.window.add(second, bucket, steps)

    @contextmanager
    def refusals(self, service: str) -> Iterator[None]:
        """Count what this block refuses before it comes to the pool."""
        try:
            yield
        except GliaError as error:
            self.refused(service, error)
            raise

    def refused(self, service: str, error: GliaError) -> None:
        """A request that was at fault and never came to the pool."""
        counts = self.service(service)
        counts.codes[error.code] += 1
        counts.window.fail(int(self._clock() - self._start))

    def answered(self, status: int) -> None:
        """An HTTP answer left; 499 where nobody was left to take it."""
        self.http[status] += 1

    def started(self, replica: str, seconds: float) -> None:
        """A replica is ready, this long after its process was started."""
        self.starts[_name(replica, self.starts)] += 1
        self.start_s.add(seconds)

    def start_failed(self, replica: str) -> None:
        """A replica did not become ready."""
        self.start_failures[_name(replica, self.start_failures)] += 1

    def died(self, replica: str) -> None:
        """A replica's process ended by itself."""
        self.deaths[_name(replica, self.deaths)] += 1

    def evicted(self, replica: str) -> None:
        """A replica was stopped because the memory was needed."""
        self.evictions[_name(replica, self.evictions)] += 1

    def unloaded(self, replica: str) -> None:
        """A replica was stopped because somebody said so, or because nobody asked for long."""
        self.unloads[_name(replica, self.unloads)] += 1

    def lately(self, seconds: int, service: str | None = None) -> dict[str, float | None]:
        """Requests per second and latency [ms] over the last whole `seconds`, of one service or of all.

        Keys: per_second, failed_per_second, p50_ms, p90_ms, p99_ms; latencies are None where nothing was answered.
        """
        now = int(self.uptime_s)
        requests, failed, buckets = self._sums(self._windows(service), now - seconds, now - 1)
        span = max(1, min(seconds, now))
        return {
            "per_second": round(requests / span, 2),
            "failed_per_second": round(failed / span, 2),
            **{f"p{percent}_ms": _rounded(quantile_ms(buckets, percent / 100)) for percent in (50, 90, 99)},
        }

    def steps_ms(self, seconds: int, service: str) -> dict[str, float]:
        """Mean of each step [ms] over the answers of the last whole `seconds`."""
        now = int(self.uptime_s)
        if service not in self.services:
            return {}
        window = self.services[service].window
        _, _, buckets = window.counts(now - seconds, now - 1)
        answers = max(1, int(buckets.sum()))
        return {name: round(ms / answers, 3) for name, ms in window.steps_ms(now - seconds, now - 1).items()}

    def history(self, since: int) -> list[list[float | None]]:
        """[second, requests, failed, p50 ms, p99 ms] for every whole second after `since`, 127 at most."""
        now = int(self.uptime_s)
        rows: list[list[float | None]] = []
        for second in range(max(since + 1, now - SLOTS + 1, 0), now):
            requests, failed, buckets = self._sums(self._windows(None), second, second)
            middle, high = (_rounded(quantile_ms(buckets, share)) for share in (0.5, 0.99))
            rows.append([second, requests, failed, middle, high])
        return rows

    def _windows(self, service: str | None) -> list[Window]:
        return [counts.window for name, counts in self.services.items() if service in (None, name)]

    @staticmethod
    def _sums(windows: list[Window], first: int, last: int) -> tuple[int, int, Any]:
        found = [window.counts(first, last) for window in windows]
        buckets = sum((one[2] for one in found), np.zeros(BUCKETS, np.int64))
        return sum(one[0] for one in found), sum(one[1] for one in found), buckets


def _name(replica: str, known: Mapping[str, int]) -> str:
    return replica if replica in known or len(known) < MOST else OTHER


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
