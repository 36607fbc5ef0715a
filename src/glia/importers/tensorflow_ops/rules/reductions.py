"""Operators that look along axes: sums, means, products of matrices, the largest ones."""

from __future__ import annotations

from onnx import TensorProto, helper

from glia.core.errors import ImportFailed
from glia.importers.layout import to_first
from glia.importers.tensorflow_ops.call import Call, Rule, Value, checked_axis
from glia.importers.tensorflow_ops.numbers import dtype_of

_REDUCTIONS = {
    "Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin", "Prod": "ReduceProd",
}  # fmt: skip


def _axes(call: Call) -> list[int]:
    """The constant axes of input 1, from 0, sorted."""
    rank = call.rank(0)
    return sorted({checked_axis(axis, rank) for axis in call.ints(1, "the axes")})


def _reduction(op: str) -> Rule:
    def rule(call: Call) -> str:
        return reduced(call, op, call.handle(0), _axes(call), _keeps(call))

    return rule


def _keeps(call: Call) -> bool:
    return call.attribute("keep_dims", False) or call.attribute("keepdims", False)


def reduced(call: Call, op: str, handle: str, axes: list[int], keep: bool) -> str:
    """A reduction over axes in TensorFlow's order; channels stay first where they can."""
    rank = len(call.layout.shape(handle))
    if not axes:
        return handle
    left = [axis for axis in range(rank) if axis not in axes]
    stays = keep or left == [0, rank - 1]  # [n, c] is [n, c] in either order
    if not call.layout.is_first(handle) or not stays:
        return _reduce(call, op, call.layout.last(handle), axes, keep)
    first = sorted(to_first(rank).index(axis) for axis in axes)
    tensor = _reduce(call, op, call.layout.first(handle), first, keep)
    return call.layout.promise(tensor) if keep else tensor


def _reduce(call: Call, op: str, tensor: str, axes: list[int], keep: bool) -> str:
    if op == "ReduceSum":
        return call.graph.node(op, [tensor, call.ints_constant(axes)], call.hint, keepdims=int(keep))
    return call.graph.node(op, [tensor], call.hint, axes=axes, keepdims=int(keep))


def _all_or_any(op: str) -> Rule:
    """All is the least, Any the largest of truths as numbers."""

    def rule(call: Call) -> str:
        numbers = call.write("Cast", [call.tensor(0)], to=TensorProto.INT32)
        found = _reduce(call, op, numbers, _axes(call), _keeps(call)) if _axes(call) else numbers
        return call.write("Cast", [found], to=TensorProto.BOOL)

    return rule


def _norm(call: Call) -> str:
    return reduced(call, "ReduceL2", call.handle(0), _axes(call), _keeps(call))


def _where_extreme(op: str) -> Rule:
    def rule(call: Call) -> str:
        axis = call.axis(1, call.rank(0)) if len(call.inputs) > 1 else 0
        tensor = call.tensor(0)
        if call.dtype(0).kind == "b":
            tensor = call.write("Cast", [tensor], to=TensorProto.INT32)
        found = call.write(op, [tensor], axis=axis, keepdims=0)
        target = dtype_of(call.kind("output_type", 9))
        return call.write("Cast", [found], to=helper.np_dtype_to_tensor_dtype(target)) if target != "int64" else found

    return rule


def _top(call: Call) -> list[Value]:
    """The largest values along the last axis, and where they lie."""
    count = call.integer(1, "how many") if call.node.op == "TopKV2" else call.attribute("k", 0)
    size = call.shape(0)[-1:]
    if count < 0 or (size and isinstance(size[0], int) and count > size[0]):
        raise ImportFailed(f"the {count} largest of {list(size)} numbers cannot be")
    values, places = call.graph.nodes(
        "TopK", [call.tensor(0), call.ints_constant([count])], 2, call.hint, axis=-1, largest=1, sorted=1
    )
    return [values, call.write("Cast", [places], to=TensorProto.INT32)]


def _product(call: Call) -> str:
    """Of two matrices, or stacks of them; transposed first where the attributes say so."""
    names = {"MatMul": ("transpose_a", "transpose_b"), "SparseMatMul": ("transpose_a", "transpose_b")}
    turned = names.get(call.node.op, ("adj_x", "adj_y"))
    sides = []
    for index, name in enumerate(turned):
        tensor, rank = call.tensor(index), call.rank(index)
        if rank < 2:
            raise ImportFailed(f"its input has {rank} axes, expected 2 or more; the file is damaged")
        swap = call.attribute(name, False)
        order = [*range(rank - 2), rank - 1, rank - 2] if swap else list(range(rank))
        sides.append(call.graph.transpose(tensor, order, call.hint))
    return call.write("MatMul", sides)


def _einsum(call: Call) -> str:
    equation = call.attribute("equation", "")
    return call.write("Einsum", call.tensors(), equation=equation)


def _running(call: Call) -> str:
    axis = call.graph.constant(f"{call.hint}_axis", call.array(1, "the axis"))
    exclusive, reverse = call.attribute("exclusive", False), call.attribute("reverse", False)
    return call.write("CumSum", [call.tensor(0), axis], exclusive=int(exclusive), reverse=int(reverse))


def _l2_loss(call: Call) -> str:
    """Half the sum of the squares."""
    tensor = call.tensor(0)
    whole = call.write("ReduceSumSquare", [tensor], keepdims=0)
    return call.write("Mul", [whole, call.scalar(0.5)])


RULES: dict[str, Rule] = {
    **{op: _reduction(onnx) for op, onnx in _REDUCTIONS.items()},
    "All": _all_or_any("ReduceMin"),
    "Any": _all_or_any("ReduceMax"),
    "EuclideanNorm": _norm,
    "ArgMax": _where_extreme("ArgMax"),
    "ArgMin": _where_extreme("ArgMin"),
    "TopKV2": _top,
    "TopK": _top,
    "MatMul": _product,
    "SparseMatMul": _product,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Einsum": _einsum,
    "Cumsum": _running,
    "L2Loss": _l2_loss,
}
