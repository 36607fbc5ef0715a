"""Operators that make arrays, or pick from them by index."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from glia.core.errors import ImportFailed
from glia.importers.tensorflow_ops.call import Call, Rule, Value, checked_axis
from glia.importers.tensorflow_ops.numbers import dtype_of

MAX_MADE = 1 << 24


def _gather(call: Call) -> str:
    """Gather, GatherV2 with an axis and batch dimensions, ResourceGather of what was frozen."""
    rank = call.rank(0)
    axis = call.axis(2, rank) if call.node.op == "GatherV2" else 0
    batch = call.attribute("batch_dims", 0)
    if batch == 0:
        return call.write("Gather", [call.tensor(0), call.tensor(1)], axis=axis)
    if checked_axis(batch, rank) != axis:
        raise ImportFailed(f"to pick along axis {axis} with {batch} batch dimensions is not supported")
    whole = call.graph.node("Cast", [call.tensor(1)], call.hint, to=TensorProto.INT64)
    index = call.graph.node("Unsqueeze", [whole, call.ints_constant([-1])], call.hint)
    return call.write("GatherND", [call.tensor(0), index], batch_dims=axis)


def _gather_nd(call: Call) -> str:
    index = call.graph.node("Cast", [call.tensor(1)], call.hint, to=TensorProto.INT64)
    return call.write("GatherND", [call.tensor(0), index], batch_dims=call.attribute("batch_dims", 0))


def _scatter_nd(call: Call) -> str:
    """Numbers into zeros of a shape, summed where they meet. Indices, updates, shape."""
    index = call.graph.node("Cast", [call.tensor(0)], call.hint, to=TensorProto.INT64)
    shape = call.graph.node("Cast", [call.tensor(2)], call.hint, to=TensorProto.INT64)
    zeros = call.graph.node("Expand", [call.scalar(0, 1), shape], call.hint)
    return call.write("ScatterND", [zeros, index, call.tensor(1)], reduction="add")


def _tensor_scatter(reduction: str) -> Rule:
    def rule(call: Call) -> str:
        index = call.graph.node("Cast", [call.tensor(1)], call.hint, to=TensorProto.INT64)
        return call.write("ScatterND", [call.tensor(0), index, call.tensor(2)], reduction=reduction)

    return rule


def _fill(call: Call) -> str:
    """One number in a shape, which may be computed."""
    shape = call.graph.node("Cast", [call.tensor(0)], call.hint, to=TensorProto.INT64)
    sizes = call.graph.sizes(shape)
    known = [size for size in sizes or () if isinstance(size, int)]
    if min(known, default=0) < 0 or float(np.prod(known, dtype=np.float64)) > MAX_MADE:
        raise ImportFailed(f"an array of {known[:8]} equal numbers is not supported")
    made = call.write("Expand", [call.tensor(1), shape])
    if sizes is not None and call.graph.value(made) is None:
        call.graph.refine(made, sizes)
    return made


def _like(number: int | float) -> Rule:
    """Zeros or ones in the shape of the input."""

    def rule(call: Call) -> str:
        tensor = call.tensor(0)
        shape = call.graph.shape(tensor)
        value = call.graph.scalar(f"{call.hint}_value", number, call.graph.dtype(tensor))
        made = call.write("Expand", [value, call.graph.node("Shape", [tensor], call.hint)])
        if call.graph.value(made) is None:
            call.graph.refine(made, shape)
        return made

    return rule


def _range(call: Call) -> str:
    bounds = [call.value(index) for index in range(3)]
    if all(bound is not None for bound in bounds):
        start, limit, delta = (float(bound.ravel()[0]) for bound in bounds if bound is not None)
        if not delta or not np.isfinite([start, limit, delta]).all() or (limit - start) / delta > MAX_MADE:
            raise ImportFailed(f"a range from {start} to {limit} by {delta} is not supported")
    return call.write("Range", [call.graph.reshape(tensor, [], call.hint) for tensor in call.tensors()[:3]])


def _linear(call: Call) -> str:
    start, stop, count = call.number(0, "the start"), call.number(1, "the end"), call.integer(2, "the count")
    if not 0 < count <= MAX_MADE:
        raise ImportFailed(f"a range of {count} numbers is not supported")
    return call.graph.constant(call.hint, np.linspace(start, stop, count, dtype=np.float32))


def _one_hot(call: Call) -> str:
    """Indices, depth, the number at the index, the number elsewhere."""
    depth = call.integer(1, "the depth")
    if not 0 < depth <= MAX_MADE:
        raise ImportFailed(f"a depth of {depth} is not supported")
    on, off = (call.graph.reshape(call.tensor(index), [1], call.hint) for index in (2, 3))
    values = call.graph.node("Concat", [off, on], call.hint, axis=0)
    rank = call.rank(0)
    axis = checked_axis(call.attribute("axis", -1), rank + 1)
    index = call.graph.node("Cast", [call.tensor(0)], call.hint, to=TensorProto.INT64)
    # ONNX counts a negative index from the end; TensorFlow leaves its row off.
    held = call.graph.node("Unsqueeze", [index, call.ints_constant([axis])], call.hint)
    hot = call.graph.node("OneHot", [index, call.ints_constant([depth]), values], call.hint, axis=axis)
    if call.value(0) is not None and (np.asarray(call.value(0)) >= 0).all():
        return hot
    zero = call.graph.scalar(f"{call.hint}_zero", 0, np.int64)
    none = call.graph.node("Less", [held, zero], call.hint)
    return call.write("Where", [none, call.graph.reshape(call.tensor(3), [], call.hint), hot])


def _where(call: Call) -> str:
    """The places of what is true, a row each."""
    found = call.graph.node("NonZero", [call.tensor(0)], call.hint)
    return call.write("Transpose", [found], perm=[1, 0])


def _inverse_order(call: Call) -> str:
    order = np.array(call.ints(0, "the order"))
    if sorted(order.tolist()) != list(range(len(order))):
        raise ImportFailed(f"{order[:8].tolist()} is no order; the file is damaged")
    return call.graph.constant(call.hint, np.argsort(order).astype(call.dtype(0)))


def _band(call: Call) -> str:
    """MatrixBandPart: the triangles of a matrix."""
    lower, upper = call.integer(1, "the lower band"), call.integer(2, "the upper band")
    tensor = call.tensor(0)
    if lower >= 0 and upper >= 0:
        rows, columns = call.graph.known_shape(tensor, [-2, -1])
        if rows * columns > MAX_MADE:
            raise ImportFailed(f"a band of {rows} x {columns} numbers is not supported")
        down = np.arange(rows)[:, None] - np.arange(columns)
        mask = call.graph.constant(f"{call.hint}_mask", (down <= lower) & (-down <= upper))
        return call.write("Where", [mask, tensor, call.scalar(0)])
    if upper >= 0:
        tensor = call.graph.node(
            "Trilu", [tensor, call.graph.scalar(f"{call.hint}_k", upper, np.int64)], call.hint, upper=0
        )
    if lower >= 0:
        tensor = call.graph.node(
            "Trilu", [tensor, call.graph.scalar(f"{call.hint}_k", -lower, np.int64)], call.hint, upper=1
        )
    return tensor


def _random(call: Call) -> str:
    raise ImportFailed("a random number is not supported: a network must answer the same twice")


def _normal(call: Call) -> str:
    """The noise that autoencoders draw. As the network asks for it, it stays random."""
    sizes = call.graph.sizes(call.tensor(0))
    if sizes is None or not all(isinstance(size, int) and 0 <= size <= MAX_MADE for size in sizes):
        return _random(call)
    call.notes.append("The network draws random numbers: it answers differently each time.")
    target = helper.np_dtype_to_tensor_dtype(dtype_of(call.kind("dtype", 1)))
    return call.write("RandomNormal", [], shape=[size for size in sizes if isinstance(size, int)], dtype=target)


def _unique(call: Call) -> list[Value]:
    """In the order of appearance; each one's place in that."""
    tensor, own = call.tensor(0), helper.np_dtype_to_tensor_dtype(call.dtype(0))
    if call.dtype(0).kind in "iu":  # runtimes know it of few types
        tensor = call.graph.node("Cast", [tensor], call.hint, to=TensorProto.INT64)
    found, _, places, _ = call.graph.nodes("Unique", [tensor], 4, call.hint, sorted=0)
    to = helper.np_dtype_to_tensor_dtype(dtype_of(call.kind("out_idx", 3)))
    return [call.write("Cast", [found], to=own), call.graph.node("Cast", [places], call.hint, to=to)]


RULES: dict[str, Rule] = {
    "Gather": _gather,
    "GatherV2": _gather,
    "GatherNd": _gather_nd,
    "ScatterNd": _scatter_nd,
    "TensorScatterUpdate": _tensor_scatter("none"),
    "TensorScatterAdd": _tensor_scatter("add"),
    "Fill": _fill,
    "ZerosLike": _like(0),
    "OnesLike": _like(1),
    "Range": _range,
    "LinSpace": _linear,
    "OneHot": _one_hot,
    "Where": _where,
    "InvertPermutation": _inverse_order,
    "MatrixBandPart": _band,
    "RandomUniform": _random,
    "RandomUniformInt": _random,
    "RandomStandardNormal": _normal,
    "TruncatedNormal": _random,
    "Multinomial": _random,
    "Unique": _unique,
}
