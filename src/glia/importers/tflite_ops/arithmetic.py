"""What works number by number, on one tensor or two that broadcast; reductions; softmax and its like."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from onnx import helper

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.layout import to_first
from glia.importers.tflite_ops.model import KINDS, Operator, dtype_of
from glia.importers.tflite_ops.network import RELU, RELU6, RELU_N1_TO_1, Network, activated

Rule = Callable[[Network, Operator], None]


def _each(*kinds: str, **attributes: Any) -> Rule:
    """One ONNX operator after the other on every number."""

    def rule(net: Network, op: Operator) -> None:
        handle = net.handle(op)
        for kind in kinds:
            handle = net.layout.each(kind, handle, hint=net.hint, **(attributes if kind == kinds[0] else {}))
        net.give(op, handle)

    return rule


def _activation(which: int) -> Rule:
    def rule(net: Network, op: Operator) -> None:
        handle = net.handle(op)
        if net.result(op).quantised is None:
            handle = activated(net, handle, which)
        net.give(op, handle, activation=which)

    return rule


def _pair(kind: str) -> Rule:
    """An operator on two tensors; one on numbers of its own may have an activation fused in."""

    def rule(net: Network, op: Operator) -> None:
        made = net.layout.pair(kind, net.handle(op, 0), net.handle(op, 1), net.hint)
        net.give(op, made, activation=op.options.get("activation", 0))

    return rule


def _scaled(net: Network, handle: str, kind: str, value: int | float) -> str:
    return net.layout.each(kind, handle, net.graph.scalar("constant", value), hint=net.hint)


def _is_integer(net: Network, op: Operator) -> bool:
    return dtype_of(net.tensor(op, 0).kind).kind in "iu" and net.tensor(op, 0).quantised is None


def relu_0_to_1(net: Network, op: Operator) -> None:
    """Cut to [0, 1]."""
    bounds = [net.graph.scalar("low", 0), net.graph.scalar("high", 1)]
    net.give(op, net.layout.each("Clip", net.handle(op), *bounds, hint=net.hint))


def leaky_relu(net: Network, op: Operator) -> None:
    """x, or alpha times x below 0."""
    net.give(op, net.layout.each("LeakyRelu", net.handle(op), hint=net.hint, alpha=float(op.options["alpha"])))


def prelu(net: Network, op: Operator) -> None:
    """x, or alpha times x below 0, with an alpha for each channel or place."""
    net.give(op, net.layout.pair("PRelu", net.handle(op, 0), net.handle(op, 1), net.hint))


def hard_swish(net: Network, op: Operator) -> None:
    """x * relu6(x + 3) / 6."""
    net.give(op, net.layout.each("HardSwish", net.handle(op), hint=net.hint))


def gelu(net: Network, op: Operator) -> None:
    """x times the normal distribution's integral; by tanh where the options say so. Source: arXiv:1606.08415."""
    x = net.handle(op)
    if op.options["approximate"]:
        cube = net.layout.pair("Mul", net.layout.pair("Mul", x, x, net.hint), x, net.hint)
        inner = net.layout.pair("Add", x, _scaled(net, cube, "Mul", 0.044715), net.hint)
        part = net.layout.each("Tanh", _scaled(net, inner, "Mul", float(np.sqrt(2 / np.pi))), hint=net.hint)
    else:
        part = net.layout.each("Erf", _scaled(net, x, "Mul", float(np.sqrt(0.5))), hint=net.hint)
    half = _scaled(net, _scaled(net, part, "Add", 1), "Mul", 0.5)
    net.give(op, net.layout.pair("Mul", x, half, net.hint))


def square(net: Network, op: Operator) -> None:
    """x * x."""
    net.give(op, net.layout.pair("Mul", net.handle(op), net.handle(op), net.hint))


def squared_difference(net: Network, op: Operator) -> None:
    """(x - y) squared."""
    difference = net.layout.pair("Sub", net.handle(op, 0), net.handle(op, 1), net.hint)
    net.give(op, net.layout.pair("Mul", difference, difference, net.hint))


def floor_div(net: Network, op: Operator) -> None:
    """Rounded towards minus infinity."""
    x, y = net.handle(op, 0), net.handle(op, 1)
    if not _is_integer(net, op):
        net.give(op, net.layout.each("Floor", net.layout.pair("Div", x, y, net.hint), hint=net.hint))
        return
    rest = net.layout.pair("Mod", x, y, net.hint)
    net.give(op, net.layout.pair("Div", net.layout.pair("Sub", x, rest, net.hint), y, net.hint))


def floor_mod(net: Network, op: Operator) -> None:
    """The rest, with the sign of the divisor."""
    x, y = net.handle(op, 0), net.handle(op, 1)
    if _is_integer(net, op):
        net.give(op, net.layout.pair("Mod", x, y, net.hint))
        return
    whole = net.layout.each("Floor", net.layout.pair("Div", x, y, net.hint), hint=net.hint)
    net.give(op, net.layout.pair("Sub", x, net.layout.pair("Mul", whole, y, net.hint), net.hint))


def not_equal(net: Network, op: Operator) -> None:
    """Whether they differ."""
    same = net.layout.pair("Equal", net.handle(op, 0), net.handle(op, 1), net.hint)
    net.give(op, net.layout.each("Not", same, hint=net.hint))


def add_n(net: Network, op: Operator) -> None:
    """The sum of all inputs."""
    total = net.handle(op, 0)
    for position in range(1, len(op.inputs)):
        total = net.layout.pair("Add", total, net.handle(op, position), net.hint)
    net.give(op, total)


def select(net: Network, op: Operator) -> None:
    """Where the condition holds the first, else the second; a condition of one axis may choose whole items."""
    condition, *values = (net.last(op, position) for position in range(3))
    ranks = [net.graph.rank(tensor) for tensor in (condition, values[0])]
    if op.kind == "SELECT" and ranks[0] == 1 and ranks[1] > 1:
        condition = net.graph.reshape(condition, [-1] + [1] * (ranks[1] - 1), net.hint)
    net.give(op, net.node("Where", [condition, *values]))


def cast(net: Network, op: Operator) -> None:
    """Another type; of quantised numbers it takes the integers."""
    kind, handle, source = net.result(op).kind, net.handle(op), net.tensor(op, 0)
    if source.quantised is not None and net.result(op).quantised is None:
        if not source.quantised.is_single or source.kind not in ("uint8", "int8"):
            raise unsupported(f"A cast from quantised {source.kind}")
        handle = net.layout.each("QuantizeLinear", handle, *net.scales(source.quantised, source.kind), hint=net.hint)
    elif net.result(op).quantised is not None:
        raise unsupported("A cast to quantised numbers")
    to = helper.np_dtype_to_tensor_dtype(dtype_of(kind))
    net.set(op, net.layout.each("Cast", handle, hint=net.hint, to=to))


def same(net: Network, op: Operator) -> None:
    """QUANTIZE and DEQUANTIZE: the real numbers stay, but for their rounding."""
    net.give(op, net.handle(op))


def fake_quant(net: Network, op: Operator) -> None:
    """Rounding to the grid of so many bits between min and max, moved so that zero is on it."""
    low, high, bits = float(op.options["min"]), float(op.options["max"]), int(op.options["bits"] or 8)
    if not low <= 0 <= high or low == high or not 2 <= bits <= 16:
        raise ImportFailed(f"it rounds to {bits} bits between {low} and {high}, expected a range around 0.")
    least, most = int(bool(op.options["narrow"])), (1 << bits) - 1
    scale = (high - low) / (most - least)
    zero = int(np.clip(round(least - low / scale), least, most))
    handle = _scaled(net, net.handle(op), "Div", scale)
    bounds = [net.graph.scalar("low", least - zero), net.graph.scalar("high", most - zero)]
    handle = net.layout.each("Round", net.layout.each("Clip", handle, *bounds, hint=net.hint), hint=net.hint)
    net.give(op, _scaled(net, handle, "Mul", scale))


def softmax(net: Network, op: Operator, kind: str = "Softmax") -> None:
    """Along the last axis, after a factor."""
    handle, beta = net.handle(op), float(op.options.get("beta", 1) or 1)
    if beta != 1:
        handle = _scaled(net, handle, "Mul", beta)
    axis = 1 if net.layout.is_first(handle) else -1
    net.give(op, net.layout.each(kind, handle, hint=net.hint, axis=axis))


def l2_normalization(net: Network, op: Operator) -> None:
    """Divided by the length along the last axis, which is at least the root of 1e-12."""
    x = net.last(op)
    total = net.node("ReduceSum", [net.node("Mul", [x, x]), net.graph.ints("axes", [-1])], keepdims=1)
    length = net.node("Sqrt", [net.node("Max", [total, net.graph.scalar("least", 1e-12)])])
    net.give(op, net.node("Div", [x, length]))


def local_response_normalization(net: Network, op: Operator) -> None:
    """Across channels; the sum is not divided by their number, as ONNX does."""
    options = op.options
    size = 2 * options["radius"] + 1
    if not 1 <= size <= 1 << 16:
        raise ImportFailed(f"its radius is {options['radius']}. The file is damaged.")
    made = net.node(
        "LRN",
        [net.layout.first(net.handle(op))],
        size=size,
        alpha=float(options["alpha"]) * size,
        beta=float(options["beta"]),
        bias=float(options["bias"]),
    )
    net.give(op, net.layout.promise(made))


def _reduce(kind: str) -> Rule:
    def rule(net: Network, op: Operator) -> None:
        handle, rank, keep = net.handle(op), net.rank(op), bool(op.options["keep"])
        axes = net.axes(op, 1, rank)
        spatial = set(range(1, rank - 1))
        # Without the channels, or with nothing but them left, both orders of axes give the same.
        first = net.layout.is_first(handle) and (keep or rank - 1 in axes or spatial <= set(axes))
        if first:
            tensor, axes = net.layout.first(handle), sorted(to_first(rank).index(axis) for axis in axes)
        else:
            tensor = net.layout.last(handle)
        made = reduced(net, kind, tensor, axes, keep)
        net.give(op, net.layout.promise(made) if first and keep else made)

    return rule


def reduced(net: Network, kind: str, tensor: str, axes: list[int], keep: bool) -> str:
    """The reduction of ONNX: whose sum takes its axes as an input, the others as an attribute."""
    if not axes:
        return tensor
    logical = kind in ("Any", "All")
    if logical:
        tensor, kind = net.cast(tensor, np.int32), "ReduceMax" if kind == "Any" else "ReduceMin"
    if kind == "ReduceSum":
        return net.node(kind, [tensor, net.graph.ints("axes", axes)], keepdims=int(keep))
    made = net.node(kind, [tensor], axes=axes, keepdims=int(keep))
    return net.cast(made, np.bool_) if logical else made


def _arg(kind: str) -> Rule:
    def rule(net: Network, op: Operator) -> None:
        (axis,) = net.axes(op, 1, net.rank(op))
        made = net.node(kind, [net.last(op)], axis=axis, keepdims=0)
        net.give(op, net.cast(made, dtype_of(KINDS.get(op.options["output_type"], "int32"))))

    return rule


def cumsum(net: Network, op: Operator) -> None:
    """Running sums along a constant axis."""
    (axis,) = net.axes(op, 1, net.rank(op))
    net.keep_apart(op, 0, axis)
    inputs = [net.last(op), net.graph.constant("axis", np.array(axis, np.int64))]
    net.give(op, net.node("CumSum", inputs, exclusive=int(op.options["exclusive"]), reverse=int(op.options["reverse"])))


def top_k(net: Network, op: Operator) -> None:
    """The k largest along the last axis, and where they were."""
    count = net.node("Reshape", [net.cast(net.last(op, 1), np.int64), net.graph.ints("shape", [1])])
    values, places = net.graph.nodes("TopK", [net.last(op), count], 2, net.hint, axis=-1)
    net.give(op, values)
    if len(op.outputs) > 1:
        net.give(op, net.cast(places, np.int32), 1)


def atan2(net: Network, op: Operator) -> None:
    """The angle of (y, x): that of their quotient, in the half plane that their signs tell."""
    y, x = net.last(op, 0), net.last(op, 1)
    zero, pi = net.graph.scalar("zero", 0), net.graph.scalar("pi", float(np.pi))
    angle = net.node("Atan", [net.node("Div", [y, x])])
    turn = net.node("Where", [net.node("Less", [y, zero]), net.node("Neg", [pi]), pi])
    angle = net.node("Where", [net.node("Less", [x, zero]), net.node("Add", [angle, turn]), angle])
    flat = net.node("And", [net.node("Equal", [y, zero]), net.node("Not", [net.node("Less", [x, zero])])])
    net.give(op, net.node("Where", [flat, zero, angle]))


RULES: dict[str, Rule] = {
    "ABS": _each("Abs"),
    "ADD": _pair("Add"),
    "ADD_N": add_n,
    "ARG_MAX": _arg("ArgMax"),
    "ARG_MIN": _arg("ArgMin"),
    "ATAN2": atan2,
    "CAST": cast,
    "CEIL": _each("Ceil"),
    "COS": _each("Cos"),
    "CUMSUM": cumsum,
    "DEQUANTIZE": same,
    "DIV": _pair("Div"),
    "ELU": _each("Elu"),
    "EQUAL": _pair("Equal"),
    "EXP": _each("Exp"),
    "FAKE_QUANT": fake_quant,
    "FLOOR": _each("Floor"),
    "FLOOR_DIV": floor_div,
    "FLOOR_MOD": floor_mod,
    "GELU": gelu,
    "GREATER": _pair("Greater"),
    "GREATER_EQUAL": _pair("GreaterOrEqual"),
    "HARD_SWISH": hard_swish,
    "L2_NORMALIZATION": l2_normalization,
    "LEAKY_RELU": leaky_relu,
    "LESS": _pair("Less"),
    "LESS_EQUAL": _pair("LessOrEqual"),
    "LOCAL_RESPONSE_NORMALIZATION": local_response_normalization,
    "LOG": _each("Log"),
    "LOGICAL_AND": _pair("And"),
    "LOGICAL_NOT": _each("Not"),
    "LOGICAL_OR": _pair("Or"),
    "LOGISTIC": _each("Sigmoid"),
    "LOG_SOFTMAX": partial(softmax, kind="LogSoftmax"),
    "MAXIMUM": _pair("Max"),
    "MEAN": _reduce("ReduceMean"),
    "MINIMUM": _pair("Min"),
    "MUL": _pair("Mul"),
    "NEG": _each("Neg"),
    "NOT_EQUAL": not_equal,
    "POW": _pair("Pow"),
    "PRELU": prelu,
    "QUANTIZE": same,
    "REDUCE_ALL": _reduce("All"),
    "REDUCE_ANY": _reduce("Any"),
    "REDUCE_MAX": _reduce("ReduceMax"),
    "REDUCE_MIN": _reduce("ReduceMin"),
    "REDUCE_PROD": _reduce("ReduceProd"),
    "RELU": _activation(RELU),
    "RELU6": _activation(RELU6),
    "RELU_0_TO_1": relu_0_to_1,
    "RELU_N1_TO_1": _activation(RELU_N1_TO_1),
    "ROUND": _each("Round"),
    "RSQRT": _each("Sqrt", "Reciprocal"),
    "SELECT": select,
    "SELECT_V2": select,
    "SIGN": _each("Sign"),
    "SIN": _each("Sin"),
    "SOFTMAX": softmax,
    "SQRT": _each("Sqrt"),
    "SQUARE": square,
    "SQUARED_DIFFERENCE": squared_difference,
    "SUB": _pair("Sub"),
    "SUM": _reduce("ReduceSum"),
    "TANH": _each("Tanh"),
    "TOPK_V2": top_k,
}
