"""Steps: each block's own time, counted once."""

from __future__ import annotations

import threading

import pytest

from glia.core import timing
from glia.core.timing import step, timed


class Clock:
    """A clock that goes on when it is told to [s]."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(timing, "time", fake)
    return fake


def test_a_step_inside_another_is_counted_there_only(clock: Clock) -> None:
    with timed() as steps, step("run"):
        clock.now += 1
        with step("decode"):
            clock.now += 2
            with step("read"):
                clock.now += 4
        clock.now += 8
        with step("decode"):
            clock.now += 16
    assert steps == {"run": 9000, "decode": 18000, "read": 4000}


def test_steps_of_one_name_add_up_even_inside_each_other(clock: Clock) -> None:
    with timed() as steps:
        for _ in range(3):
            with step("run"):
                clock.now += 1
                with step("run"):
                    clock.now += 1
    assert steps == {"run": 6000}


def test_a_step_that_fails_is_counted(clock: Clock) -> None:
    with timed() as steps:
        with pytest.raises(KeyError), step("outer"), step("inner"):
            clock.now += 1
            raise KeyError
        with step("after"):
            clock.now += 1
    assert steps == {"inner": 1000, "outer": 0, "after": 1000}


def test_nobody_asks_and_nothing_is_kept(clock: Clock) -> None:
    with step("run"):
        clock.now += 1
    with timed() as steps:
        pass
    assert steps == {}


def test_a_timing_inside_a_step_of_another_is_counted_there_like_a_step(clock: Clock) -> None:
    with timed() as outer, step("outer"):
        clock.now += 1
        with timed() as inner, step("inner"):
            clock.now += 2
        clock.now += 4
    assert inner == {"inner": 2000}
    assert outer == {"outer": 5000}


def test_threads_do_not_count_for_each_other() -> None:
    found: dict[str, dict[str, float]] = {}
    both = threading.Barrier(2)

    def work(name: str) -> None:
        with timed() as steps, step(name):
            both.wait(10)
        found[name] = steps

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: list(steps) for name, steps in found.items()} == {"a": ["a"], "b": ["b"]}
