"""Back-off: a replica in a crash loop is started ever more rarely, and says why."""

from __future__ import annotations

import pytest

from glia.core.errors import ReplicaDied
from glia.serve import backoff
from glia.serve.backoff import FREE, LONGEST_S, Backoff


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(backoff, "time", fake)
    return fake


def test_the_first_ends_cost_nothing_and_later_ones_ever_more(clock: Clock) -> None:
    loop = Backoff()
    for _ in range(FREE):
        assert not loop.note("a", "signal 11")
        loop.check("a", "objects")
    waits = []
    for _ in range(8):
        assert loop.note("a", "signal 11")
        with pytest.raises(ReplicaDied, match=r"objects ended .* because: signal 11") as error:
            loop.check("a", "objects")
        assert error.value.retry_after_s is not None
        waits.append(error.value.retry_after_s)
        clock.now += error.value.retry_after_s
        loop.check("a", "objects")
        loop.check("another", "scenes")
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S]


def test_old_ends_are_forgotten_and_a_hand_clears_them(clock: Clock) -> None:
    loop = Backoff()
    for _ in range(FREE + 1):
        loop.note("a", "signal 9")
    clock.now += 301
    assert not loop.note("a", "signal 9")
    for _ in range(FREE + 1):
        loop.note("a", "signal 9")
    loop.forget("a")
    loop.check("a", "objects")
