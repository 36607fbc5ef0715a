"""The comparison of a graph with its original."""

from __future__ import annotations

import numpy as np
import pytest

from glia.core.errors import ImportFailed
from glia.importers.parity import NO_ORACLE, Parity, compare

PROBES = [{"x": np.array([1.0, -50.0])}, {"x": np.array([0.5, 0.25])}]


def double(arrays):
    return {"y": arrays["x"] * 2}


def test_differences_are_measured_over_all_probes():
    found = compare(double, lambda arrays: {"y": arrays["x"] * 2.02}, PROBES, 0.02, "torch")
    assert (found.oracle, found.probes, found.tolerance) == ("torch", 2, 0.02)
    assert found.max_abs == pytest.approx(1.0)
    assert found.max_rel == pytest.approx(0.01)


def test_large_values_are_judged_by_their_size_and_small_ones_by_the_tolerance():
    compare(lambda a: {"y": np.array([1000.0])}, lambda a: {"y": np.array([1000.5])}, PROBES, 1e-3, "torch")
    compare(lambda a: {"y": np.array([0.0])}, lambda a: {"y": np.array([5e-4])}, PROBES, 1e-3, "torch")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda a: {"z": a["x"]}, "outputs"),
        (lambda a: {"y": a["x"][:1]}, "shape"),
        (lambda a: {"y": a["x"] * np.nan}, "NaN"),
        (lambda a: {"y": a["x"] * 2.1}, "off torch"),
    ],
)
def test_graphs_that_give_something_else_fail_the_import(other, reason: str):
    with pytest.raises(ImportFailed, match=reason):
        compare(double, other, PROBES, 0.02, "torch")


def test_without_an_oracle_nothing_is_claimed():
    assert Parity("none", 0, None, None, None) == NO_ORACLE
    with pytest.raises(ImportFailed, match="probe"):
        compare(double, double, [], 0.02, "torch")
