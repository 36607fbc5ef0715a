"""The watch: histograms, quantiles, windows that forget, how requests end, and Prometheus's text."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncGenerator

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from glia.core.errors import DeadlineExceeded, InputError, Overloaded
from glia.core.settings import Settings
from glia.runtime.directory import Directory
from glia.serve.frames import Frame
from glia.serve.metrics import metrics_text
from glia.serve.pool import Pool
from glia.serve.watch import MOST, Watch
from glia.serve.window import BOUNDS_S, EDGES_S, SLOTS, Histogram, Window, quantile_ms


class Clock:
    """A clock that goes when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(clock)


def end(watch: Watch, seconds: float, code: str = "ok", service: str = "objects", **body: object) -> None:
    watch.ended(watch.service(service), code, seconds, body)


def test_every_published_bound_is_counted_by() -> None:
    assert set(EDGES_S) <= set(BOUNDS_S)
    assert list(BOUNDS_S) == sorted(BOUNDS_S)


def test_a_histogram_counts_a_value_at_its_bound_and_below() -> None:
    histogram = Histogram()
    for seconds in (0.0005, 0.001, 0.0011, 0.05, 100):
        histogram.add(seconds)
    found = dict(histogram.cumulative(EDGES_S))
    assert found[0.0005] == 1
    assert found[0.001] == 2
    assert found[0.002] == 3
    assert found[0.05] == 4
    assert found[60.0] == 4
    assert found[float("inf")] == 5
    assert histogram.sum == pytest.approx(100.0526)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantiles_are_those_of_the_durations(watch: Watch, clock: Clock, share: float) -> None:
    draw = random.Random(7)
    durations = [draw.lognormvariate(-3.5, 0.8) for _ in range(5000)]
    for seconds in durations:
        end(watch, seconds)
    clock.now += 1
    wanted = float(np.quantile(durations, share)) * 1e3
    assert watch.lately(10)[f"p{share * 100:.0f}_ms"] == pytest.approx(wanted, rel=0.05)


def test_a_quantile_of_nothing_is_nothing_and_of_the_endless_the_last_bound() -> None:
    buckets = np.zeros(len(BOUNDS_S) + 1, np.int64)
    assert quantile_ms(buckets, 0.5) is None
    buckets[-1] = 3
    assert quantile_ms(buckets, 0.5) == 60_000


def test_rates_count_whole_seconds_and_failures_apart(watch: Watch, clock: Clock) -> None:
    clock.now += 100
    for _ in range(20):
        end(watch, 0.01, steps={"decode": 4.0, "run": 6.0})
    end(watch, 0.5, "overloaded")
    assert watch.lately(10)["per_second"] == 0, "the running second is not over"
    clock.now += 1
    lately = watch.lately(10, "objects")
    assert lately["per_second"] == pytest.approx(2.1)
    assert lately["failed_per_second"] == pytest.approx(0.1)
    assert lately["p99_ms"] == pytest.approx(10, rel=0.06), "a failure says nothing about latency"
    assert watch.steps_ms(10, "objects") == {"decode": 4.0, "run": 6.0}
    assert watch.history(since=-1)[-1][:3] == [100, 21, 1]


def test_a_young_server_divides_by_its_age(watch: Watch, clock: Clock) -> None:
    clock.now += 1
    for _ in range(30):
        end(watch, 0.01)
    clock.now += 1
    assert watch.lately(60)["per_second"] == 15


def test_a_window_forgets(watch: Watch, clock: Clock) -> None:
    end(watch, 0.01)
    clock.now += 11
    assert watch.lately(10)["per_second"] == 0
    assert watch.lately(60)["per_second"] > 0
    clock.now += 60
    assert watch.lately(60)["p50_ms"] is None
    clock.now += SLOTS
    assert [row for row in watch.history(-1) if row[1]] == []
    assert watch.services["objects"].codes["ok"] == 1, "the total stays"


def test_a_second_seen_again_after_the_ring_went_round_is_empty(watch: Watch, clock: Clock) -> None:
    end(watch, 0.01, steps={"run": 10.0})
    clock.now += SLOTS
    end(watch, 0.02, "internal")
    clock.now += 1
    assert watch.lately(10)["p50_ms"] is None
    assert watch.steps_ms(10, "objects") == {}


def test_the_history_goes_on_where_the_reader_stopped(watch: Watch, clock: Clock) -> None:
    clock.now += 300
    assert len(watch.history(-1)) == SLOTS - 1
    assert [row[0] for row in watch.history(since=297)] == [298, 299]
    assert watch.history(since=299) == []


def test_a_window_is_of_one_size_whatever_the_load() -> None:
    def size(window: Window) -> int:
        kept = [getattr(window, name) for name in Window.__slots__]
        return sum(map(sys.getsizeof, kept)) + sum(map(sys.getsizeof, window._steps))

    window = Window()
    steps = {"queue": 1.0, "run": 2.0}
    for second in range(SLOTS):
        window.add(second, 40, steps)
    full = size(window)
    for second in range(SLOTS, 3 * SLOTS):
        for bucket in range(100):
            window.add(second, bucket, steps)
            window.fail(second)
    assert size(window) == full < 150_000


def test_services_and_replicas_have_a_most(watch: Watch) -> None:
    for number in range(MOST + 50):
        end(watch, 0.01, service=f"service-{number}")
        watch.died(f"replica-{number}")
    assert len(watch.services) == len(watch.deaths) == MOST + 1
    assert watch.services["other"].codes["ok"] == watch.deaths["other"] == 50


def test_one_request_costs_little(watch: Watch) -> None:
    steps = {"queue": 0.1, "decode": 3.0, "preprocess": 1.0, "resize": 1.0, "run": 9.0, "postprocess": 0.2}
    counts, best = watch.service("objects"), float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(2000):
            watch.ended(counts, "ok", 0.0143, {"steps": steps, "batch": 1})
        best = min(best, (time.perf_counter() - start) / 2000)
    assert best < 20e-6


async def _frames(*kinds: str, error: Exception | None = None) -> AsyncGenerator[Frame, None]:
    for kind in kinds:
        yield Frame(1, kind, {"steps": {"run": 1.0}, "batch": 4} if kind == "end" else {})
    if error is not None:
        raise error


async def _hang() -> AsyncGenerator[Frame, None]:
    await asyncio.Event().wait()
    yield Frame(1, "end")


def outcome(watch: Watch, frames: AsyncGenerator[Frame, None]) -> list[str]:
    """The kinds that came through."""
    kinds: list[str] = []

    async def read() -> None:
        async for frame in watch.watched("objects", frames):
            kinds.append(frame.kind)
            assert watch.services["objects"].in_flight == 1

    asyncio.run(read())
    return kinds


def test_an_answer_is_counted_with_its_rows(watch: Watch) -> None:
    assert outcome(watch, _frames("item", "item", "end")) == ["item", "item", "end"]
    counts = watch.services["objects"]
    assert counts.codes == {"ok": 1}
    assert counts.in_flight == 0
    assert counts.rows.sum == 4


def test_a_request_of_several_rows_counts_them_where_no_batcher_did(watch: Watch) -> None:
    async def plain() -> AsyncGenerator[Frame, None]:
        yield Frame(1, "end", {"steps": {}})

    async def read() -> None:
        async for _ in watch.watched("objects", plain(), rows=3):
            pass

    asyncio.run(read())
    assert watch.services["objects"].rows.sum == 3


@pytest.mark.parametrize(
    "error", [Overloaded("full"), DeadlineExceeded("late"), InputError("wrong"), ValueError("a bug")]
)
def test_a_failure_is_counted_under_its_code(watch: Watch, error: Exception) -> None:
    with pytest.raises(type(error)):
        outcome(watch, _frames("item", error=error))
    counts = watch.services["objects"]
    assert counts.codes == {getattr(error, "code", "internal"): 1}
    assert counts.in_flight == 0


def test_a_client_that_leaves_is_counted_as_gone(watch: Watch) -> None:
    async def leave() -> None:
        reading = asyncio.ensure_future(anext(watch.watched("objects", _hang())))
        while watch.service("objects").in_flight == 0:
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(leave())
    assert watch.services["objects"].codes == {"client-gone": 1}
    assert watch.services["objects"].in_flight == 0


def test_a_reader_that_stops_after_the_end_had_its_answer(watch: Watch) -> None:
    async def first() -> None:
        frames = watch.watched("objects", _frames("end"))
        await anext(frames)
        await frames.aclose()

    asyncio.run(first())
    assert watch.services["objects"].codes == {"ok": 1}


def test_a_refusal_is_counted_before_the_pool(watch: Watch) -> None:
    with pytest.raises(InputError), watch.refusals("objects"):
        raise InputError("wrong")
    assert watch.services["objects"].codes == {"invalid-input": 1}


def test_prometheus_reads_what_was_counted(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(settings)
    for seconds in (0.004, 0.03, 0.03, 70):
        end(pool.watch, seconds, steps={"run": seconds * 1e3}, batch=2)
    end(pool.watch, 1.0, "overloaded")
    pool.watch.started("a[model=b@1]", 0.3)
    facts = {
        "replica": "a[model=b@1]",
        "memory_bytes": 123,
        "peak_bytes": 150,
        "lanes": 2,
        "waiting": 3,
        "executing": 1,
    }
    monkeypatch.setattr(pool, "facts", lambda: [facts])
    text, content_type = metrics_text(pool, "text/plain")
    assert content_type.startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    objects = ("service", "objects")
    assert samples["glia_requests_total", ("code", "ok"), objects] == 4
    assert samples["glia_requests_total", ("code", "overloaded"), objects] == 1
    assert samples["glia_request_seconds_bucket", ("le", "0.005"), objects] == 1
    assert samples["glia_request_seconds_bucket", ("le", "0.05"), objects] == 3
    assert samples["glia_request_seconds_bucket", ("le", "60.0"), objects] == 3
    assert samples["glia_request_seconds_bucket", ("le", "+Inf"), objects] == 4
    assert samples["glia_request_seconds_count", objects] == 4
    assert samples["glia_request_seconds_sum", objects] == pytest.approx(70.064)
    assert samples["glia_step_seconds_sum", objects, ("step", "run")] == pytest.approx(70.064)
    assert samples["glia_batch_rows_bucket", ("le", "1.0"), objects] == 0
    assert samples["glia_batch_rows_bucket", ("le", "2.0"), objects] == 4
    replica = ("replica", "a[model=b@1]")
    assert samples["glia_replica_memory_bytes", replica] == 123
    assert samples["glia_replica_memory_peak_bytes", replica] == 150
    assert samples["glia_replica_waiting", replica] == 3
    assert samples["glia_replica_starts_total", replica] == 1
    assert samples["glia_replica_start_seconds_count",] == 1
    assert samples["glia_memory_budget_bytes",] == pool.budget_bytes
    assert samples["glia_front_memory_bytes",] > 1 << 20
    assert samples["process_resident_memory_bytes",] > 1 << 20
    assert families["glia_build_info"].samples[0].labels["version"]


def test_open_metrics_is_given_to_who_asks_for_it(settings: Settings) -> None:
    text, content_type = metrics_text(Pool(settings), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_the_pool_tells_of_starts_unloads_and_evictions(settings: Settings) -> None:
    tight = Settings({**settings, "memory": 1})

    async def body() -> Watch:
        pool, directory = Pool(tight), Directory(tight)
        counting, trouble = directory.resolve("counting"), directory.resolve("trouble")
        try:
            await pool.replica(counting)
            await pool.replica(trouble)
            assert await pool.unload(trouble)
        finally:
            await pool.stop()
        return pool.watch

    watch = asyncio.run(body())
    assert watch.starts == {"counting[]": 1, "trouble[]": 1}
    assert watch.evictions == {"counting[]": 1}
    assert watch.unloads == {"trouble[]": 1}
    assert watch.start_s.sum > 0
