"""The batcher: rows that share a run, each request's own rows back, and nobody waits for nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from glia.core.errors import InputError
from glia.core.session import Tensors, TensorSpec
from glia.core.timing import take_rows
from glia.runtime.batcher import Batcher
from house import until


class Doubling:
    """A session that doubles, and notes the rows of each run; a row of NaN is at fault."""

    def __init__(self, free: bool = True) -> None:
        first = None if free else 1
        self.inputs = (TensorSpec("x", "float32", (first, 2)),)
        self.outputs = (TensorSpec("y", "float32", (first, 2)),)
        self.runs: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, tensors: Mapping[str, np.ndarray]) -> Tensors:
        self.gate.wait(20)
        self.runs.append(len(tensors["x"]))
        if np.isnan(tensors["x"]).any():
            raise InputError("not a number")
        return {"y": tensors["x"] * 2}

    def facts(self) -> dict[str, Any]:
        return {}


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Results, or errors, of calls made at once on threads of their own."""
    results: list[Any] = [None] * len(calls)

    def call(index: int) -> None:
        try:
            results[index] = calls[index]()
        except (InputError, AssertionError, threading.BrokenBarrierError) as error:
            results[index] = error

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def asking(batcher: Batcher, value: float, rows: int = 1, begin: threading.Barrier | None = None) -> Callable[[], Any]:
    """A request of rows of one value, as a lane makes it."""

    def ask() -> Any:
        batcher.enter()
        try:
            if begin is not None:
                begin.wait(20)
            y = batcher.run({"x": np.full((rows, 2), value, np.float32)})["y"]
            return float(y[0, 0]), len(y), take_rows()
        finally:
            batcher.leave()

    return ask


def test_requests_at_once_share_a_run_and_each_gets_its_own_rows() -> None:
    session = Doubling()
    batcher = Batcher(session, 8, delay_ms=5_000.0)
    begin = threading.Barrier(4)
    assert together(*(asking(batcher, i, begin=begin) for i in range(4))) == [(2.0 * i, 1, 4) for i in range(4)]
    assert session.runs == [4]


def test_rows_are_counted_and_not_requests() -> None:
    session = Doubling()
    batcher = Batcher(session, 4, delay_ms=5_000.0)
    begin = threading.Barrier(3)
    found = together(*(asking(batcher, i, rows=2, begin=begin) for i in range(3)))
    assert [(value, rows) for value, rows, _ in found] == [(0.0, 2), (2.0, 2), (4.0, 2)]
    assert sorted(session.runs) == [2, 4]


def test_a_request_alone_waits_for_nobody() -> None:
    batcher = Batcher(Doubling(), 8, delay_ms=60_000.0)
    start = time.monotonic()
    assert asking(batcher, 3)() == (6.0, 1, 1)
    assert time.monotonic() - start < 20


def test_the_delay_is_a_limit_while_another_lane_is_still_at_work() -> None:
    session = Doubling()
    batcher = Batcher(session, 8, delay_ms=20.0)
    inside, go = threading.Event(), threading.Event()

    def slow() -> None:
        batcher.enter()
        inside.set()
        go.wait(20)
        batcher.leave()

    thread = threading.Thread(target=slow)
    thread.start()
    inside.wait(20)
    assert asking(batcher, 1)() == (2.0, 1, 1)
    go.set()
    thread.join(20)


def test_a_lane_that_leaves_without_rows_is_not_waited_for() -> None:
    batcher = Batcher(Doubling(), 8, delay_ms=60_000.0)
    inside = threading.Event()

    def refused() -> None:
        batcher.enter()
        inside.set()
        until(lambda: batcher._open, what="a batch that waits")
        batcher.leave()

    def asked() -> Any:
        inside.wait(20)
        return asking(batcher, 1)()

    assert together(refused, asked)[1] == (2.0, 1, 1)


def test_sizes_are_not_mixed() -> None:
    session = Doubling()
    batcher = Batcher(session, 8, delay_ms=5_000.0)
    begin = threading.Barrier(2)

    def wide() -> Any:
        batcher.enter()
        begin.wait(20)
        return batcher.run({"x": np.ones((1, 5), np.float32)})["y"].shape

    assert together(asking(batcher, 1, begin=begin), wide) == [(2.0, 1, 1), (1, 5)]
    assert session.runs == [1, 1]


def test_a_row_at_fault_costs_only_its_own_request() -> None:
    batcher = Batcher(Doubling(), 8, delay_ms=5_000.0)
    begin = threading.Barrier(2)
    good, bad = together(asking(batcher, 1, begin=begin), asking(batcher, float("nan"), begin=begin))
    assert good[:2] == (2.0, 1)
    assert isinstance(bad, InputError)


@pytest.mark.parametrize(("free", "most"), [(False, 8), (True, 1)])
def test_a_network_with_a_fixed_first_axis_is_not_batched_nor_one_whose_batches_are_off(free: bool, most: int) -> None:
    session = Doubling(free)
    batcher = Batcher(session, most, delay_ms=5_000.0)
    begin = threading.Barrier(2)
    together(asking(batcher, 1, begin=begin), asking(batcher, 2, begin=begin))
    assert session.runs == [1, 1]
