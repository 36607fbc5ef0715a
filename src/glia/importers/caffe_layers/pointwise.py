"""Layers that work number by number, or combine tensors number by number."""

from __future__ import annotations

from math import e, log
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.rules import Build, rule
from glia.importers.caffe_layers.schema import of

PROD, SUM, MAX = range(3)
_PLAIN = {"AbsVal": "Abs", "BNLL": "Softplus", "Sigmoid": "Sigmoid", "TanH": "Tanh", "Mish": "Mish"}


@rule(*_PLAIN)
def plain(build: Build) -> str:
    """Kinds that ONNX has by another name."""
    op = _PLAIN[build.layer.kind]
    if op == "Mish":  # of opset 18
        x = build.input()
        return build.node("Mul", [x, build.graph.node("Tanh", [build.graph.node("Softplus", [x])])])
    return build.node(op, [build.input()])


@rule("Dropout", "Split", "GaussianNoise", "Noise")
def same(build: Build) -> list[str]:
    """What does nothing once a network is trained; `Split` hands its input to several."""
    return [build.input()] * len(build.layer.tops)


@rule("ReLU")
def relu(build: Build) -> str:
    """With a slope below zero if the file says so."""
    slope = of(build.layer.parameters("relu_param", "ReLU"), "negative_slope", 0.0)
    return build.node("LeakyRelu", [build.input()], alpha=slope) if slope else build.node("Relu", [build.input()])


@rule("ELU")
def elu(build: Build) -> str:
    """x, or alpha * (exp(x) - 1) below zero."""
    alpha = of(build.layer.parameters("elu_param", "ELU"), "alpha", 1.0)
    return build.node("Elu", [build.input()], alpha=alpha)


@rule("ReLU6", "Clip")
def clip(build: Build) -> str:
    """Between two bounds."""
    message = build.layer.parameters("clip_param", "Clip")
    low, high = (0.0, 6.0) if build.layer.kind == "ReLU6" else (message.min, message.max)
    return build.node("Clip", [build.input(), build.graph.scalar("min", low), build.graph.scalar("max", high)])


@rule("Swish")
def swish(build: Build) -> str:
    """x * sigmoid(beta * x)."""
    x, beta = build.input(), of(build.layer.parameters("swish_param", "Swish"), "beta", 1.0)
    inner = _affine(build, x, beta, 0.0)
    return build.node("Mul", [x, build.graph.node("Sigmoid", [inner])])


def _affine(build: Build, x: str, scale: float, shift: float) -> str:
    """shift + scale * x, without what changes nothing."""
    if scale != 1:
        x = build.graph.node("Mul", [x, build.graph.scalar("scale", scale)])
    return build.graph.node("Add", [x, build.graph.scalar("shift", shift)]) if shift else x


def _numbers(message: Any, *defaults: tuple[str, float]) -> list[float]:
    values = [of(message, field, default) for field, default in defaults]
    if not np.isfinite(values).all():
        raise ImportFailed(f"its parameters are {values}, expected finite numbers")
    return values


@rule("Power")
def power(build: Build) -> str:
    """(shift + scale * x) ^ power."""
    message = build.layer.parameters("power_param", "Power")
    exponent, scale, shift = _numbers(message, ("power", 1.0), ("scale", 1.0), ("shift", 0.0))
    inner = _affine(build, build.input(), scale, shift)
    if exponent == 1:
        return inner
    return build.node("Pow", [inner, build.graph.scalar("power", exponent)])


@rule("Exp", "Log")
def exponential(build: Build) -> str:
    """base ^ (shift + scale * x), or its logarithm to the base; -1 stands for e."""
    is_log = build.layer.kind == "Log"
    message = build.layer.parameters("log_param" if is_log else "exp_param", "Exp")
    base, scale, shift = _numbers(message, ("base", -1.0), ("scale", 1.0), ("shift", 0.0))
    base = e if base == -1 else base
    if base <= 0 or (is_log and base == 1):
        raise ImportFailed(f"its base is {base}, expected one above 0")
    x, graph = build.input(), build.graph
    if is_log:
        inner = graph.node("Log", [_affine(build, x, scale, shift)])
        return build.node("Mul", [inner, graph.scalar("scale", 1 / log(base))])
    return build.node("Exp", [_affine(build, x, scale * log(base), shift * log(base))])


@rule("Threshold")
def threshold(build: Build) -> str:
    """1 above the threshold, else 0."""
    bound = of(build.layer.parameters("threshold_param", "Threshold"), "threshold", 0.0)
    above = build.graph.node("Greater", [build.input(), build.graph.scalar("threshold", bound)])
    return build.node("Cast", [above], to=1)


@rule("Eltwise")
def eltwise(build: Build) -> str:
    """Product, sum with coefficients, or maximum of tensors of one shape."""
    message = build.layer.parameters("eltwise_param", "Eltwise")
    tensors, operation = build.inputs(), of(message, "operation", SUM)
    if operation != SUM:
        return _chain(build, "Mul" if operation == PROD else "Max", tensors)
    coefficients = list(message.coeff) or [1.0] * len(tensors)
    if len(coefficients) != len(tensors) or not np.isfinite(coefficients).all():
        raise ImportFailed(f"it has {len(coefficients)} coefficients for {len(tensors)} inputs, or infinite ones")
    if coefficients == [1.0, -1.0]:
        return build.node("Sub", tensors)
    return _chain(build, "Add", [_affine(build, x, k, 0.0) for x, k in zip(tensors, coefficients, strict=True)])


def _chain(build: Build, op: str, tensors: list[str]) -> str:
    result = tensors[0]
    for other in tensors[1:]:
        result = build.node(op, [result, other])
    return result


@rule("Axpy")
def axpy(build: Build) -> str:
    """A factor for each channel, times x, plus y: squeeze-and-excitation."""
    factor, x, y = build.inputs(3, 3)
    missing = build.graph.rank(x) - build.graph.rank(factor)
    if missing > 0:
        axes = build.graph.ints("axes", range(build.graph.rank(factor), build.graph.rank(x)))
        factor = build.graph.node("Unsqueeze", [factor, axes])
    return build.node("Add", [build.graph.node("Mul", [factor, x]), y])
