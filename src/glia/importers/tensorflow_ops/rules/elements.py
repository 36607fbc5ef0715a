"""Operators on each number: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

import numpy as np
from onnx import helper

from glia.core.errors import ImportFailed
from glia.importers.tensorflow_ops.call import Call, Rule, Value
from glia.importers.tensorflow_ops.numbers import dtype_of

_UNARY = {
    "Abs": "Abs", "Acos": "Acos", "Acosh": "Acosh", "Asin": "Asin", "Asinh": "Asinh", "Atan": "Atan",
    "Atanh": "Atanh", "Ceil": "Ceil", "Cos": "Cos", "Cosh": "Cosh", "Erf": "Erf", "Exp": "Exp", "Floor": "Floor",
    "IsInf": "IsInf", "IsNan": "IsNaN", "Log": "Log", "LogicalNot": "Not", "Neg": "Neg", "Reciprocal": "Reciprocal",
    "Inv": "Reciprocal", "Relu": "Relu", "Rint": "Round", "Round": "Round", "Sigmoid": "Sigmoid", "Sign": "Sign",
    "Sin": "Sin", "Sinh": "Sinh", "Softplus": "Softplus", "Softsign": "Softsign", "Sqrt": "Sqrt", "Tan": "Tan",
    "Tanh": "Tanh",
}  # fmt: skip
_BINARY = {
    "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Maximum": "Max",
    "Minimum": "Min", "Pow": "Pow", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
    "LessEqual": "LessOrEqual", "Equal": "Equal", "LogicalAnd": "And", "LogicalOr": "Or",
}  # fmt: skip
_SAME = (
    "Identity", "CheckNumerics", "StopGradient", "PreventGradient", "Snapshot", "EnsureShape", "LoopCond",
    "PlaceholderWithDefault", "ReadVariableOp", "DebugIdentity", "DeepCopy",
    "CheckNumericsV2", "Print",
)  # fmt: skip


def _unary(op: str) -> Rule:
    return lambda call: call.layout.each(op, call.handle(0), hint=call.hint)


def _binary(op: str) -> Rule:
    return lambda call: call.layout.pair(op, call.handle(0), call.handle(1), call.hint)


def _same(call: Call) -> Value:
    return call.inputs[0] if call.inputs else call.handle(0)


def _several(call: Call) -> list[Value]:
    return list(call.inputs)


def _each(call: Call, op: str, **attributes: float) -> str:
    return call.layout.each(op, call.handle(0), hint=call.hint, **attributes)


def _leaky(call: Call) -> str:
    return _each(call, "LeakyRelu", alpha=call.attribute("alpha", 0.2))


def _relu6(call: Call) -> str:
    return call.layout.each("Clip", call.handle(0), call.scalar(0), call.scalar(6), hint=call.hint)


def _clip(call: Call) -> str:
    low, high = (call.graph.scalar(f"{call.hint}_bound", call.number(i, "a bound"), call.dtype(0)) for i in (1, 2))
    return call.layout.each("Clip", call.handle(0), low, high, hint=call.hint)


def _elu(call: Call) -> str:
    return _each(call, "Elu", alpha=1.0)


def _prelu(call: Call) -> str:
    """max(x, 0) + alpha * min(x, 0); alpha broadcasts as in a product."""
    zero = call.scalar(0)
    high = call.layout.each("Max", call.handle(0), zero, hint=call.hint)
    low = call.layout.each("Min", call.handle(0), zero, hint=call.hint)
    return call.layout.pair("Add", high, call.layout.pair("Mul", low, call.handle(1), call.hint), call.hint)


def _square(call: Call) -> str:
    return call.layout.pair("Mul", call.handle(0), call.handle(0), call.hint)


def _rsqrt(call: Call) -> str:
    return call.layout.each("Reciprocal", call.layout.each("Sqrt", call.handle(0), hint=call.hint), hint=call.hint)


def _expm1(call: Call) -> str:
    return call.layout.each("Sub", call.layout.each("Exp", call.handle(0), hint=call.hint), call.scalar(1))


def _log1p(call: Call) -> str:
    return call.layout.each("Log", call.layout.each("Add", call.handle(0), call.scalar(1)), hint=call.hint)


def _erfc(call: Call) -> str:
    error = call.layout.each("Erf", call.handle(0), hint=call.hint)
    return call.layout.pair("Sub", call.scalar(1), error, call.hint)


def _squared_difference(call: Call) -> str:
    difference = call.layout.pair("Sub", call.handle(0), call.handle(1), call.hint)
    return call.layout.pair("Mul", difference, difference, call.hint)


def _not_equal(call: Call) -> str:
    equal = call.layout.pair("Equal", call.handle(0), call.handle(1), call.hint)
    return call.layout.each("Not", equal, hint=call.hint)


def _division(call: Call) -> str:
    """Div: of integers it is TensorFlow's truncation, which is ONNX's."""
    return call.layout.pair("Div", call.handle(0), call.handle(1), call.hint)


def _floor_division(call: Call) -> str:
    a, b = call.handle(0), call.handle(1)
    if call.dtype(0).kind == "f":
        return call.layout.each("Floor", call.layout.pair("Div", a, b, call.hint), hint=call.hint)
    rest = call.layout.pair("Mod", a, b, call.hint)  # of the divisor's sign, so that what is left divides
    return call.layout.pair("Div", call.layout.pair("Sub", a, rest, call.hint), b, call.hint)


def _floor_mod(call: Call) -> str:
    if call.dtype(0).kind != "f":
        return call.layout.pair("Mod", call.handle(0), call.handle(1), call.hint)
    whole = call.layout.pair("Mul", _floor_division(call), call.handle(1), call.hint)
    return call.layout.pair("Sub", call.handle(0), whole, call.hint)


def _truncated_mod(call: Call) -> str:
    return call.write("Mod", [call.tensor(0), call.tensor(1)], fmod=1)


def _div_no_nan(call: Call) -> str:
    """0 where the divisor is 0."""
    a, b = call.tensor(0), call.tensor(1)
    zero = call.scalar(0)
    none = call.write("Equal", [b, zero])
    quotient = call.write("Div", [a, call.write("Where", [none, call.scalar(1), b])])
    return call.write("Where", [none, zero, quotient])


def _arctangent_of_two(call: Call) -> str:
    """atan2(y, x) from atan(y / x), turned where x < 0."""
    y, x = call.tensor(0), call.tensor(1)
    zero, pi = call.scalar(0), call.scalar(float(np.pi))
    straight = call.write("Equal", [x, zero])
    plain = call.write("Atan", [call.write("Div", [y, call.write("Where", [straight, call.scalar(1), x])])])
    down = call.write("Less", [y, zero])
    turn = call.write("Where", [down, call.write("Neg", [pi]), pi])
    turned = call.write("Where", [call.write("Less", [x, zero]), call.write("Add", [plain, turn]), plain])
    half = call.write("Mul", [call.write("Sign", [y]), call.scalar(float(np.pi / 2))])
    return call.write("Where", [straight, half, turned])


def _sum_of_all(call: Call) -> str:
    handle = call.handle(0)
    for index in range(1, len(call.inputs)):
        handle = call.layout.pair("Add", handle, call.handle(index), call.hint)
    return handle


def _cast(call: Call) -> str:
    target, own = dtype_of(call.kind("DstT", 1)), call.dtype(0)
    if target == own:
        return call.handle(0)
    to = helper.np_dtype_to_tensor_dtype(target)
    return call.layout.each("Cast", call.handle(0), hint=call.hint, to=to)


def _softmax(op: str) -> Rule:
    def rule(call: Call) -> str:
        if call.rank(0) == 0:
            raise ImportFailed("its input has no axes; the file is damaged")
        handle = call.handle(0)
        if call.layout.is_first(handle):
            return call.layout.promise(call.write(op, [call.layout.first(handle)], axis=1))
        return call.write(op, [handle], axis=-1)

    return rule


def _select(call: Call) -> str:
    """Select: a condition of one axis chooses whole rows, other than in SelectV2, where it broadcasts."""
    condition, rank = call.tensor(0), call.rank(1)
    if call.node.op == "Select" and call.rank(0) == 1 and rank > 1:
        condition = call.write("Unsqueeze", [condition, call.ints_constant(range(1, rank))])
    return call.write("Where", [condition, call.tensor(1), call.tensor(2)])


def _fake_quantised(call: Call) -> str:
    """Round to so many steps from min to max, moved a little so that 0 is a step.

    Source: tensorflow/core/kernels/fake_quant_ops_functor.h.
    """
    if call.node.op == "FakeQuantWithMinMaxArgs":
        low, high = call.attribute("min", -6.0), call.attribute("max", 6.0)
    else:
        low, high = call.number(1, "the least value"), call.number(2, "the largest value")
    bits = call.attribute("num_bits", 8)
    least, most = float(call.attribute("narrow_range", False)), float((1 << min(max(bits, 2), 16)) - 1)
    if not low < high or not np.isfinite([low, high]).all():
        raise ImportFailed(f"it rounds between {low} and {high}, which cannot be; the file is damaged")
    scale = (high - low) / (most - least)
    zero = min(max(float(np.floor(least - low / scale + 0.5)), least), most)
    low, high = (least - zero) * scale, (most - zero) * scale
    handle = call.layout.each("Clip", call.handle(0), call.scalar(low), call.scalar(high), hint=call.hint)
    for op, number in (("Sub", low), ("Div", scale), ("Add", 0.5)):
        handle = call.layout.each(op, handle, call.scalar(number), hint=call.hint)
    handle = call.layout.each("Floor", handle, hint=call.hint)
    for op, number in (("Mul", scale), ("Add", low)):
        handle = call.layout.each(op, handle, call.scalar(number), hint=call.hint)
    return handle


def _bits(call: Call) -> str:
    """Bitcast between types that are one here."""
    if dtype_of(call.kind("type", 1)) != call.dtype(0):
        raise ImportFailed("numbers read as others by their bits are not supported")
    return call.handle(0)


RULES: dict[str, Rule] = {
    **{op: _unary(onnx) for op, onnx in _UNARY.items()},
    **{op: _binary(onnx) for op, onnx in _BINARY.items()},
    **dict.fromkeys(_SAME, _same),
    "IdentityN": _several,
    "LeakyRelu": _leaky,
    "Relu6": _relu6,
    "ClipByValue": _clip,
    "Elu": _elu,
    "Selu": _unary("Selu"),
    "Prelu": _prelu,
    "Square": _square,
    "Rsqrt": _rsqrt,
    "Expm1": _expm1,
    "Log1p": _log1p,
    "Erfc": _erfc,
    "SquaredDifference": _squared_difference,
    "NotEqual": _not_equal,
    "Div": _division,
    "TruncateDiv": _division,
    "FloorDiv": _floor_division,
    "FloorMod": _floor_mod,
    "Mod": _truncated_mod,
    "TruncateMod": _truncated_mod,
    "DivNoNan": _div_no_nan,
    "Atan2": _arctangent_of_two,
    "AddN": _sum_of_all,
    "Cast": _cast,
    "Bitcast": _bits,
    "Softmax": _softmax("Softmax"),
    "LogSoftmax": _softmax("LogSoftmax"),
    "Select": _select,
    "SelectV2": _select,
    "FakeQuantWithMinMaxVars": _fake_quantised,
    "FakeQuantWithMinMaxArgs": _fake_quantised,
}
