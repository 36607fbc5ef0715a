"""Writes dlib's serialisation for tests: numbers, tensors, and networks of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def integer(value: int) -> bytes:
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def real(value: float) -> bytes:
    mantissa, exponent = math.frexp(np.float32(value))
    whole = int(mantissa * 2**24)
    return integer(whole) + integer(exponent - 24 if whole else 0)


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(value: np.ndarray | None = None) -> bytes:
    if value is None:
        return integer(2) + integer(0) * 4
    value = np.asarray(value, np.float32)
    shape = value.shape + (1,) * (4 - value.ndim)
    return integer(2) + b"".join(integer(size) for size in shape) + value.astype("<f4").tobytes()


def window(shape: Sequence[int]) -> bytes:
    return integer(1) + b"".join(integer(size) for size in (*shape, *(1,) * (4 - len(shape))))


def con(
    filters: np.ndarray, bias: np.ndarray, stride: int = 1, pad: int = 0, kind: str = "con_4", relu: bool = False
) -> bytes:
    out = text(kind) + tensor(np.concatenate([filters.reshape(-1), bias]))
    for number in (len(filters), *filters.shape[2:], stride, stride, pad, pad):
        out += integer(number)
    out += window(filters.shape) + window((1, len(bias))) + real(1) * 4
    if kind in ("con_5", "con_6"):
        out += b"1"
    return out + ((b"1" if relu else b"0") if kind == "con_6" else b"")


def affine(gamma: np.ndarray, beta: np.ndarray, by_element: bool = False, kind: str = "affine_") -> bytes:
    shape = (1, *gamma.shape)
    out = text(kind) + tensor(np.concatenate([gamma.reshape(-1), beta.reshape(-1)]))
    return out + window(shape) * 2 + integer(int(by_element)) + (b"0" if kind == "affine_2" else b"")


def bn(gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float = 1e-3) -> bytes:
    shape = (1, len(gamma), 1, 1)
    out = text("bn_con2") + tensor(np.concatenate([gamma, beta])) + window(shape) * 2 + tensor() * 2
    return (
        out
        + tensor(mean.reshape(shape))
        + tensor(variance.reshape(shape))
        + integer(0) * 2
        + real(1) * 4
        + real(epsilon)
    )


def fc(weights: np.ndarray, bias: np.ndarray | None, kind: str = "fc_2") -> bytes:
    """Weights (in, out)."""
    whole = weights if bias is None else np.concatenate([weights, bias[None]])
    out = text(kind) + integer(weights.shape[1]) + integer(weights.shape[0]) + tensor(whole)
    out += window(weights.shape) + window((0, 0) if bias is None else (1, len(bias))) + integer(int(bias is None))
    return out + real(1) * 4 + ((b"1" if bias is not None else b"0") if kind == "fc_3" else b"")


def pool(kind: str, size: int, stride: int, pad: int = 0) -> bytes:
    return text(kind) + b"".join(integer(number) for number in (size, size, stride, stride, pad, pad))


RELU, ADD = text("relu_"), text("add_prev_")
MARKER = b""


def network(layers: Sequence[bytes], loss: str = "loss_metric_2", size: tuple[int, int] | None = (12, 14)) -> bytes:
    """Layers from the input on; a marker is an empty one."""
    losses: dict[str, Any] = {
        "loss_metric_2": real(0.04) + real(0.6),
        "loss_mmod_": integer(2)
        + integer(1)
        + integer(2)
        + integer(80) * 2
        + text("face")
        + real(1) * 3
        + real(0.3) * 4,
        "loss_multiclass_log_": b"",
    }
    out = integer(1) + text(loss) + losses[loss]
    for layer in layers[:0:-1]:
        out += integer(2 if layer else 1)
    out += integer(3) + text("input_rgb_image_sized" if size else "input_rgb_image") + real(100) + real(110) + real(120)
    if size:
        out += integer(size[0]) + integer(size[1])
    state = b"100" + tensor() * 3
    out += layers[0] + state + integer(1)
    return out + b"".join(layer + state if layer else b"" for layer in layers[1:])


def predictor(mean: np.ndarray, cascades: Sequence[dict[str, np.ndarray]]) -> bytes:
    """A shape predictor; mean (points, 2)."""

    def matrix(value: np.ndarray) -> bytes:
        flat = value.reshape(-1)
        return integer(-len(flat)) + integer(-1) + b"".join(real(number) for number in flat)

    out = integer(1) + matrix(mean) + integer(len(cascades))
    for cascade in cascades:
        out += integer(len(cascade["first"]))
        trees = (cascade[key] for key in ("first", "second", "threshold", "leaves"))
        for first, second, threshold, leaves in zip(*trees, strict=True):
            out += integer(len(first))
            out += b"".join(
                integer(int(a)) + integer(int(b)) + real(t) for a, b, t in zip(first, second, threshold, strict=True)
            )
            out += integer(len(leaves)) + b"".join(matrix(leaf) for leaf in leaves)
    for key in ("anchors", "deltas"):
        out += integer(len(cascades))
        for cascade in cascades:
            out += integer(len(cascade[key]))
            out += b"".join(integer(int(v)) if key == "anchors" else real(v[0]) + real(v[1]) for v in cascade[key])
    return out
