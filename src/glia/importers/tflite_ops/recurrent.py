"""What remembers: LSTM and plain recurrent layers over sequences, and cells that keep a state from call to call.

ONNX's own LSTM takes what it can express: gates, peepholes, coupled gates. What it cannot (a cut cell state that may
matter, projections, layer normalisation, states that are quantised) is written step by step.

Source: Hochreiter and Schmidhuber 1997; Sak, Senior and Beaufays 2014, arXiv:1402.1128 (projection, peepholes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.tflite_ops.model import Operator, Tensor
from glia.importers.tflite_ops.network import BATCH, RELU, TANH, Network, activated

Rule = Callable[[Network, Operator], None]
Matrix = Float32[np.ndarray, "..."]
MAX_STEPS = 256
ONNX_ACTIVATIONS = {RELU: "Relu", TANH: "Tanh"}
NORM_EPSILON = 1e-8
GATES = "ifco"  # input, forget, cell, output: the order of the file; ONNX's is i o f c


@dataclass(frozen=True)
class Cell:
    """The weights of an LSTM by gate; without those of the input gate it is coupled: 1 - forget."""

    of_input: Mapping[str, Matrix]
    of_state: Mapping[str, Matrix]
    of_cell: Mapping[str, Matrix]
    """Peepholes; none, or of i (unless coupled), f and o."""
    bias: Mapping[str, Matrix]
    norm: Mapping[str, Matrix]
    projection: Matrix | None
    projection_bias: Matrix | None

    @property
    def size(self) -> int:
        """Numbers in the cell's state."""
        return int(self.of_input["f"].shape[0])

    @property
    def coupled(self) -> bool:
        """Whether the input gate is what the forget gate leaves."""
        return "i" not in self.of_input


def _cell(net: Network, op: Operator, start: int, norm: int | None) -> Cell:
    """The weights, whose first one is input `start`."""

    def some(first: int, gates: str) -> dict[str, Matrix]:
        places = zip(gates, range(first, first + len(gates)), strict=True)
        return {gate: net.constant(op, place).astype(np.float32) for gate, place in places if net.has(op, place)}

    def one(place: int) -> Matrix | None:
        return net.constant(op, place).astype(np.float32) if net.has(op, place) else None

    found = Cell(
        some(start, GATES),
        some(start + 4, GATES),
        some(start + 8, "ifo"),
        _biases(net, op, start + 11),
        some(norm, GATES) if norm is not None else {},
        one(start + 15),
        one(start + 16),
    )
    gates = set("fco") if found.coupled else set(GATES)
    size, width, kept = found.size if "f" in found.of_input else 0, 0, 0
    if gates <= set(found.of_input) & set(found.of_state) & set(found.bias):
        width, kept = found.of_input["f"].shape[-1], found.of_state["f"].shape[-1]
    right = width and all(
        found.of_input[gate].shape == (size, width)
        and found.of_state[gate].shape == (size, kept)
        and found.bias[gate].shape == (size,)
        for gate in gates
    )
    if not right or any(values.shape != (size,) for values in (*found.of_cell.values(), *found.norm.values())):
        raise ImportFailed("its weights do not fit together, expected (cells, in) and (cells, out) for each gate.")
    return found


def _biases(net: Network, op: Operator, first: int) -> dict[str, Matrix]:
    """Biases, whose integers count in steps of the input's scale times the weights', or of the norm's own."""
    found = {}
    for gate, place in zip(GATES, range(first, first + 4), strict=True):
        if not net.has(op, place):
            continue
        tensor, values = net.tensor(op, place), net.constant(op, place)
        data, weights = net.tensor(op, 0).quantised, net.tensor(op, place - 11).quantised if place >= 11 else None
        if tensor.kind == "int32":
            if data is None or weights is None:
                raise unsupported("Biases of integers in a layer of floats")
            values = values * (data.scale[0] * weights.scale[0])
        found[gate] = values.astype(np.float32)
    return found


def _is_zero(net: Network, op: Operator, place: int) -> bool:
    """Whether a state begins at zero: a variable does."""
    if not net.has(op, place):
        return True
    tensor = net.tensor(op, place)
    return tensor.is_variable or (tensor.data is not None and not tensor.numbers.any())


def _time_first(net: Network, op: Operator) -> str:
    """The sequence as (time, batch, in)."""
    if net.rank(op) != 3:
        raise ImportFailed(f"its input has {net.rank(op)} axes, expected 3: batch, time, numbers.")
    tensor = net.last(op)
    return tensor if op.options["time_major"] else net.graph.transpose(tensor, [1, 0, 2], net.hint)


def _give_sequence(net: Network, op: Operator, made: str, position: int = 0) -> None:
    """(time, batch, out) as the order that the layer has."""
    net.give(op, made if op.options["time_major"] else net.graph.transpose(made, [1, 0, 2], net.hint), position)


def _onnx_lstm(net: Network, op: Operator, data: str, cell: Cell, direction: str, states: Sequence[str]) -> str:
    """ONNX's operator; (time, batch, out)."""
    kind = ONNX_ACTIVATIONS.get(op.options["activation"])
    if kind is None:
        raise unsupported(f"An LSTM with the activation {op.options['activation']}")
    tables = [dict(table) for table in (cell.of_input, cell.of_state, cell.bias, cell.of_cell)]
    if cell.coupled:  # 1 - sigmoid(z) is sigmoid(-z)
        for table in tables:
            table.update({"i": -table["f"]} if table else {})
    weights, recurrent, bias = (np.concatenate([table[gate] for gate in "iofc"])[None] for table in tables[:3])
    inputs = [
        data,
        net.graph.constant("weights", weights),
        net.graph.constant("recurrent", recurrent),
        net.graph.constant("bias", np.concatenate([bias, np.zeros_like(bias)], 1)),
        "",
        *(states or ("", "")),
        net.graph.constant("peepholes", np.concatenate([tables[3][gate] for gate in "iof"])[None]) if tables[3] else "",
    ]
    while not inputs[-1]:
        inputs.pop()
    activations = ["Sigmoid", kind, kind]
    made = net.graph.nodes(
        "LSTM", inputs, 1, net.hint, hidden_size=cell.size, direction=direction, activations=activations
    )[0]
    return net.node("Squeeze", [made, net.graph.ints("axes", [1])])


def sequence_lstm(net: Network, op: Operator) -> None:
    """Inputs: data, 4 weights, 4 recurrent ones, 3 peepholes, 4 biases, projection, its bias, 2 states, 4 norms."""
    cell, options = _cell(net, op, 1, 20), op.options
    data = _time_first(net, op)
    steps = net.graph.shape(data)[0]
    clip = abs(float(options["cell_clip"]))
    quantised = net.tensor(op, 0).quantised is not None
    # The cell's state grows by at most 1 a step where what comes in is a tanh.
    may_clip = clip > 0 and (not isinstance(steps, int) or steps > clip or options["activation"] != TANH)
    zero = _is_zero(net, op, 18) and _is_zero(net, op, 19)
    plain = cell.projection is None and not cell.norm and not quantised
    if plain and not (may_clip and zero and isinstance(steps, int) and steps <= MAX_STEPS):
        if may_clip:
            net.notes.append(f"an LSTM's state is not cut at {clip:g}, as the original's is")
        axes = net.graph.ints("axes", [0])
        states = [] if zero else [net.node("Unsqueeze", [net.last(op, place), axes]) for place in (18, 19)]
        _give_sequence(net, op, _onnx_lstm(net, op, data, cell, "forward", states))
        return
    if not zero or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise unsupported(
            f"An LSTM with projection, normalisation or quantised states over {steps} steps (at most {MAX_STEPS}), "
            "or one of them that begins with a state"
        )
    _give_sequence(net, op, _unrolled(net, op, data, cell, steps, clip))


def _unrolled(net: Network, op: Operator, data: str, cell: Cell, steps: int, clip: float) -> str:
    """Step by step from zero; (time, batch, out)."""
    gates = "fco" if cell.coupled else GATES
    weights = np.concatenate([cell.of_input[gate] for gate in gates]).T
    whole = net.node("MatMul", [data, net.graph.constant("weights", weights)])
    if not cell.norm:
        bias = net.graph.constant("bias", np.concatenate([cell.bias[gate] for gate in gates]))
        whole = net.node("Add", [whole, bias])
    parts = net.graph.nodes("Split", [whole, net.graph.ints("parts", [1] * steps)], steps, net.hint, axis=0)
    step = _Step(net, op, cell, gates, clip)
    axes, outputs = net.graph.ints("axes", [0]), []
    for part in parts:
        outputs.append(net.node("Unsqueeze", [step.take(net.node("Squeeze", [part, axes])), axes]))
    return net.node("Concat", outputs, axis=0) if steps > 1 else outputs[0]


class _Step:
    """One step of an LSTM after the other; the states are None before the first."""

    def __init__(self, net: Network, op: Operator, cell: Cell, gates: str, clip: float) -> None:
        self.net, self.op, self.cell, self.gates, self.clip = net, op, cell, gates, clip
        self.hidden: str | None = None
        self.state: str | None = None
        constant = net.graph.constant
        self.recurrent = constant("recurrent", np.concatenate([cell.of_state[gate] for gate in gates]).T)
        self.peepholes = {gate: constant("peephole", values) for gate, values in cell.of_cell.items()}
        self.norms = {
            gate: (constant("norm", cell.norm[gate]), constant("bias", cell.bias[gate])) for gate in cell.norm
        }
        self.split = net.graph.ints("parts", [cell.size] * len(gates))
        self.one = net.graph.scalar("one", 1)
        self.projection = [
            constant("projection", values.T) for values in (cell.projection, cell.projection_bias) if values is not None
        ]

    def take(self, sums: str) -> str:
        """What the input adds to each gate, to the layer's output."""
        net = self.net
        if self.hidden is not None:
            sums = net.node("Add", [sums, net.node("MatMul", [self.hidden, self.recurrent])])
        parts = dict(zip(self.gates, net.graph.nodes("Split", [sums, self.split], len(self.gates), net.hint, axis=1),
                         strict=True))  # fmt: skip
        forget = net.node("Sigmoid", [self._gate("f", parts["f"])])
        enter = net.node("Sub", [self.one, forget]) if self.cell.coupled else net.node(
            "Sigmoid", [self._gate("i", parts["i"])]
        )  # fmt: skip
        new = net.node("Mul", [enter, activated(net, self._gate("c", parts["c"]), self.op.options["activation"])])
        if self.state is not None:
            new = net.node("Add", [net.node("Mul", [forget, self.state]), new])
        self.state = self._kept(self._cut(new, self.clip), 19)
        leave = net.node("Sigmoid", [self._gate("o", parts["o"])])
        made = net.node("Mul", [leave, activated(net, self.state, self.op.options["activation"])])
        if self.projection:
            made = net.node("MatMul", [made, self.projection[0]])
            made = net.node("Add", [made, self.projection[1]]) if len(self.projection) > 1 else made
            made = self._cut(made, abs(float(self.op.options["projection_clip"])))
        self.hidden = self._kept(made, 18)
        return self.hidden

    def _gate(self, gate: str, sums: str) -> str:
        """The sums of a gate with what the cell shows it, normalised where there are norms."""
        net = self.net
        if gate in self.peepholes and self.state is not None:
            sums = net.node("Add", [sums, net.node("Mul", [self.state, self.peepholes[gate]])])
        if gate not in self.norms:
            return sums
        centred = net.node("Sub", [sums, net.node("ReduceMean", [sums], axes=[1], keepdims=1)])
        spread = net.node("ReduceMean", [net.node("Mul", [centred, centred])], axes=[1], keepdims=1)
        root = net.node("Sqrt", [net.node("Add", [spread, net.graph.scalar("epsilon", NORM_EPSILON)])])
        scale, bias = self.norms[gate]
        return net.node("Add", [net.node("Mul", [net.node("Div", [centred, root]), scale]), bias])

    def _cut(self, tensor: str, limit: float) -> str:
        if not limit:
            return tensor
        return self.net.node(
            "Clip", [tensor, self.net.graph.scalar("low", -limit), self.net.graph.scalar("high", limit)]
        )

    def _kept(self, tensor: str, place: int) -> str:
        """A state as its tensor can hold it."""
        held: Tensor | None = self.net.tensor(self.op, place) if self.net.has(self.op, place) else None
        return self.net.rounded(tensor, held) if held is not None and held.quantised is not None else tensor


def both_lstm(net: Network, op: Operator) -> None:
    """Forwards and backwards, each with weights of its own; side by side, or as two outputs."""
    if any(net.has(op, place) for place in range(39, 48)):
        raise unsupported("An auxiliary input of a layer that runs both ways")
    if not all(_is_zero(net, op, place) for place in range(35, 39)):
        raise unsupported("A layer that runs both ways and begins with a state")
    data, made = _time_first(net, op), []
    for start, direction in ((1, "forward"), (18, "reverse")):
        cell = _cell(net, op, start, None)
        if cell.projection is not None or net.tensor(op, 0).quantised is not None:
            raise unsupported("A layer that runs both ways, with projections or quantised,")
        made.append(_onnx_lstm(net, op, data, cell, direction, ()))
    _give_both(net, op, made)


def _give_both(net: Network, op: Operator, made: list[str]) -> None:
    if op.options["merge"]:
        _give_sequence(net, op, net.node("Concat", made, axis=2))
        return
    for position, tensor in enumerate(made):
        _give_sequence(net, op, tensor, position)


def _onnx_rnn(net: Network, op: Operator, data: str, start: int, direction: str) -> str:
    """Inputs from `start` on: weights, recurrent ones, bias; (time, batch, out)."""
    kind = ONNX_ACTIVATIONS.get(op.options["activation"])
    if kind is None:
        raise unsupported(f"A recurrent layer with the activation {op.options['activation']}")
    if not _is_zero(net, op, start + 3):
        raise unsupported("A recurrent layer that begins with a state")
    weights, recurrent, bias = (net.constant(op, start + place).astype(np.float32) for place in range(3))
    inputs = [
        data,
        net.graph.constant("weights", weights[None]),
        net.graph.constant("recurrent", recurrent[None]),
        net.graph.constant("bias", np.concatenate([bias, np.zeros_like(bias)])[None]),
    ]
    made = net.graph.nodes(
        "RNN", inputs, 1, net.hint, hidden_size=weights.shape[0], direction=direction, activations=[kind]
    )[0]
    return net.node("Squeeze", [made, net.graph.ints("axes", [1])])


def sequence_rnn(net: Network, op: Operator) -> None:
    """act(W x + R h + b), step by step."""
    _give_sequence(net, op, _onnx_rnn(net, op, _time_first(net, op), 1, "forward"))


def both_rnn(net: Network, op: Operator) -> None:
    """The same forwards and backwards."""
    if any(net.has(op, place) for place in range(9, 12)):
        raise unsupported("An auxiliary input of a layer that runs both ways")
    data = _time_first(net, op)
    _give_both(net, op, [_onnx_rnn(net, op, data, 1, "forward"), _onnx_rnn(net, op, data, 5, "reverse")])


# -- cells that keep a state from call to call -------------------------------------------------------------------------


def _state(net: Network, op: Operator, place: int) -> str:
    """An input of the graph for a state, which the caller keeps."""
    tensor = net.tensor(op, place)
    if not tensor.shape or not tensor.is_variable:
        raise unsupported("A cell whose state is no variable")
    shape = [BATCH if net.open_batch else tensor.shape[0], *tensor.shape[1:]]
    return net.graph.input(f"state_{len(net.states)}", shape)


def _keep(net: Network, state: str, new: str) -> None:
    net.states.append((state, new))


def svdf(net: Network, op: Operator) -> None:
    """A rank-limited filter over the last inputs. Source: Nakkiran et al. 2015, Compressing Deep Neural Networks."""
    features, times = (net.constant(op, place).astype(np.float32) for place in (1, 2))
    rank = int(op.options["rank"])
    if features.ndim != 2 or times.ndim != 2 or rank < 1 or features.shape[0] != times.shape[0] or len(times) % rank:
        raise ImportFailed(f"its weights of {list(features.shape)} and {list(times.shape)} do not fit rank {rank}.")
    filters, memory = times.shape
    state = _state(net, op, 4)
    new = net.node("MatMul", [net.last(op), net.graph.constant("features", features.T)])
    new = net.node("Unsqueeze", [new, net.graph.ints("axes", [2])])
    past = net.graph.reshape(state, [0, filters, memory], net.hint)
    if memory > 1:
        bounds = [net.graph.ints(name, [value]) for name, value in (("start", 1), ("end", memory), ("axis", 2))]
        new = net.node("Concat", [net.node("Slice", [past, *bounds]), new], axis=2)
    _keep(net, state, net.graph.reshape(new, [0, filters * memory], net.hint))
    weighted = net.node("Mul", [new, net.graph.constant("times", times)])
    parts = net.graph.reshape(weighted, [0, filters // rank, rank * memory], net.hint)
    made = net.node("ReduceSum", [parts, net.graph.ints("axes", [2])], keepdims=0)
    if net.has(op, 3):
        bias = net.constant(op, 3)
        if bias.dtype.kind != "f":
            raise unsupported("A quantised bias of an SVDF layer")
        made = net.node("Add", [made, net.graph.constant("bias", bias)])
    net.give(op, made, activation=op.options["activation"])


def rnn_cell(net: Network, op: Operator) -> None:
    """One step of act(W x + R h + b); the output is the new state."""
    state = _state(net, op, 4)
    weights, recurrent = (
        net.graph.constant("weights", net.constant(op, place).astype(np.float32).T) for place in (1, 2)
    )
    made = net.node("Add", [net.node("MatMul", [net.last(op), weights]), net.node("MatMul", [state, recurrent])])
    made = activated(net, net.node("Add", [made, net.last(op, 3)]), op.options["activation"])
    _keep(net, state, made)
    net.give(op, made)


def lstm_cell(net: Network, op: Operator) -> None:
    """One step of an LSTM; inputs as those of a sequence."""
    if op.options["kernel"]:
        raise unsupported("The basic kernel of LSTM, of five inputs,")
    cell = _cell(net, op, 1, 20)
    gates = "fco" if cell.coupled else GATES
    step = _Step(net, op, cell, gates, abs(float(op.options["cell_clip"])))
    step.hidden, step.state = (_state(net, op, place) for place in (18, 19))
    before = step.hidden, step.state
    weights = net.graph.constant("weights", np.concatenate([cell.of_input[gate] for gate in gates]).T)
    sums = net.node("MatMul", [net.last(op), weights])
    if not cell.norm:
        sums = net.node("Add", [sums, net.graph.constant("bias", np.concatenate([cell.bias[gate] for gate in gates]))])
    made = step.take(sums)
    for state, new in zip(before, (step.hidden, step.state), strict=True):
        _keep(net, state, new)
    net.give(op, made, len(op.outputs) - 1)


RULES: dict[str, Rule] = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": both_lstm,
    "BIDIRECTIONAL_SEQUENCE_RNN": both_rnn,
    "LSTM": lstm_cell,
    "RNN": rnn_cell,
    "SVDF": svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": sequence_lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": sequence_rnn,
}
