"""Normalisations, and preparation of inputs that a network carries with it.

A trained batch normalisation is a factor and a term for each channel. Where channels lie second it stays the operator,
which runtimes fold into the convolution before it; elsewhere it becomes a product and a sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.keras_layers.scope import Applied, Array, Rule


def _axis(call: Applied, default: int = -1) -> int:
    """The only axis that is normalised along, not negative."""
    value = call.config.get("axis", default)
    if isinstance(value, list | dict):
        entries = list(value.values()) if isinstance(value, dict) else value
        value = entries[0] if len(entries) == 1 else None
    rank = call.rank()
    if isinstance(value, bool) or not isinstance(value, int) or not -rank <= value < rank or value % rank == 0:
        raise unsupported(f"normalising along the axes {str(call.config.get('axis'))[:50]} of {rank}")
    return value % rank


def _along(call: Applied, handle: str, axis: int, factor: Array, term: Array) -> str:
    """handle * factor + term, both along one axis."""
    rank = call.rank(handle)
    shape = [1] * rank
    shape[axis] = factor.size
    scaled = call.layout.pair("Mul", handle, call.constant("factor", factor.reshape(shape)))
    return call.layout.pair("Add", scaled, call.constant("term", term.reshape(shape)))


def _batch(call: Applied) -> str:
    mode = call.integer("mode", 0)
    if mode not in (0, 2):
        raise unsupported("batch normalisation of mode 1, of each sample by itself,")
    if mode == 2:
        raise unsupported("batch normalisation of mode 2, which measures each batch,")
    axis = _axis(call)
    shape = call.layout.shape(call.x)
    if not call.weights:
        raise ImportFailed("expected mean and variance, the file holds no weights for it")
    size = call.weights[0].size
    if isinstance(shape[axis], int) and shape[axis] != size:
        raise ImportFailed(f"it normalises {size} channels, it is given {shape[axis]}")
    scaled, centred = call.flag("scale", True), call.flag("center", True)
    gamma = call.vector(0, size, "gamma") if scaled else np.ones(size, np.float32)
    beta = call.vector(int(scaled), size, "beta") if centred else np.zeros(size, np.float32)
    at = int(scaled) + int(centred)
    mean, variance = call.vector(at, size, "the mean"), call.vector(at + 1, size, "the variance")
    epsilon = call.number("epsilon", 1e-3)
    if (variance.astype(np.float64) + epsilon <= 0).any():
        raise ImportFailed("its variances are negative: the file is damaged")
    is_second = call.layout.is_first(call.x) and axis == len(shape) - 1
    if is_second or axis == 1:
        x = call.layout.first(call.x) if is_second else call.plain()
        parts = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
        inputs = [x, *(call.constant(part, value) for part, value in parts.items())]
        y = call.graph.node("BatchNormalization", inputs, call.hint, epsilon=epsilon)
        return call.layout.promise(y) if is_second else y
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    term = beta - mean * factor
    return _along(call, call.x, axis, factor.astype(np.float32), term.astype(np.float32))


def _layer(call: Applied) -> str:
    """Every sample by itself, over its last axis."""
    axis = _axis(call)
    if axis != call.rank() - 1:
        raise unsupported("layer normalisation along another axis than the last")
    if call.config.get("rms_scaling"):
        raise unsupported("layer normalisation with `rms_scaling`")
    x = call.plain()
    (size,) = call.layout.known_shape(call.x, [-1])
    scaled, centred = call.flag("scale", True), call.flag("center", True)
    gamma = call.vector(0, size, "gamma") if scaled else np.ones(size, np.float32)
    inputs = [x, call.constant("gamma", gamma)]
    if centred:
        inputs.append(call.constant("beta", call.vector(int(scaled), size, "beta")))
    return call.graph.node("LayerNormalization", inputs, call.hint, axis=-1, epsilon=call.number("epsilon", 1e-3))


def _group(call: Applied) -> str:
    """Every sample by itself, over groups of channels."""
    axis, rank = _axis(call), call.rank()
    is_last = axis == rank - 1
    if not is_last and axis != 1:
        raise unsupported("group normalisation along another axis than the channels")
    x = call.layout.first(call.x) if is_last and rank > 2 else call.plain()
    channels, *_ = call.graph.known_shape(x, [1])
    groups = call.integer("groups", 32)
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        raise ImportFailed(f"{channels} channels do not make {groups} groups")
    scaled, centred = call.flag("scale", True), call.flag("center", True)
    gamma = call.vector(0, channels, "gamma") if scaled else np.ones(channels, np.float32)
    beta = call.vector(int(scaled), channels, "beta") if centred else np.zeros(channels, np.float32)
    ones, zeros = call.graph.constant("ones", np.ones(groups, np.float32)), np.zeros(groups, np.float32)
    shape = call.graph.node("Shape", [x])
    rows = call.graph.reshape(x, [0, groups, -1])
    epsilon = call.number("epsilon", 1e-3)
    y = call.graph.node("InstanceNormalization", [rows, ones, call.graph.constant("zeros", zeros)], epsilon=epsilon)
    y = call.graph.reshape(y, shape)
    whole = (1, channels, *(1,) * (rank - 2))
    y = call.graph.node("Mul", [y, call.constant("gamma", gamma.reshape(whole))])
    y = call.graph.node("Add", [y, call.constant("beta", beta.reshape(whole))], call.hint)
    return call.layout.promise(y) if is_last and rank > 2 else y


def _root_mean_square(call: Applied) -> str:
    """Each vector divided by the root of its mean square, times a factor for each number."""
    if _axis(call) != call.rank() - 1:
        raise unsupported("normalising by the root mean square along another axis than the last")
    graph, x = call.graph, call.plain()
    (size,) = call.layout.known_shape(call.x, [-1])
    mean = graph.node("ReduceMean", [graph.node("Mul", [x, x])], axes=[-1], keepdims=1)
    root = graph.node("Sqrt", [graph.node("Add", [mean, graph.scalar("epsilon", call.number("epsilon", 1e-6))])])
    return graph.node("Mul", [graph.node("Div", [x, root]), call.constant("scale", call.vector(0, size, "the scale"))])


def _unit(call: Applied) -> str:
    """Each vector at length 1."""
    if _axis(call) != call.rank() - 1:
        raise unsupported("unit normalisation along another axis than the last")
    return call.graph.node("LpNormalization", [call.plain()], call.hint, axis=-1, p=2)


def _values(call: Applied, value: Any) -> Array:
    array = np.asarray(value if isinstance(value, list) else [value])
    if array.dtype.kind not in "fiu" or array.size > 1 << 20 or not np.isfinite(array).all():
        raise ImportFailed(f"expected numbers, received {str(value)[:100]}")
    return array.astype(np.float32)


def _rescaling(call: Applied) -> str:
    """Every number times a factor, plus a term; or those of each channel."""
    y = call.x
    for op, key, neutral in (("Mul", "scale", 1.0), ("Add", "offset", 0.0)):
        values = _values(call, call.config.get(key, neutral))
        if not (values == neutral).all():
            tensor = call.constant(key, values if values.size > 1 else values.reshape(()))
            y = call.layout.pair(op, y, tensor)
    return y


def _standard(call: Applied) -> str:
    """(x - mean) / max(sqrt(variance), 1e-7), measured over a data set."""
    axis = call.config.get("axis", -1)
    if call.config.get("invert"):
        raise unsupported("an inverted normalisation")
    if call.config.get("mean") is not None:
        mean, variance = (_values(call, call.config.get(key)).ravel() for key in ("mean", "variance"))
    else:
        mean, variance = (call.weight(at, None, "mean and variance").ravel() for at in (0, 1))
    if mean.size != variance.size or (variance < 0).any():
        raise ImportFailed("its mean and variance do not fit each other")
    factor = 1 / np.maximum(np.sqrt(variance.astype(np.float64)), 1e-7)
    factor, term = factor.astype(np.float32), (-mean * factor).astype(np.float32)
    if axis is None or mean.size == 1:
        tensors = (call.constant(part, value.reshape(())) for part, value in (("factor", factor), ("term", term)))
        scale, shift = tensors
        return call.layout.each("Add", call.layout.each("Mul", call.x, scale), shift)
    return _along(call, call.x, _axis(call), factor, term)


RULES: dict[str, Rule] = {
    "BatchNormalization": _batch,
    "LayerNormalization": _layer,
    "GroupNormalization": _group,
    "RMSNormalization": _root_mean_square,
    "UnitNormalization": _unit,
    "Rescaling": _rescaling,
    "Normalization": _standard,
}
