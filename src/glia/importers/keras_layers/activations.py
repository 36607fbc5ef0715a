"""Activations, as layers and as settings of layers, and what does nothing once training is over.

Source: keras/activations.py of Keras 1.2.2, 2.3.1 and 3; `hard_sigmoid` is clip(0.2 x + 0.5) before Keras 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.keras_layers.scope import Applied, Rule, Scope

SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
SQRT_HALF = 0.7071067811865476
GELU_TANH = 0.7978845608028654  # sqrt(2 / pi)


def activate(call: Applied, handle: str, setting: object, axis: int = -1) -> str:
    """Apply what a layer's setting `activation` says: a name, or a layer of its own."""
    config: Mapping[str, Any] = {}
    if isinstance(setting, dict):
        name, inner = setting.get("class_name"), setting.get("config")
        if name == "function" and isinstance(inner, str):
            setting = inner
        elif isinstance(name, str):
            setting, config = name, inner if isinstance(inner, dict) else {}
    if setting is None or setting == "linear":
        return handle
    if not isinstance(setting, str):
        raise unsupported(f"the activation {str(setting)[:100]!r}")
    if setting in ("softmax", "log_softmax", "Softmax"):
        return softmax(call.scope, handle, axis, setting == "log_softmax")
    if setting in LAYERS and setting not in ("Activation", "PReLU"):
        spec = call.spec.__class__(call.name, setting, config)
        return LAYERS[setting](Applied(call.scope, call.name, spec, [handle], []))
    if setting not in NAMED:
        raise unsupported(f"the activation {setting[:100]!r}")
    return NAMED[setting](call.scope, handle)


def softmax(scope: Scope, handle: str, axis: int, log: bool = False) -> str:
    """Softmax along an axis in Keras' order."""
    rank = len(scope.layout.shape(handle))
    if not -rank <= axis < rank:
        raise ImportFailed(f"softmax along the axis {axis} of {rank}")
    op, axis = "LogSoftmax" if log else "Softmax", axis % rank
    if not scope.layout.is_first(handle) or rank < 3:
        return scope.graph.node(op, [scope.layout.last(handle)], op.lower(), axis=axis)
    return scope.layout.each(op, handle, axis=[0, *range(2, rank), 1][axis])


def hard_sigmoid(scope: Scope, handle: str) -> str:
    """A straight line between 0 and 1."""
    alpha, beta = scope.hard_sigmoid
    return scope.layout.each("HardSigmoid", handle, alpha=alpha, beta=beta)


def clipped(scope: Scope, handle: str, least: float | None, most: float | None) -> str:
    """Cut to a range."""
    bounds = [scope.graph.scalar("bound", bound) if bound is not None else "" for bound in (least, most)]
    while bounds and not bounds[-1]:
        bounds.pop()
    return scope.layout.each("Clip", handle, *bounds)


def times(scope: Scope, handle: str, factor: float) -> str:
    """Every number times a constant."""
    return scope.layout.each("Mul", handle, scope.graph.scalar("factor", factor))


def plus(scope: Scope, handle: str, term: float) -> str:
    """A constant added to every number."""
    return scope.layout.each("Add", handle, scope.graph.scalar("term", term))


def _op(op: str, **attributes: Any) -> Callable[[Scope, str], str]:
    return lambda scope, handle: scope.layout.each(op, handle, **attributes)


def _swish(scope: Scope, handle: str) -> str:
    return scope.layout.pair("Mul", handle, scope.layout.each("Sigmoid", handle))


def _hard_swish(scope: Scope, handle: str) -> str:
    return scope.layout.each("HardSwish", handle)


def _gelu(scope: Scope, handle: str) -> str:
    inner = plus(scope, scope.layout.each("Erf", times(scope, handle, SQRT_HALF)), 1.0)
    return times(scope, scope.layout.pair("Mul", handle, inner), 0.5)


def _gelu_tanh(scope: Scope, handle: str) -> str:
    layout = scope.layout
    cube = layout.pair("Mul", layout.pair("Mul", handle, handle), handle)
    inner = times(scope, layout.pair("Add", handle, times(scope, cube, 0.044715)), GELU_TANH)
    return times(scope, layout.pair("Mul", handle, plus(scope, layout.each("Tanh", inner), 1.0)), 0.5)


def _mish(scope: Scope, handle: str) -> str:
    inner = scope.layout.each("Tanh", scope.layout.each("Softplus", handle))
    return scope.layout.pair("Mul", handle, inner)


def _log_sigmoid(scope: Scope, handle: str) -> str:
    return scope.layout.each("Neg", scope.layout.each("Softplus", scope.layout.each("Neg", handle)))


def _tanh_shrink(scope: Scope, handle: str) -> str:
    return scope.layout.pair("Sub", handle, scope.layout.each("Tanh", handle))


def _squareplus(scope: Scope, handle: str) -> str:
    square = plus(scope, scope.layout.pair("Mul", handle, handle), 4.0)
    return times(scope, scope.layout.pair("Add", handle, scope.layout.each("Sqrt", square)), 0.5)


NAMED: dict[str, Callable[[Scope, str], str]] = {
    "relu": _op("Relu"),
    "relu6": lambda scope, handle: clipped(scope, handle, 0.0, 6.0),
    "leaky_relu": _op("LeakyRelu", alpha=0.2),
    "tanh": _op("Tanh"),
    "sigmoid": _op("Sigmoid"),
    "hard_sigmoid": hard_sigmoid,
    "hard_tanh": lambda scope, handle: clipped(scope, handle, -1.0, 1.0),
    "elu": _op("Elu", alpha=1.0),
    "selu": _op("Selu", **SELU),
    "celu": _op("Celu", alpha=1.0),
    "softplus": _op("Softplus"),
    "softsign": _op("Softsign"),
    "exponential": _op("Exp"),
    "exp": _op("Exp"),
    "swish": _swish,
    "silu": _swish,
    "hard_swish": _hard_swish,
    "hard_silu": _hard_swish,
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "mish": _mish,
    "log_sigmoid": _log_sigmoid,
    "tanh_shrink": _tanh_shrink,
    "hard_shrink": _op("Shrink", lambd=0.5, bias=0.0),
    "soft_shrink": _op("Shrink", lambd=0.5, bias=0.5),
    "squareplus": _squareplus,
}


# -- layers ------------------------------------------------------------------------------------------------------------


def _activation(call: Applied) -> str:
    return activate(call, call.x, call.config.get("activation"))


def _relu(call: Applied) -> str:
    """max(x, threshold) with a slope below it, up to a largest value."""
    most = call.number("max_value") if call.config.get("max_value") is not None else None
    slope, threshold = call.number("negative_slope", 0.0), call.number("threshold", 0.0)
    scope, layout = call.scope, call.layout
    if threshold == 0:
        if slope == 0:
            return clipped(scope, call.x, 0.0, most) if most is not None else layout.each("Relu", call.x)
        y = layout.each("LeakyRelu", call.x, alpha=slope)
        return clipped(scope, y, None, most) if most is not None else y
    low = call.graph.scalar("threshold", threshold)
    reached = layout.each("Cast", layout.each("GreaterOrEqual", call.x, low), to=1)
    above = call.x if most is None else clipped(scope, call.x, None, most)
    y = layout.pair("Mul", reached, above)
    if slope == 0:
        return y
    below = times(scope, plus(scope, call.x, -threshold), slope)
    missed = plus(scope, layout.each("Neg", reached), 1.0)
    return layout.pair("Add", y, layout.pair("Mul", missed, below))


def _leaky_relu(call: Applied) -> str:
    key = "negative_slope" if "negative_slope" in call.config else "alpha"
    return call.layout.each("LeakyRelu", call.x, alpha=call.number(key, 0.3))


def _elu(call: Applied) -> str:
    return call.layout.each("Elu", call.x, alpha=call.number("alpha", 1.0))


def _thresholded_relu(call: Applied) -> str:
    """x where it is greater than theta, else 0."""
    return call.layout.each("ThresholdedRelu", call.x, alpha=call.number("theta", 1.0))


def _softmax(call: Applied) -> str:
    axis = call.config.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise unsupported(f"softmax along the axes {str(axis)[:50]}")
    if len(call.handles) > 1:
        raise unsupported("softmax with a mask")
    return softmax(call.scope, call.x, axis)


def _prelu(call: Applied) -> str:
    """A slope for each number or channel below zero."""
    slope = call.weight(0, None, "slopes")
    if slope.ndim != call.rank() - 1:
        raise ImportFailed(f"its slopes have the shape {list(slope.shape)} for an input of {call.rank()} axes")
    whole = call.constant("alpha", slope[None])
    low = clipped(call.scope, call.x, None, 0.0)
    return call.layout.pair("Add", call.layout.each("Relu", call.x), call.layout.pair("Mul", low, whole))


def _parametric_softplus(call: Applied) -> str:
    """alpha * log(1 + exp(beta * x)), of Keras 1."""
    alpha, beta = (call.constant(part, call.weight(at)[None]) for at, part in enumerate(("alpha", "beta")))
    inner = call.layout.each("Softplus", call.layout.pair("Mul", call.x, beta))
    return call.layout.pair("Mul", inner, alpha)


def same(call: Applied) -> str:
    """What does nothing once training is over."""
    return call.x


IDENTITIES = [
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout",
    "AlphaDropout", "ActivityRegularization", "InputLayer", "RandomFlip", "RandomRotation", "RandomZoom",
    "RandomContrast", "RandomBrightness", "RandomTranslation", "RandomErasing", "Identity",
]  # fmt: skip

LAYERS: dict[str, Callable[[Applied], str]] = {
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "ThresholdedReLU": _thresholded_relu,
    "Softmax": _softmax,
    "PReLU": _prelu,
    "ParametricSoftplus": _parametric_softplus,
}
RULES: dict[str, Rule] = {**LAYERS, **dict.fromkeys(IDENTITIES, same)}

RECURRENT: dict[str, tuple[str, dict[str, float]]] = {
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "relu": ("Relu", {}),
    "linear": ("Affine", {"alpha": 1.0, "beta": 0.0}),
    "softsign": ("Softsign", {}),
    "softplus": ("Softplus", {}),
    "elu": ("Elu", {"alpha": 1.0}),
}


def recurrent(scope: Scope, setting: object) -> tuple[str, dict[str, float]]:
    """The activation of a recurrent layer in ONNX's words, with its parameters."""
    if isinstance(setting, dict) and setting.get("class_name") == "function":
        setting = setting.get("config")
    if setting == "hard_sigmoid":
        return "HardSigmoid", dict(zip(("alpha", "beta"), scope.hard_sigmoid, strict=True))
    if setting is None:
        return RECURRENT["linear"]
    if not isinstance(setting, str) or setting not in RECURRENT:
        raise unsupported(f"the activation {str(setting)[:100]!r} in a recurrent layer")
    return RECURRENT[setting]
