"""Layers of numbers in rows: Dense, Embedding; and of shapes: Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

from math import prod

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.keras_layers.activations import activate
from glia.importers.keras_layers.scope import Applied, Rule


def _dense(call: Applied) -> str:
    units = call.integer("units", least=1)
    kernel = call.weight(0, 2, "the kernel")
    x = call.plain()
    if call.graph.rank(x) < 2:
        raise ImportFailed(f"it needs an input of 2 axes or more, received {list(call.graph.shape(x))}")
    into = call.graph.shape(x)[-1]
    if kernel.shape[1] != units or (isinstance(into, int) and kernel.shape[0] != into):
        raise ImportFailed(f"its kernel has the shape {list(kernel.shape)}, expected {into} by {units}")
    inputs = [x, call.constant("kernel", kernel)]
    bias = [call.constant("bias", call.vector(1, units))] if call.flag("use_bias", True) else []
    if call.graph.rank(x) == 2:
        y = call.graph.node("Gemm", inputs + bias, call.hint)
    else:
        y = call.graph.node("MatMul", inputs, call.hint)
        y = call.graph.node("Add", [y, *bias], call.hint) if bias else y
    return activate(call, y, call.config.get("activation"))


def _maxout(call: Applied) -> str:
    """The largest of several dense layers, of Keras 1: W (features, in, out), b (features, out)."""
    kernel = call.weight(0, 3, "the kernels")
    features, into, out = kernel.shape
    flat = kernel.transpose(1, 0, 2).reshape(into, features * out)
    y = call.graph.node("MatMul", [call.plain(), call.constant("W", flat)])
    if call.flag("use_bias", True):
        y = call.graph.node("Add", [y, call.constant("b", call.vector(1, features * out))])
    y = call.graph.reshape(y, [0, features, out])
    return call.graph.node("ReduceMax", [y], call.hint, axes=[1], keepdims=0)


def _highway(call: Applied) -> str:
    """A dense layer that lets part of its input through, of Keras 1: W, W_carry, b, b_carry."""
    graph, x = call.graph, call.plain()

    def dense(at: int, part: str) -> str:
        y = graph.node("MatMul", [x, call.constant(part, call.weight(at, 2, "a kernel"))])
        if call.flag("use_bias", True):
            y = graph.node("Add", [y, call.constant(f"{part}_b", call.weight(at + 2, 1, "a bias"))])
        return y

    gate = graph.node("Sigmoid", [dense(1, "W_carry")])
    y = activate(call, dense(0, "W"), call.config.get("activation"))
    carried = graph.node("Mul", [x, graph.node("Sub", [graph.scalar("one", 1.0), gate])])
    return graph.node("Add", [graph.node("Mul", [gate, y]), carried], call.hint)


def _bias(call: Applied) -> str:
    """A layer that only adds: RocAlphaGo's own, which many policies carry behind their Flatten."""
    bias = call.weight(0, None, "the bias")
    return call.layout.pair("Add", call.x, call.constant("bias", bias if bias.ndim == 1 else bias[None]))


def _embedding(call: Applied) -> str:
    table = call.weight(0, 2, "the vectors")
    indices = call.graph.node("Cast", [call.plain()], to=7)
    if call.flag("mask_zero", False):
        call.scope.masks[y_name := _gather(call, table, indices)] = call.graph.node(
            "Not", [call.graph.node("Equal", [indices, call.graph.constant("zero", np.array(0, np.int64))])]
        )
        return y_name
    return _gather(call, table, indices)


def _gather(call: Applied, table: np.ndarray, indices: str) -> str:
    return call.graph.node("Gather", [call.constant("embeddings", table), indices], call.hint, axis=0)


def _masking(call: Applied) -> str:
    """Steps whose features all have one value are left out, and set to zero."""
    graph = call.graph
    value = graph.scalar("mask_value", call.number("mask_value", 0.0))
    differs = graph.node("Cast", [graph.node("Not", [graph.node("Equal", [call.plain(), value])])], to=1)
    kept = graph.node("ReduceMax", [differs], axes=[-1], keepdims=1)
    y = graph.node("Mul", [call.plain(), kept], call.hint)
    call.scope.masks[y] = graph.node("Cast", [graph.node("Squeeze", [kept, graph.ints("axes", [-1])])], to=9)
    return y


def _flatten(call: Applied) -> str:
    """Everything but the batch in a row, in the order that Keras means."""
    if call.rank() == 1:
        return call.graph.node("Unsqueeze", [call.plain(), call.graph.ints("axes", [1])], call.hint)
    x = call.plain()
    shape = call.graph.shape(x)
    if call.config.get("data_format") == "channels_first" and len(shape) > 2 and call.scope.version >= (2, 2):
        # Since Keras 2.2 this setting means: bring channels last, then flatten.
        x = call.graph.transpose(x, [0, *range(2, len(shape)), 1])
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if len(sizes) == len(shape) - 1:
        return call.graph.reshape(x, [0, prod(sizes)], call.hint)
    return call.graph.node("Flatten", [x], call.hint, axis=1)


def _reshape(call: Applied) -> str:
    target = call.shape("target_shape")
    if sum(size == -1 for size in target) > 1 or 0 in target:
        raise ImportFailed(f"a target shape of {target}")
    x = call.plain()
    known = [size for size in call.graph.shape(x)[1:] if isinstance(size, int)]
    whole = len(known) == call.graph.rank(x) - 1
    if whole and -1 in target and prod(known) % (rest := -prod(target)) == 0:
        target = [prod(known) // rest if size == -1 else size for size in target]
    if whole and prod(known) != prod(target):
        raise ImportFailed(f"it makes {target} of {known}")
    return call.graph.reshape(x, [0, *target], call.hint)


def _permute(call: Applied) -> str:
    dims = call.shape("dims")
    if sorted(dims) != list(range(1, call.rank())):
        raise ImportFailed(f"it permutes {dims}, for an input of {call.rank()} axes")
    return call.graph.transpose(call.plain(), [0, *dims], call.hint)


def _repeat(call: Applied) -> str:
    """A vector, `n` times over."""
    graph, count = call.graph, call.integer("n", least=1)
    if call.rank() != 2:
        raise ImportFailed(f"it repeats an input of {call.rank()} axes, expected 2")
    row = graph.node("Unsqueeze", [call.plain(), graph.ints("axes", [1])])
    return graph.node("Tile", [row, graph.ints("repeats", [1, count, 1])], call.hint)


def _einsum_dense(call: Applied) -> str:
    """A dense layer whose axes are told by an equation."""
    equation = call.text("equation", "")
    if not equation or "..." in equation or len(equation) > 50 or equation.count("->") != 1:
        raise unsupported(f"the equation {equation[:50]!r}")
    y = call.graph.node("Einsum", [call.plain(), call.constant("kernel", call.weight(0))], call.hint, equation=equation)
    if call.config.get("bias_axes"):
        y = call.graph.node("Add", [y, call.constant("bias", call.weight(1))], call.hint)
    return activate(call, y, call.config.get("activation"))


RULES: dict[str, Rule] = {
    "Dense": _dense,
    "MaxoutDense": _maxout,
    "Highway": _highway,
    "Bias": _bias,
    "Embedding": _embedding,
    "Masking": _masking,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat,
    "EinsumDense": _einsum_dense,
}
