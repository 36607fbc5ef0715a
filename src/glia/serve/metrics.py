"""What the watch counted, in Prometheus's text format.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from glia.serve.memory import read_memory
from glia.serve.pool import Pool
from glia.serve.watch import Watch
from glia.serve.window import EDGES_S, ROW_EDGES, Histogram

WHOLE_EDGES_S = tuple(edge for edge in EDGES_S if edge >= 0.001)
"""Bucket bounds of whole requests [s]: 1 ms to 60 s."""


def metrics_text(pool: Pool, accept: str) -> tuple[bytes, str]:
    """Everything as text, and its content type: OpenMetrics where `accept` asks for it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(pool))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Families:
    """A collector: Prometheus's client asks it for the families once a scrape."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        watch, replicas = self._pool.watch, self._pool.facts()
        yield from _requests(watch)
        yield from _depths(watch, replicas)
        yield from _replicas(watch)
        yield from _memory(self._pool, replicas)
        facts = {"version": version("glia"), "python": platform.python_version(), "onnxruntime": version("onnxruntime")}
        yield _gauge("glia_build_info", "Versions of what serves; always 1.", list(facts), [(list(facts.values()), 1)])


def _gauge(name: str, words: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _counter(name: str, words: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = CounterMetricFamily(name, words, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str,
    words: str,
    labels: Sequence[str],
    edges: Sequence[float],
    rows: Iterable[tuple[Sequence[str], Histogram]],
) -> Metric:
    family = HistogramMetricFamily(name, words, labels=labels)
    for values, counted in rows:
        # "+Inf" is the format's word; a bound is written as a float, so that `le` is one label in every version.
        bounds = [("+Inf" if edge == float("inf") else repr(float(edge)), n) for edge, n in counted.cumulative(edges)]
        family.add_metric(values, bounds, counted.sum)
    return family


def _requests(watch: Watch) -> Iterable[Metric]:
    services = watch.services.items()
    yield _counter(
        "glia_requests",
        "Requests by service and outcome: ok, client-gone, or the code of the error.",
        ["service", "code"],
        [([name, code], n) for name, counts in services for code, n in counts.codes.items()],
    )
    yield _histogram(
        "glia_request_seconds",
        "Whole duration of answers, waiting included; failures are counted in glia_requests only.",
        ["service"],
        WHOLE_EDGES_S,
        [([name], counts.latency) for name, counts in services],
    )
    yield _histogram(
        "glia_step_seconds",
        "Duration of each step of answers.",
        ["service", "step"],
        EDGES_S,
        [([name, step], counted) for name, counts in services for step, counted in counts.steps.items()],
    )
    yield _histogram(
        "glia_batch_rows",
        "Rows of the run that each answer came from.",
        ["service"],
        ROW_EDGES,
        [([name], counts.rows) for name, counts in services],
    )
    yield _counter(
        "glia_http_responses",
        "HTTP answers on every route by status; 499 where the client had left.",
        ["status"],
        [([str(status)], n) for status, n in watch.http.items()],
    )


def _depths(watch: Watch, replicas: Sequence[Mapping[str, Any]]) -> Iterable[Metric]:
    yield _gauge(
        "glia_requests_in_flight",
        "Requests that wait or execute now.",
        ["service"],
        [([name], counts.in_flight) for name, counts in watch.services.items()],
    )
    for fact, words in (("waiting", "Requests that wait for a lane now."), ("executing", "Requests in a lane now.")):
        yield _gauge(f"glia_replica_{fact}", words, ["replica"], [([one["replica"]], one[fact]) for one in replicas])


def _replicas(watch: Watch) -> Iterable[Metric]:
    counted = {
        "starts": ("Replicas that became ready.", watch.starts),
        "start_failures": ("Replicas that did not become ready.", watch.start_failures),
        "deaths": ("Replicas whose process ended by itself.", watch.deaths),
        "evictions": ("Replicas stopped because the memory was needed.", watch.evictions),
        "unloads": ("Replicas stopped by hand or because they were idle for long.", watch.unloads),
    }
    for name, (words, counter) in counted.items():
        yield _counter(f"glia_replica_{name}", words, ["replica"], [([key], n) for key, n in counter.items()])
    yield _histogram(
        "glia_replica_start_seconds", "Until a replica was ready.", [], WHOLE_EDGES_S, [([], watch.start_s)]
    )


def _memory(pool: Pool, replicas: Sequence[Mapping[str, Any]]) -> Iterable[Metric]:
    for fact, name, words in (
        ("memory_bytes", "memory_bytes", "Proportional set size (resident where the system has none) of a replica."),
        ("peak_bytes", "memory_peak_bytes", "The most that a replica ever used: what the budget is held against."),
        ("lanes", "lanes", "Requests that a replica works on at once."),
    ):
        yield _gauge(f"glia_replica_{name}", words, ["replica"], [([one["replica"]], one[fact]) for one in replicas])
    for name, words, value in (
        ("glia_front_memory_bytes", "The same of the front.", read_memory(os.getpid()).used),
        (
            "glia_memory_counted_bytes",
            "Peaks of all replicas, and what is kept for those that start.",
            pool.used_bytes(),
        ),
        ("glia_memory_budget_bytes", "What all replicas together may use.", pool.budget_bytes),
        ("glia_uptime_seconds", "Since this server began.", pool.watch.uptime_s),
    ):
        yield _gauge(name, words, [], [([], value)])
