"""Operators that are a step, or all steps, of a recurrent layer.

Source: tensorflow/core/ops/rnn_ops.cc and tensorflow/core/kernels/rnn/.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.tensorflow_ops.call import Call, Rule, Value, checked_axis
from glia.importers.tensorflow_ops.loops import split, stack

GATES, GATES_V2 = "icfo", "ifco"
"""The order of the gates in the weights: input, candidate, forget, output; in the second version another."""


def _gates(call: Call, tensor: str, count: int) -> list[str]:
    """Equal parts along the last axis."""
    width = call.graph.known_shape(tensor, [-1])[0]
    if width % count:
        raise ImportFailed(f"{width} numbers are no {count} gates; the file is damaged")
    sizes = call.ints_constant([width // count] * count)
    return call.graph.nodes("Split", [tensor, sizes], count, call.hint, axis=-1)


def _lstm_step(call: Call, x: str, cell: str, state: str, rest: Sequence[str]) -> list[str]:
    """One step: i, cs, f, o, ci, co, h of LSTMBlockCell; `rest`: w, wci, wcf, wco, b."""

    def write(op: str, *inputs: str) -> str:
        return call.graph.node(op, list(inputs), call.hint)

    weights, peepholes, bias = rest[0], rest[1:4], rest[4]
    both = call.graph.node("Concat", [x, state], call.hint, axis=1)
    newer = call.node.op == "BlockLSTMV2"
    gates = dict(
        zip(
            GATES_V2 if newer else GATES,
            _gates(call, write("Add", write("MatMul", both, weights), bias), 4),
            strict=True,
        )
    )
    peeps = call.attribute("use_peephole", False)

    def peeped(gate: str, held: str, peephole: str) -> str:
        return write("Add", gate, write("Mul", held, peephole)) if peeps else gate

    extra = 0.0 if newer else call.attribute("forget_bias", 1.0)
    forget = write("Add", gates["f"], call.graph.scalar("forget_bias", extra)) if extra else gates["f"]
    i = write("Sigmoid", peeped(gates["i"], cell, peepholes[0]))
    f = write("Sigmoid", peeped(forget, cell, peepholes[1]))
    ci = write("Tanh", gates["c"])
    cs = write("Add", write("Mul", ci, i), write("Mul", cell, f))
    clip = call.attribute("cell_clip", 0.0 if newer else 3.0)
    if clip > 0:
        bounds = [call.graph.scalar("cell_clip", sign * clip) for sign in (-1, 1)]
        cs = write("Clip", cs, *bounds)
    o = write("Sigmoid", peeped(gates["o"], cs, peepholes[2]))
    co = write("Tanh", cs)
    return [i, cs, f, o, ci, co, write("Mul", co, o)]


def _lstm_cell(call: Call) -> list[Value]:
    """LSTMBlockCell: x, cs, h, w, wci, wcf, wco, b."""
    x, cell, state, *rest = (call.tensor(index) for index in range(8))
    return list(_lstm_step(call, x, cell, state, rest))


def _lstm(call: Call) -> list[Value]:
    """BlockLSTM: all steps of x (time, batch, channels), whose number must be known. Its first input is that number."""
    steps = call.layout.known_shape(call.handle(1), [0])[0]
    most = call.value(0)
    if most is not None and int(most.ravel()[0]) < steps:
        raise ImportFailed(f"{int(most.ravel()[0])} of {steps} steps are taken, which is not supported")
    _, cell, state, *rest = (call.tensor(index) for index in range(1, 9))
    rows = []
    for x in split(call, call.tensor(1), steps, 0):
        rows.append(_lstm_step(call, x, cell, state, rest))
        cell, state = rows[-1][1], rows[-1][6]
    return [stack(call, column) for column in zip(*rows, strict=True)]


def _gru_cell(call: Call) -> list[Value]:
    """GRUBlockCell: x, h, w of the gates, w of the candidate, and their biases; gives r, u, c, h."""

    def write(op: str, *inputs: str) -> str:
        return call.graph.node(op, list(inputs), call.hint)

    x, state, gates, candidate, gates_bias, candidate_bias = (call.tensor(index) for index in range(6))
    both = call.graph.node("Concat", [x, state], call.hint, axis=1)
    r, u = _gates(call, write("Sigmoid", write("Add", write("MatMul", both, gates), gates_bias)), 2)
    reset = call.graph.node("Concat", [x, write("Mul", state, r)], call.hint, axis=1)
    c = write("Tanh", write("Add", write("MatMul", reset, candidate), candidate_bias))
    rest = write("Mul", write("Sub", call.graph.scalar("one", 1), u), c)
    return [r, u, c, write("Add", write("Mul", u, state), rest)]


def _reverse_sequence(call: Call) -> str:
    """The first so many of each row backwards; batch and time are axes 0 and 1 in ONNX."""
    rank = call.rank(0)
    time, batch = (checked_axis(call.attribute(name, at), rank) for name, at in (("seq_dim", 1), ("batch_dim", 0)))
    if {time, batch} != {0, 1}:
        raise ImportFailed(f"to reverse sequences along the axes {time} and {batch} is not supported")
    lengths = call.graph.node("Cast", [call.tensor(1)], call.hint, to=7)
    return call.write("ReverseSequence", [call.tensor(0), lengths], time_axis=time, batch_axis=batch)


def _roll(call: Call) -> str:
    """Numbers that leave an axis at its end come in at its beginning."""
    tensor, rank = call.tensor(0), call.rank(0)
    for shift, axis in zip(call.ints(1, "the shift"), call.ints(2, "the axes"), strict=True):
        where = checked_axis(axis, rank)
        (size,) = call.graph.known_shape(tensor, [where])
        index = np.roll(np.arange(size, dtype=np.int64), shift)
        tensor = call.graph.node("Gather", [tensor, call.ints_constant(index.tolist())], call.hint, axis=where)
    return tensor


RULES: dict[str, Rule] = {
    "LSTMBlockCell": _lstm_cell,
    "BlockLSTM": _lstm,
    "BlockLSTMV2": _lstm,
    "GRUBlockCell": _gru_cell,
    "ReverseSequence": _reverse_sequence,
    "Roll": _roll,
}
