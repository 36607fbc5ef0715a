"""What a soak lets pass, and what it does not."""

from __future__ import annotations

import pytest

from benchmarks.soak_verdict import Answered, Sample, front, growth, verdict

MINUTES = 12


def samples(front: float = 0.0, replica: float = 0.0, young: float = 0.0) -> list[Sample]:
    """A front, a replica, and one that is replaced every minute; they grow by these shares over the time."""
    found = []
    for second in range(0, MINUTES * 60, 2):
        share = second / (MINUTES * 60)
        wave = 1 + 0.01 * ((second // 2) % 3 - 1)
        found.append(Sample(second, 1, "front", second, 80 * wave * (1 + front * share), 60))
        found.append(Sample(second, 2, "steady", second, 120 * wave * (1 + replica * share), 100))
        born, pid = second // 60 * 60, 100 + second // 60
        grown = 100 + min(second - born, 20)
        found.append(Sample(second, pid, "model", second - born, grown * wave * (1 + young * share), 90))
    return found


def answered(failed: int = 0) -> list[Answered]:
    """Enough of them."""
    return [Answered(MINUTES * 60, 1000, 3, failed, 5)]


def test_flat_memory_passes_though_replicas_grow_while_they_are_young() -> None:
    found = verdict(samples(), answered())
    assert found.passed, found.lines


@pytest.mark.parametrize("grown", [{"front": 0.15}, {"replica": 0.15}, {"young": 0.15}])
def test_growth_fails(grown: dict[str, float]) -> None:
    assert not verdict(samples(**grown), answered()).passed


def test_a_failed_answer_fails() -> None:
    assert not verdict(samples(), answered(failed=1)).passed


def test_no_answers_at_all_fail() -> None:
    assert not verdict(samples(), []).passed


def test_a_single_peak_is_no_growth() -> None:
    found = samples()
    found[300] = Sample(found[300].t_s, 1, "front", 0, 800, 60)
    line = growth(front(found))
    assert line is not None
    assert abs(line.rise) < 0.02


def test_a_line_is_measured_from_its_first_point_to_its_last() -> None:
    line = growth([(x, 100 + 5 * x) for x in range(5)])
    assert line is not None
    assert line.rise == pytest.approx(0.2)
    assert line.scatter == pytest.approx(0)
    assert growth([(0, 100)]) is None


def test_growth_within_the_scatter_of_the_points_is_told_but_not_judged() -> None:
    line = growth([(x, 100 + 30 * (-1) ** x + x) for x in range(11)])
    assert line is not None
    assert line.scatter > 0.2
    assert line.fits
