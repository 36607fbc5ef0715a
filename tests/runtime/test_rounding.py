"""Rounding: bounds, and that it beats the nearest integer where inputs go together."""

from __future__ import annotations

import numpy as np
import pytest

from glia.runtime.rounding import Weights, activation_scale, round_weights

random = np.random.default_rng(3)


def moments(inputs: np.ndarray) -> np.ndarray:
    """Of rows of inputs, as one group."""
    whole = np.concatenate([inputs, np.ones_like(inputs[:, :1])], 1)
    return (whole.T @ whole)[None]


def real(found: Weights) -> np.ndarray:
    return found.whole * found.steps[:, None].astype(np.float64)


def test_rounded_weights_lie_within_their_steps_range() -> None:
    weights = random.standard_normal((6, 20)).astype(np.float32)
    found = round_weights(weights, np.zeros(6, np.float32), moments(random.standard_normal((500, 20))), 0.01)
    assert found.whole.dtype == np.int8
    assert np.abs(found.whole.astype(int)).max() <= 127
    np.testing.assert_allclose(found.steps, np.abs(weights).max(1) / 127, rtol=1e-6)
    assert np.abs(real(found) - weights).max() <= 4 * found.steps.max()


@pytest.mark.parametrize("groups", [1, 4])
def test_the_output_is_nearer_than_with_the_nearest_integers(groups: int) -> None:
    rows, columns, n = 8, 12, 2000
    weights = random.standard_normal((rows, columns)).astype(np.float32)
    bias = random.standard_normal(rows).astype(np.float32)
    common = random.standard_normal((groups, n, 1))
    inputs = np.maximum(0, 1 + common + 0.2 * random.standard_normal((groups, n, columns)))  # alike, as neighbours are
    seen = np.concatenate([moments(each) for each in inputs])
    found = round_weights(weights, bias, seen, 0.01)

    def outputs(w: np.ndarray, b: np.ndarray) -> np.ndarray:
        by_group = w.reshape(groups, rows // groups, columns)
        return inputs @ by_group.transpose(0, 2, 1) + b.reshape(groups, 1, -1)

    wanted = outputs(weights, bias)
    step = found.steps[:, None].astype(np.float64)
    nearest = outputs(np.round(weights / step) * step, bias)
    error = ((outputs(real(found), found.bias) - wanted) ** 2).mean()
    assert error < 0.25 * ((nearest - wanted) ** 2).mean()
    np.testing.assert_allclose(outputs(real(found), found.bias).mean(1), wanted.mean(1), atol=1e-6)


def test_a_row_of_tiny_weights_gets_a_step_that_its_bias_fits() -> None:
    weights = np.full((1, 3), 1e-12, np.float32)
    found = round_weights(weights, np.ones(1, np.float32), moments(random.standard_normal((50, 3))), 0.02)
    whole = found.whole_bias(0.02)
    assert whole.dtype == np.int32
    assert whole[0] * found.steps[0] * 0.02 == pytest.approx(1, rel=1e-6)


def test_inputs_that_never_occur_are_no_trouble() -> None:
    inputs = random.standard_normal((300, 5))
    inputs[:, 2] = 0
    found = round_weights(np.ones((2, 5), np.float32), np.zeros(2, np.float32), moments(inputs), 0.02)
    assert np.isfinite(found.bias).all()
    assert (
        round_weights(np.ones((2, 5), np.float32), np.zeros(2, np.float32), moments(0 * inputs), 0.02).steps.min() > 0
    )


def test_zero_is_exact_and_the_range_is_kept_where_values_fill_it() -> None:
    scale = activation_scale(np.linspace(-1, 3, 4000), -1.0, 3.0)
    assert scale.step == pytest.approx(4 / 255)
    assert scale.zero == 64
    positive = activation_scale(np.linspace(1, 3, 4000), 1.0, 3.0)
    assert (positive.zero, positive.step) == (0, pytest.approx(3 / 255))


def test_a_lonely_extreme_is_cut_off_but_not_by_much() -> None:
    scale = activation_scale(random.standard_normal(50_000), -20.0, 20.0)
    assert scale.step == pytest.approx(0.7 * 40 / 255)


def test_an_activation_that_is_always_zero_has_a_scale() -> None:
    assert activation_scale(np.zeros(10), 0.0, 0.0).step > 0
