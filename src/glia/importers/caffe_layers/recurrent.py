"""Recurrent layers, written out step by step: they read whether a sequence goes on, which ONNX's own do not.

Inputs are x (steps, sequences, ...), `cont` (steps, sequences), which is 0 where a sequence begins and 1 where it goes
on, and perhaps what is the same at all steps.
Source: src/caffe/layers/{lstm,lstm_unit,rnn}_layer.cpp of https://github.com/BVLC/caffe
"""

from __future__ import annotations

from math import prod

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.rules import Build, rule
from glia.importers.faults import unsupported

MAX_STEPS = 512
KINDS = {"LSTM", "RNN"}


def _inputs(build: Build, gates: int) -> tuple[list[str], list[str], int]:
    """For each step what x adds to the gates and whether sequences go on; and the index of the next blob."""
    message, graph = build.layer.parameters("recurrent_param", "Recurrent"), build.graph
    x, cont, *static = build.inputs(2, 3)
    if message.expose_hidden:
        raise unsupported("a recurrent layer that shows its state")
    steps = graph.known_shape(x, [0])[0]
    if not 0 < steps <= MAX_STEPS or graph.rank(cont) != 2 or not message.num_output:
        raise ImportFailed(f"it has {steps} steps, expected 1 to {MAX_STEPS}, and `cont` of two axes")
    added, index = _product(build, x, 0, gates * message.num_output, 2), 2
    bias = build.constant("bias", build.weight(1, (gates * message.num_output,)))
    added = graph.node("Add", [added, bias])
    if static:
        added = graph.node("Add", [added, _product(build, static[0], 2, gates * message.num_output, 1)])
        index = 3
    goes_on = graph.node("Unsqueeze", [cont, graph.ints("axes", [2])])
    return _steps(build, added, steps), _steps(build, goes_on, steps), index


def _product(build: Build, x: str, index: int, out: int, axis: int) -> str:
    """Everything from an axis on, times a matrix of the layer."""
    graph = build.graph
    width = prod(graph.known_shape(x, range(axis, graph.rank(x))))
    flat = graph.reshape(x, [*[0] * axis, width]) if graph.rank(x) != axis + 1 else x
    return graph.node("MatMul", [flat, build.constant("matrix", build.weight(index, (out, width)).T)])


def _steps(build: Build, x: str, count: int) -> list[str]:
    axes = build.graph.ints("axes", [0])
    parts = build.graph.nodes("Split", [x], count, "step", axis=0) if count > 1 else [x]
    return [build.graph.node("Squeeze", [part, axes]) for part in parts]


def _joined(build: Build, states: list[str]) -> str:
    axes = build.graph.ints("axes", [0])
    return build.node("Concat", [build.graph.node("Unsqueeze", [state, axes]) for state in states], axis=0)


@rule("LSTM")
def lstm(build: Build) -> str:
    """Gates in the order input, forget, output, new."""
    added, goes_on, index = _inputs(build, 4)
    graph, size = build.graph, build.layer.parameters("recurrent_param", "Recurrent").num_output
    matrix = build.constant("state", build.weight(index, (4 * size, size)).T)
    state, memory, states = "", "", list[str]()
    for gates, cont in zip(added, goes_on, strict=True):
        if state:
            kept = graph.node("Mul", [state, cont])
            gates = graph.node("Add", [gates, graph.node("MatMul", [kept, matrix])])
        parts = graph.nodes("Split", [gates], 4, "gate", axis=1)
        enter, forget, leave = (graph.node("Sigmoid", [part]) for part in parts[:3])
        new = graph.node("Mul", [enter, graph.node("Tanh", [parts[3]])])
        if memory:
            old = graph.node("Mul", [graph.node("Mul", [forget, cont]), memory])
            new = graph.node("Add", [old, new])
        memory = new
        state = graph.node("Mul", [leave, graph.node("Tanh", [memory])])
        states.append(state)
    return _joined(build, states)


@rule("RNN")
def rnn(build: Build) -> str:
    """A state through tanh, and an output of it through another."""
    added, goes_on, index = _inputs(build, 1)
    graph, size = build.graph, build.layer.parameters("recurrent_param", "Recurrent").num_output
    inner, outer = (build.constant("state", build.weight(index + at, (size, size)).T) for at in range(2))
    bias = build.constant("shift", build.weight(index + 2, (size,)))
    state, outputs = "", list[str]()
    for sums, cont in zip(added, goes_on, strict=True):
        if state:
            kept = graph.node("Mul", [state, cont])
            sums = graph.node("Add", [sums, graph.node("MatMul", [kept, inner])])
        state = graph.node("Tanh", [sums])
        outputs.append(graph.node("Tanh", [graph.node("Add", [graph.node("MatMul", [state, outer]), bias])]))
    return _joined(build, outputs)
