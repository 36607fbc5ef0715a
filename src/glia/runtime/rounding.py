"""From real numbers to 8 bits, so that a layer's output changes least: weights, biases, ranges of activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int8, Int32

TOP = 127
DAMPING = 0.01
"""Added to the diagonal of the moments, as a share of its mean: what a few hundred pictures don't tell, is noise."""

SHRINKS = np.linspace(1.0, 0.7, 16)
"""Ranges that are tried, as shares of the whole. Cutting off more loses least on the pictures at hand, but not on
others: they have values that these lack (measured, docs/experiments.md)."""


@dataclass(frozen=True)
class Scale:
    """A real number is `step` * (integer - `zero`); integers are unsigned, of 8 bits."""

    step: float
    zero: int


def activation_scale(values: Float[np.ndarray, " n"], lowest: float, highest: float) -> Scale:
    """The scale of an activation that loses least (mean square) of `values`, a sample of what it takes.

    `lowest` and `highest` are the extremes that occurred; a smaller range cuts them off, but has finer steps.
    Zero is always exact, so that padding is.
    """
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    if highest - lowest < 1e-9:
        return Scale(1.0, 0)
    best, least = Scale(1.0, 0), np.inf
    for shrink in SHRINKS:
        step = shrink * (highest - lowest) / 255
        zero = int(np.clip(np.round(-shrink * lowest / step), 0, 255))
        back = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
        loss = float(np.mean((back - values) ** 2))
        if loss < least:
            best, least = Scale(float(np.float32(step)), zero), loss
    return best


@dataclass(frozen=True)
class Weights:
    """A layer's weights as 8-bit integers, each row (output channel) with its own step, and the bias that fits them."""

    whole: Int8[np.ndarray, "rows columns"]
    steps: Float[np.ndarray, " rows"]
    bias: Float64[np.ndarray, " rows"]

    def whole_bias(self, step: float) -> Int32[np.ndarray, " rows"]:
        """The bias in steps of weights times activations, which is what integer arithmetic adds up."""
        return np.round(self.bias / (self.steps.astype(np.float64) * step)).astype(np.int32)


def round_weights(
    weights: Float[np.ndarray, "rows columns"],
    bias: Float[np.ndarray, " rows"],
    moments: Float64[np.ndarray, "groups inputs inputs"],
    step: float,
) -> Weights:
    """Round one column after the other; what a column's rounding does to the output, the columns after it make up for.

    `moments`: for each group of rows, the sum of z z' over what the layer sees, z being its inputs and a 1: the last
    row holds the inputs' sums, and how many were added. `step`: of the layer's input.
    The error in the mean goes into the bias, so only the covariance counts in rounding.
    Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2022),
    after "Optimal Brain Compression" (2022), for convolutions; the bias as in Nagel et al., "Data-Free Quantization
    Through Weight Equalization and Bias Correction" (2019).
    """
    groups = len(moments)
    rows, columns = weights.shape
    rest = weights.astype(np.float64).reshape(groups, rows // groups, columns)
    moments = moments / moments[:, -1:, -1:]
    means = moments[:, -1:, :-1]
    covariance = moments[:, :-1, :-1] - means.transpose(0, 2, 1) @ means
    # The bias must fit 32 bits in steps of weight times input: a row of tiny weights gets a coarser step.
    fitting = np.abs(bias) / (step * 2.0**30)
    steps = np.maximum.reduce([np.abs(weights).max(1) / TOP, fitting, np.full(rows, 1e-12)]).astype(np.float32)
    by_row = steps.astype(np.float64).reshape(groups, rows // groups)

    order = np.argsort(-covariance.diagonal(axis1=1, axis2=2).mean(0), kind="stable")  # what matters most, first
    follow = _followers(covariance[:, order][:, :, order])
    rest = rest[:, :, order]
    whole = np.zeros_like(rest)
    for column in range(columns):
        whole[:, :, column] = np.clip(np.round(rest[:, :, column] / by_row), -TOP, TOP)
        error = (rest[:, :, column] - whole[:, :, column] * by_row) / follow[:, column, column, None]
        rest[:, :, column:] -= error[:, :, None] * follow[:, None, column, column:]
    whole = whole[:, :, np.argsort(order)]
    lost = weights.reshape(whole.shape) - whole * by_row[:, :, None]
    shift = (lost @ means.transpose(0, 2, 1)).reshape(rows)
    return Weights(whole.reshape(rows, columns).astype(np.int8), steps, bias + shift)


def _followers(
    covariance: Float64[np.ndarray, "groups columns columns"],
) -> Float64[np.ndarray, "groups columns columns"]:
    """Upper triangles; row j says how the columns after j make up for an error in column j."""
    columns = covariance.shape[1]
    level = np.maximum(covariance.diagonal(axis1=1, axis2=2).mean(1), 1e-12)
    damped = covariance + (DAMPING * level)[:, None, None] * np.eye(columns)
    return np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
