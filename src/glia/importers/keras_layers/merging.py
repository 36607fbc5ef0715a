"""Layers that join several tensors, and operations that Keras 3 and tf.keras record as layers."""

from __future__ import annotations

from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.keras_layers.activations import NAMED, softmax, times
from glia.importers.keras_layers.scope import Applied, Rule

MODES = {"sum": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


def _fold(op: str) -> Rule:
    return lambda call: _folded(call, op)


def _folded(call: Applied, op: str) -> str:
    """All inputs, one after the other."""
    y, *others = _operands(call)
    for handle in others:
        y = call.layout.pair(op, y, handle)
    return y


def _operands(call: Applied) -> list[str]:
    """Inputs as tensors; numbers become constants."""
    found = []
    for value in call.inputs:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append(call.graph.scalar("number", float(value)))
        else:
            raise unsupported(f"the operand {str(value)[:100]!r}")
    if not found:
        raise ImportFailed("It has no input. The file is damaged.")
    ranks = [len(call.layout.shape(handle)) for handle in found]
    if len(set(ranks)) > 1 and ".ops" not in call.spec.module and call.spec.kind != "TFOpLambda":
        return [_widened(call, handle, max(ranks) - rank) for handle, rank in zip(found, ranks, strict=True)]
    return found


def _widened(call: Applied, handle: str, count: int) -> str:
    """With so many axes more behind the batch: so Keras' layers join tensors of different ranks."""
    if not count or not call.layout.shape(handle):
        return handle
    return call.graph.node("Unsqueeze", [call.plain(handle), call.graph.ints("axes", list(range(1, count + 1)))])


def _average(call: Applied) -> str:
    return times(call.scope, _folded(call, "Add"), 1 / len(call.handles))


def _two(op: str) -> Rule:
    return lambda call: _paired(call, op)


def _paired(call: Applied, op: str) -> str:
    """The first input and the second."""
    operands = _operands(call)
    if len(operands) != 2:
        raise ImportFailed(f"it takes 2 inputs, received {len(operands)}")
    return call.layout.pair(op, operands[0], operands[1])


def _concatenate(call: Applied) -> str:
    handles = call.handles
    rank = call.rank(handles[0])
    axis = call.integer("axis", -1)
    if not -rank <= axis < rank or any(call.rank(handle) != rank for handle in handles):
        raise ImportFailed(f"it joins tensors of {[call.rank(handle) for handle in handles]} axes along {axis}")
    return call.layout.join(handles, axis, call.hint) if len(handles) > 1 else handles[0]


def _dot(call: Applied) -> str:
    """The product of two tensors over an axis of each, for every sample."""
    if len(call.handles) != 2:
        raise ImportFailed(f"it takes 2 inputs, received {len(call.handles)}")
    left, right = (call.plain(handle) for handle in call.handles)
    ranks = [call.graph.rank(tensor) for tensor in (left, right)]
    value = call.config.get("axes", call.config.get("dot_axes", -1))
    axes = value if isinstance(value, list) else [value, value]
    axes = [axis[0] if isinstance(axis, list) and len(axis) == 1 else axis for axis in axes]
    right_axes = all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes)
    if len(axes) != 2 or not right_axes or any(rank not in (2, 3) for rank in ranks):
        raise unsupported(f"a dot product along {str(value)[:50]} of {ranks} axes")
    axes = [axis % rank for axis, rank in zip(axes, ranks, strict=True)]
    if 0 in axes:
        raise unsupported("a dot product along the batch")
    if call.flag("normalize", False):
        left, right = (
            call.graph.node("LpNormalization", [tensor], axis=axis, p=2)
            for tensor, axis in zip((left, right), axes, strict=True)
        )
    names = ["nab", "ncd"]
    terms = [names[at][: ranks[at]] for at in (0, 1)]
    shared = terms[0][axes[0]]
    terms[1] = terms[1].replace(terms[1][axes[1]], shared)
    out = "n" + "".join(letter for term in terms for letter in term[1:] if letter != shared)
    y = call.graph.node("Einsum", [left, right], call.hint, equation=f"{terms[0]},{terms[1]}->{out}")
    return call.graph.node("Unsqueeze", [y, call.graph.ints("axes", [1])]) if out == "n" else y


def _merge(call: Applied) -> str:
    """Keras 1: the way of joining is a setting."""
    mode = call.text("mode", "sum")
    if mode in MODES:
        return _folded(call, MODES[mode])
    if mode == "ave":
        return _average(call)
    if mode == "concat":
        axis = call.integer("concat_axis", -1)
        return call.layout.join(call.handles, axis, call.hint) if len(call.handles) > 1 else call.x
    if mode == "dot":
        return _dot(call)
    raise unsupported(f"joining by {mode[:50]!r}")


# -- operations --------------------------------------------------------------------------------------------------------


def _keyword(call: Applied, names: tuple[str, ...], default: Any = None) -> Any:
    for name in names:
        if name in call.keywords:
            return call.keywords[name]
        if name in call.config:
            return call.config[name]
    return default


def _binary(op: str) -> Rule:
    """An operation on two operands, of which one may be a number in the call's keywords."""

    def rule(call: Applied) -> str:
        second = _keyword(call, ("y", "x2", "b"))
        inputs = [*call.inputs, second] if len(call.inputs) == 1 and second is not None else list(call.inputs)
        whole = Applied(call.scope, call.hint, call.spec, inputs, call.weights)
        return _paired(whole, op)

    return rule


def _unary(op: str) -> Rule:
    return lambda call: call.layout.each(op, call.x)


def _named(name: str) -> Rule:
    return lambda call: NAMED[name](call.scope, call.x)


def _reduce(op: str) -> Rule:
    def rule(call: Applied) -> str:
        axis = _keyword(call, ("axis",))
        if axis is None and len(call.inputs) > 1:
            axis = call.inputs[1]
        keep = bool(_keyword(call, ("keepdims", "keep_dims"), False))
        axes = axis if isinstance(axis, list) else [axis]
        rank = call.rank()
        if not all(isinstance(one, int) and not isinstance(one, bool) and -rank <= one < rank for one in axes):
            raise unsupported(f"reducing along {str(axis)[:50]}")
        axes = [one % rank for one in axes]
        if op == "ReduceSum":
            return call.graph.node(op, [call.plain(), call.graph.ints("axes", axes)], call.hint, keepdims=int(keep))
        return call.graph.node(op, [call.plain()], call.hint, axes=axes, keepdims=int(keep))

    return rule


def _op_concat(call: Applied) -> str:
    axis = _keyword(call, ("axis",), call.inputs[-1] if isinstance(call.inputs[-1], int) else -1)
    handles = [value for value in call.inputs if isinstance(value, str)]
    if not isinstance(axis, int) or not handles:
        raise unsupported(f"concatenation along {str(axis)[:50]}")
    return call.layout.join(handles, axis, call.hint)


def _op_softmax(call: Applied) -> str:
    axis = _keyword(call, ("axis",), -1)
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise unsupported(f"softmax along {str(axis)[:50]}")
    return softmax(call.scope, call.x, axis)


def _op_expand(call: Applied) -> str:
    axis = _keyword(call, ("axis",), call.inputs[1] if len(call.inputs) > 1 else -1)
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise unsupported(f"a new axis {str(axis)[:50]}")
    return call.graph.node("Unsqueeze", [call.plain(), call.graph.ints("axes", [axis])], call.hint)


def _op_reshape(call: Applied) -> str:
    target = _keyword(call, ("shape", "newshape"), call.inputs[1] if len(call.inputs) > 1 else None)
    if not isinstance(target, list) or not all(isinstance(size, int) or size is None for size in target):
        raise unsupported(f"a shape of {str(target)[:100]}")
    return call.graph.reshape(call.plain(), [-1 if size is None else size for size in target], call.hint)


def _op_transpose(call: Applied) -> str:
    axes = _keyword(call, ("perm", "axes"), call.inputs[1] if len(call.inputs) > 1 else None)
    if not isinstance(axes, list) or sorted(map(str, axes)) != sorted(map(str, range(call.rank()))):
        raise unsupported(f"a transposition by {str(axes)[:100]}")
    return call.graph.transpose(call.plain(), axes, call.hint)


def _compared(turned: bool) -> Rule:
    """Where two operands are equal, or are not: masks, as Keras 3 records them."""

    def rule(call: Applied) -> str:
        graph, x = call.graph, call.plain()
        second = call.inputs[1] if len(call.inputs) > 1 else _keyword(call, ("x2", "y"))
        if isinstance(second, int | float):
            second = graph.scalar("number", float(second), graph.dtype(x))
        if not isinstance(second, str):
            raise unsupported(f"comparing with {str(second)[:50]}")
        same = graph.node("Equal", [x, call.plain(second)])
        return graph.node("Not", [same]) if turned else same

    return rule


def _any(call: Applied) -> str:
    """Whether one of the last axis is true."""
    axis = _keyword(call, ("axis",), call.inputs[1] if len(call.inputs) > 1 else None)
    if axis not in (-1, call.rank() - 1) or bool(_keyword(call, ("keepdims",), False)):
        raise unsupported(f"`any` along {str(axis)[:50]}")
    counted = call.graph.node("Cast", [call.plain()], to=1)
    return call.graph.node("Cast", [call.graph.node("ReduceMax", [counted], axes=[-1], keepdims=0)], to=9)


BINARY = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "TrueDivide": "Div",
          "Maximum": "Max", "Minimum": "Min", "Power": "Pow"}  # fmt: skip
UNARY = {"Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt", "Absolute": "Abs", "Abs": "Abs", "Negative": "Neg",
         "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Relu": "Relu", "Sin": "Sin", "Cos": "Cos"}  # fmt: skip
OPERATIONS: dict[str, Rule] = {
    **{name: _binary(op) for name, op in BINARY.items()},
    **{name: _unary(op) for name, op in UNARY.items()},
    **{name.title().replace("_", ""): _named(name) for name in ("silu", "gelu", "softplus", "hard_sigmoid", "relu6")},
    "NotEqual": _compared(True),
    "Equal": _compared(False),
    "Any": _any,
    "Mean": _reduce("ReduceMean"),
    "Max": _reduce("ReduceMax"),
    "Sum": _reduce("ReduceSum"),
    "Concatenate": _op_concat,
    "Softmax": _op_softmax,
    "ExpandDims": _op_expand,
    "Reshape": _op_reshape,
    "Transpose": _op_transpose,
}
"""What Keras 3 records, by the class of the operation."""
_FUNCTIONS: dict[str, Rule] = {
    "add": OPERATIONS["Add"], "__operators__.add": OPERATIONS["Add"], "math.add": OPERATIONS["Add"],
    "math.subtract": OPERATIONS["Subtract"], "math.multiply": OPERATIONS["Multiply"],
    "math.truediv": OPERATIONS["Divide"], "math.divide": OPERATIONS["Divide"],
    "math.maximum": OPERATIONS["Maximum"], "math.minimum": OPERATIONS["Minimum"],
    "nn.relu": OPERATIONS["Relu"], "math.tanh": OPERATIONS["Tanh"], "math.sigmoid": OPERATIONS["Sigmoid"],
    "nn.relu6": OPERATIONS["Relu6"], "nn.silu": OPERATIONS["Silu"], "nn.softmax": OPERATIONS["Softmax"],
    "math.reduce_mean": OPERATIONS["Mean"], "math.reduce_sum": OPERATIONS["Sum"],
    "math.reduce_max": OPERATIONS["Max"], "math.abs": OPERATIONS["Abs"], "math.sqrt": OPERATIONS["Sqrt"],
    "math.exp": OPERATIONS["Exp"], "math.log": OPERATIONS["Log"], "concat": OPERATIONS["Concatenate"],
    "expand_dims": OPERATIONS["ExpandDims"], "reshape": OPERATIONS["Reshape"], "transpose": OPERATIONS["Transpose"],
}  # fmt: skip


def _tf_op(call: Applied) -> str | list[str]:
    """A function of TensorFlow that tf.keras recorded."""
    function = call.text("function", "")
    if function not in _FUNCTIONS:
        raise unsupported(f"TensorFlow's {function[:100]!r}")
    return _FUNCTIONS[function](call)


RULES: dict[str, Rule] = {
    "Add": _fold("Add"),
    "Multiply": _fold("Mul"),
    "Maximum": _fold("Max"),
    "Minimum": _fold("Min"),
    "Average": _average,
    "Subtract": _two("Sub"),
    "Concatenate": _concatenate,
    "Dot": _dot,
    "Merge": _merge,
    "TFOpLambda": _tf_op,
}
