"""int8: a graph whose layers compute in 8 bits where that changes the answers little, and in float where it does not.

Weights have a step for each output channel and are rounded so that errors cancel (`rounding`), activations have the
range that loses least; both are learnt from calibration pictures. Then each layer's damage is measured alone, and the
most damaging ones stay in float, as few as suffice for the pictures to get the answers they had.
The result is an ONNX graph with QuantizeLinear and DequantizeLinear (QDQ), which every runtime takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import Shaped
from onnx import helper, numpy_helper

from glia.core.errors import InputError
from glia.core.session import Tensors
from glia.runtime.guard import (
    LEAST_COSINE,
    LEAST_N,
    MOST_CHANGED,
    Outputs,
    Verdict,
    before_softmax,
    judge,
    outputs_of,
)
from glia.runtime.layers import Layer, Seen, find_layers, observe, rows_of
from glia.runtime.onnx_session import OnnxSession
from glia.runtime.rounding import Scale, Weights, activation_scale, round_weights

TRIED = 32
"""Pictures that a single layer's damage is measured on."""

SPARE_COSINE, SPARE_CHANGES = 0.85, 0.5
"""Shares of what the guard allows that the calibration pictures may use up: on others, the cosine is a little lower,
and the changes, a handful, scatter."""

MOVERS = {"MaxPool", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout"}
"""Operators that only choose or move values: what comes out has the scale of what went in."""


@dataclass(frozen=True)
class Quantised:
    """What `quantise` made: the layers in 8 bits and those left in float, by the tensors they make; how it answers."""

    layers: tuple[str, ...]
    floats: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True)
class _Plan:
    """A model with everything that is needed to write any choice of its layers in 8 bits."""

    model: onnx.ModelProto
    layers: Sequence[Layer]
    scales: Mapping[str, Scale]
    weights: Mapping[str, Weights]


def quantise(
    model_path: Path,
    samples: Iterable[Tensors],
    out_path: Path,
    classes: bool,
    progress: Callable[[str], None] = lambda line: None,
) -> Quantised:
    """Write to `out_path` an int8 version of a float32 graph that gives the samples the answers they had.

    `samples`: what the graph takes for at least 256 pictures, without batch axis, as a task's `preprocess` gives
    them; they are held in memory. `classes`: whether outputs are class scores, as for the guard. Takes minutes.
    The verdict is on the same samples: judge the result on other pictures before it is used.
    Raises InputError: too few samples, an opset below 13, no layer that gains anything by it.
    """
    kept = list(samples)
    if len(kept) < LEAST_N:
        raise InputError(f"Expected at least {LEAST_N} samples to calibrate with, received {len(kept)}.")
    model = onnx.load(model_path)
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < 13:
        raise InputError(f"Expected opset 13 or later, which knows steps by channel; {model_path.name} has {opset}.")
    layers = find_layers(model)
    progress(f"{len(kept)} samples through {len(layers)} layers")
    plan = _plan(model, layers, observe(model, layers, kept))
    reference = _answers(model, kept)
    damages = _damages(plan, kept[:: max(1, len(kept) // TRIED)], classes, progress)
    names = [layer.name for layer in layers]

    def attempt(floats: AbstractSet[str]) -> Verdict:
        verdict = judge(reference, _answers(_write(plan, set(names) - floats), kept), classes)
        progress(f"{len(floats)} of {len(names)} layers in float: {verdict.reason}")
        return verdict

    found = _fewest(names, damages, attempt)
    if found is None:
        raise InputError(f"{model_path.name}: no choice of layers in 8 bits keeps the answers.")
    floats, verdict = found
    onnx.save(_write(plan, set(names) - floats), out_path)
    return Quantised(
        tuple(name for name in names if name not in floats), tuple(name for name in names if name in floats), verdict
    )


def _fewest(
    names: Sequence[str], damages: Mapping[str, float], attempt: Callable[[AbstractSet[str]], Verdict]
) -> tuple[AbstractSet[str], Verdict] | None:
    """The layers that must stay in float, and the verdict on that; None where all must.

    The most damaging ones, as many as bisection finds to suffice. Then each of them, in order of execution (the first
    have the largest maps, so they cost most), goes back to 8 bits where the rest does without it: what damages alone
    may do so by a tensor that it shares with another.
    """
    order = sorted(names, key=lambda name: -damages[name])
    low, high, middle = -1, len(order), 0
    best: tuple[AbstractSet[str], Verdict] | None = None
    while high - low > 1:
        verdict = attempt(set(order[:middle]))
        if _near(verdict):
            high, best = middle, (set(order[:middle]), verdict)
        else:
            low = middle
        middle = (low + high) // 2
    if best is not None:
        for name in [name for name in names if name in best[0]]:
            fewer = best[0] - {name}
            verdict = attempt(fewer)
            if _near(verdict):
                best = fewer, verdict
    return best


def _near(verdict: Verdict) -> bool:
    """Whether the answers are as near as to pass on other pictures too."""
    close = 1 - verdict.cosine_mean <= SPARE_COSINE * (1 - LEAST_COSINE)
    return verdict.passed and close and verdict.changed <= SPARE_CHANGES * MOST_CHANGED * verdict.n_sure


def _plan(model: onnx.ModelProto, layers: Sequence[Layer], seen: Seen) -> _Plan:
    made_by = _makers(model)
    scales = {}
    for name, values in seen.values.items():
        scales[name] = activation_scale(np.concatenate(values), *seen.extremes[name])
    scales = {name: scales.get(_origin(name, made_by), scale) for name, scale in scales.items()}
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    weights = {}
    for layer in layers:
        rows = rows_of(constants[layer.weights], layer.transposed)
        bias = constants[layer.bias] if layer.bias else np.zeros(len(rows), np.float32)
        weights[layer.name] = round_weights(rows, bias, seen.moments[layer.name], scales[layer.input].step)
    return _Plan(model, layers, scales, weights)


def _makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def _origin(name: str, made_by: Mapping[str, onnx.NodeProto]) -> str:
    """The tensor whose values `name` holds: what stood before operators that only move values."""
    while (node := made_by.get(name)) is not None and node.op_type in MOVERS:
        name = node.input[0]
    return name


def _answers(model: onnx.ModelProto, samples: Iterable[Tensors]) -> Outputs:
    """What a graph answers, before the softmax."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(before_softmax(model), path)
        return outputs_of(OnnxSession(path), samples)


def _damages(
    plan: _Plan, samples: Sequence[Tensors], classes: bool, progress: Callable[[str], None]
) -> dict[str, float]:
    """How far each layer alone, in 8 bits, moves the outputs: mean square error over mean square."""
    reference = _answers(plan.model, samples)
    found = {}
    for layer in plan.layers:
        answers = _answers(_write(plan, {layer.name}), samples)
        found[layer.name] = max(_error(reference[name], answers[name], classes) for name in reference)
        progress(f"{layer.name} alone: error {found[layer.name]:.2e}")
    return found


def _error(
    reference: Sequence[Shaped[np.ndarray, "..."]], answers: Sequence[Shaped[np.ndarray, "..."]], classes: bool
) -> float:
    """What all class scores have in common is no error: the softmax does not see it."""
    errors = []
    for a, b in zip(reference, answers, strict=True):
        a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        if classes and a.size > 1:
            a, b = a - a.mean(), b - b.mean()
        errors.append(float(np.sum((a - b) ** 2) / max(float(np.sum(a**2)), 1e-12)))
    return float(np.mean(errors))


def _write(plan: _Plan, chosen: AbstractSet[str]) -> onnx.ModelProto:
    """The model with the chosen layers in 8 bits: their weights, biases, inputs and outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(plan.model)
    graph = model.graph
    made_by = _makers(model)
    ends = {output.name for output in graph.output}
    scales: dict[str, Scale] = {}
    before: dict[str, list[onnx.NodeProto]] = {}
    for layer in plan.layers:
        if layer.name not in chosen:
            continue
        before[layer.name] = _put_weights(graph, layer, plan.weights[layer.name], plan.scales[layer.input].step)
        # Runtimes merge a convolution with what rounds its output, and take a Gemm's as it is.
        for name in (layer.input, layer.output) if graph.node[layer.node].op_type == "Conv" else (layer.input,):
            scale = plan.scales[name]
            while name not in ends:
                scales.setdefault(name, scale)
                node = made_by.get(name)
                if node is None or node.op_type not in MOVERS:
                    break
                name = node.input[0]
    nodes = [node for each in graph.input if each.name in scales for node in _pair(graph, each.name, scales[each.name])]
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in scales:
                node.input[index] = f"{name}_dequantised"
        nodes += [*before.get(node.output[0], ()), node]
        nodes += [each for name in node.output if name in scales for each in _pair(graph, name, scales[name])]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _pair(graph: onnx.GraphProto, name: str, scale: Scale) -> list[onnx.NodeProto]:
    """Round a tensor to 8 bits, and back: runtimes merge the pair into the operators around it."""
    step, zero = f"{name}_step", f"{name}_zero"
    _put(graph, step, np.array(scale.step, np.float32))
    _put(graph, zero, np.array(scale.zero, np.uint8))
    return [
        helper.make_node("QuantizeLinear", [name, step, zero], [f"{name}_quantised"]),
        helper.make_node("DequantizeLinear", [f"{name}_quantised", step, zero], [f"{name}_dequantised"]),
    ]


def _put_weights(graph: onnx.GraphProto, layer: Layer, weights: Weights, step: float) -> list[onnx.NodeProto]:
    """Store a layer's weights and bias as integers; the nodes that make them real again."""
    old = {each.name: each for each in graph.initializer if each.name in (layer.weights, layer.bias)}
    whole = weights.whole.T if layer.transposed else weights.whole.reshape(old[layer.weights].dims)
    for constant in old.values():
        graph.initializer.remove(constant)
    bias = f"{layer.name}_bias"
    for name, value, steps in (
        (layer.weights, whole, weights.steps),
        (bias, weights.whole_bias(step), weights.steps * np.float32(step)),
    ):
        _put(graph, f"{name}_whole", value)
        _put(graph, f"{name}_steps", steps)
        _put(graph, f"{name}_zeros", np.zeros(len(steps), value.dtype))
    node = graph.node[layer.node]
    del node.input[1:]
    node.input.extend([f"{layer.weights}_real", f"{bias}_real"])
    return [
        helper.make_node(
            "DequantizeLinear",
            [f"{name}_whole", f"{name}_steps", f"{name}_zeros"],
            [f"{name}_real"],
            axis=int(layer.transposed and name == layer.weights),
        )
        for name in (layer.weights, bias)
    ]


def _put(graph: onnx.GraphProto, name: str, value: Shaped[np.ndarray, "..."]) -> None:
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
