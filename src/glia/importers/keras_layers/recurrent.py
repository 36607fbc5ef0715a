"""LSTM, GRU and SimpleRNN, both ways, with states going in and out, and with steps that do not count.

ONNX takes time first and gates in another order: Keras' LSTM keeps i f c o, ONNX i o f c; the GRU's z r h are the same.
A mask leaves steps out wherever they lie: the steps that count are moved to the front, the layer runs over as many as
there are, and every step then shows the last output up to it, as Keras does.

Source: keras/layers/recurrent.py of Keras 1.2.2 and 2.3.1; ONNX operators LSTM-14, GRU-14, RNN-14.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.graph import GraphWriter
from glia.importers.keras_layers.activations import recurrent
from glia.importers.keras_layers.scope import Applied, Array, Rule

OPS = {
    "LSTM": ("LSTM", 4),
    "GRU": ("GRU", 3),
    "SimpleRNN": ("RNN", 1),
    "CuDNNLSTM": ("LSTM", 4),
    "CuDNNGRU": ("GRU", 3),
}
OLD_ORDER = {"LSTM": (0, 2, 1, 3), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
"""Keras 1 keeps the gates one by one: i c f o; Keras 2 side by side: i f c o."""
ONNX_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}


@dataclass(frozen=True)
class Cell:
    """Arrays of one direction in ONNX's order: W [1, gates u, in], R [1, gates u, u], B [1, 2 gates u]."""

    op: str
    units: int
    w: Array
    r: Array
    b: Array
    reset_after: bool


def _arrays(call: Applied, arrays: Sequence[Array], units: int) -> tuple[Array, Array, Array | None]:
    """Kernel, recurrent kernel and bias with the gates side by side, in Keras 2's order."""
    kind = call.spec.kind
    gates = OPS[kind][1]
    if gates > 1 and len(arrays) == 3 * gates and kind in OLD_ORDER:
        order = OLD_ORDER[kind]
        parts = [[arrays[3 * gate + part] for gate in order] for part in range(3)]
        if any(array.ndim != rank for part, rank in zip(parts, (2, 2, 1), strict=True) for array in part):
            raise ImportFailed("its arrays have other shapes than Keras 1 gives them")
        joined = [np.concatenate(part, axis=-1) for part in parts]
        return joined[0], joined[1], joined[2]
    if len(arrays) not in (2, 3):
        raise ImportFailed(f"expected 2 or 3 arrays, the file holds {len(arrays)} for it")
    kernel, recur = arrays[0], arrays[1]
    bias = arrays[2] if len(arrays) == 3 else None
    if kind.startswith("CuDNN"):
        kernel, recur = _from_cudnn(kernel, recur, gates, units)
    return kernel, recur, bias


def _from_cudnn(kernel: Array, recur: Array, gates: int, units: int) -> tuple[Array, Array]:
    """CuDNN's layers keep each gate's matrix by columns."""
    if kernel.ndim != 2 or kernel.shape[1] != gates * units or recur.shape != (units, gates * units):
        raise ImportFailed(f"its kernels have the shapes {list(kernel.shape)} and {list(recur.shape)}")
    kernel = np.hstack([gate.T.reshape(gate.shape, order="F") for gate in np.hsplit(kernel, gates)])
    return kernel, np.hstack([gate.T for gate in np.hsplit(recur, gates)])


def _cell(call: Applied, arrays: Sequence[Array], into: object) -> Cell:
    """The arrays of one direction, checked and in ONNX's order."""
    op, gates = OPS[call.spec.kind]
    units = call.integer("units", least=1)
    kernel, recur, bias = _arrays(call, arrays, units)
    wide = gates * units
    if kernel.ndim != 2 or kernel.shape[1] != wide or recur.shape != (units, wide) or kernel.shape[0] != into:
        raise ImportFailed(
            f"its kernels have the shapes {list(kernel.shape)} and {list(recur.shape)}, expected [{into}, {wide}] and "
            f"[{units}, {wide}]"
        )
    both = np.zeros((2, wide), np.float32)
    reset_after = False
    if bias is not None:
        if bias.size == 2 * wide:
            both, reset_after = bias.reshape(2, wide), True
        elif bias.size == wide:
            both[0] = bias.reshape(wide)
        else:
            raise ImportFailed(f"its bias has the shape {list(bias.shape)}, expected {wide} numbers")
    reset_after = (reset_after or call.config.get("reset_after") is True) and op == "GRU"

    def ordered(array: Array) -> Array:
        parts = np.split(array, gates, axis=-1)
        return np.concatenate([parts[gate] for gate in ONNX_ORDER[op]], axis=-1)

    w, r = ordered(kernel).T[None], ordered(recur).T[None]
    return Cell(op, units, w, r, ordered(both).reshape(1, -1), reset_after)


@dataclass(frozen=True)
class Outcome:
    """What one direction gives: all outputs [n, t, u], the last one and the states [n, u]."""

    all: str
    last: str
    states: list[str]


def _attributes(call: Applied, cell: Cell) -> dict[str, Any]:
    """Activations and sizes. Keras' CuDNN layers have fixed ones."""
    scope = call.scope
    fixed = call.spec.kind.startswith("CuDNN")
    main = recurrent(scope, "tanh" if fixed else call.config.get("activation", "tanh"))
    default = "sigmoid" if scope.version >= (2, 4) else "hard_sigmoid"
    gate = recurrent(scope, "sigmoid" if fixed else call.config.get("recurrent_activation", default))
    chosen = {"LSTM": [gate, main, main], "GRU": [gate, main], "RNN": [main]}[cell.op]
    found: dict[str, Any] = {"hidden_size": cell.units, "activations": [name for name, _ in chosen]}
    for key in ("alpha", "beta"):
        values = [values[key] for _, values in chosen if key in values]
        if values:
            found[f"activation_{key}"] = values
    if cell.op == "GRU":
        found["linear_before_reset"] = int(cell.reset_after)
    return found


def run(
    call: Applied, arrays: Sequence[Array], x: str, mask: str | None, backwards: bool, states: Sequence[str], zero: bool
) -> Outcome:
    """One direction over x [n, t, in]; the outputs stand where their steps stand.

    Steps that do not count show the last output, or zeros where `zero` is set.
    """
    graph = call.graph
    cell = _cell(call, arrays, graph.shape(x)[-1])
    first = graph.transpose(x, [1, 0, 2])
    parts = [call.constant(part, array) for part, array in (("W", cell.w), ("R", cell.r), ("B", cell.b))]
    starts = [graph.node("Unsqueeze", [state, graph.ints("axes", [0])]) for state in states]
    attributes = _attributes(call, cell)
    if mask is None:
        attributes["direction"] = "reverse" if backwards else "forward"
    lengths, order = "", None
    if mask is not None:
        order, lengths = _order(graph, mask, backwards)
        first = graph.transpose(_pick(graph, x, order), [1, 0, 2])
    inputs = [first, *parts, lengths, *starts]
    while not inputs[-1]:
        inputs.pop()
    outputs = graph.nodes(cell.op, inputs, 3 if cell.op == "LSTM" else 2, call.hint, **attributes)
    axis = graph.ints("axes", [1])
    rows = graph.transpose(graph.node("Squeeze", [outputs[0], axis]), [1, 0, 2])
    ends = [graph.node("Squeeze", [state, graph.ints("axes", [0])]) for state in outputs[1:]]
    if mask is not None:
        rows = _spread(graph, rows, mask, backwards)
        if zero or call.flag("zero_output_for_mask", False):
            counted = graph.node("Cast", [mask], to=1)
            rows = graph.node("Mul", [rows, graph.node("Unsqueeze", [counted, graph.ints("axes", [-1])])])
    return Outcome(rows, ends[0], ends)


# -- masks -------------------------------------------------------------------------------------------------------------


def _order(graph: GraphWriter, mask: str, backwards: bool) -> tuple[str, str]:
    """Indices [n, t] that bring the steps that count to the front, and how many there are [n]."""
    counted = graph.node("Cast", [mask], to=6)
    number = _steps(graph, mask)
    place = graph.node(
        "Range", [graph.constant("zero", np.array(0, np.int64)), number, graph.constant("one", np.array(1, np.int64))]
    )
    place = graph.node("Neg", [place]) if backwards else place
    far = graph.node(
        "Mul",
        [
            graph.node("Sub", [graph.constant("one", np.array(1, np.int64)), graph.node("Cast", [mask], to=7)]),
            graph.constant("far", np.array(1 << 24, np.int64)),
        ],
    )
    key = graph.node("Add", [place, far])
    count = graph.node("Unsqueeze", [number, graph.ints("axes", [0])])
    indices = graph.nodes("TopK", [key, count], 2, axis=-1, largest=0, sorted=1)[1]
    return indices, graph.node("ReduceSum", [counted, graph.ints("axes", [1])], keepdims=0)


def _steps(graph: GraphWriter, mask: str) -> str:
    """The number of steps, a scalar."""
    shape = graph.node("Shape", [mask])
    return graph.node("Gather", [shape, graph.constant("at", np.array(1, np.int64))], axis=0)


def _pick(graph: GraphWriter, x: str, indices: str) -> str:
    """x [n, t, f] at indices [n, t]."""
    wide = graph.node("Unsqueeze", [indices, graph.ints("axes", [-1])])
    return graph.node("GatherND", [x, wide], batch_dims=1)


def _spread(graph: GraphWriter, rows: str, mask: str, backwards: bool) -> str:
    """Each step's last output up to it, out of the outputs of the steps that count; zero before the first."""
    counted = graph.node("Cast", [mask], to=6)
    number = graph.node("CumSum", [counted, graph.constant("axis", np.array(1, np.int32))], reverse=int(backwards))
    at = graph.node("Sub", [graph.node("Cast", [number], to=7), graph.constant("one", np.array(1, np.int64))])
    some = graph.node("Max", [at, graph.constant("zero", np.array(0, np.int64))])
    picked = _pick(graph, rows, some)
    started = graph.node(
        "Cast", [graph.node("GreaterOrEqual", [at, graph.constant("zero", np.array(0, np.int64))])], to=1
    )
    return graph.node("Mul", [picked, graph.node("Unsqueeze", [started, graph.ints("axes", [-1])])])


# -- layers ------------------------------------------------------------------------------------------------------------


def _states(call: Applied) -> list[str]:
    """States that the call gives: further inputs, or the keyword `initial_state`."""
    given = list(call.inputs[1:]) or call.keywords.get("initial_state") or []
    given = given if isinstance(given, list) else [given]
    if not all(isinstance(state, str) for state in given):
        raise unsupported("constants as initial state")
    return [call.plain(state) for state in given]


def _checked(call: Applied) -> str:
    """The input, and what is not supported of the settings."""
    x = call.plain()
    if call.graph.rank(x) != 3:
        raise ImportFailed(f"it needs an input of 3 axes, received {list(call.graph.shape(x))}")
    if call.config.get("time_major") is True:
        raise unsupported("time before batch (`time_major`)")
    if call.config.get("stateful") is True:
        call.scope.note(f"{call.name} was stateful: each run now begins with states of zero")
    return x


def _mask(call: Applied) -> str | None:
    return call.scope.masks.get(call.x)


def _layer(call: Applied) -> str | list[str]:
    x, mask = _checked(call), _mask(call)
    backwards = call.flag("go_backwards", False)
    got = run(call, call.weights, x, mask, backwards, _states(call), False)
    y = got.last
    if call.flag("return_sequences", False):
        y = _turned(call.graph, got.all) if backwards else got.all
        if mask is not None and not backwards:
            call.scope.masks[y] = mask
    return [y, *got.states] if call.flag("return_state", False) else y


def _turned(graph: GraphWriter, rows: str) -> str:
    """The steps in the order in which they were done."""
    bounds = {"starts": -1, "ends": np.iinfo(np.int64).min, "axes": 1, "steps": -1}
    return graph.node("Slice", [rows, *(graph.ints(name, [bound]) for name, bound in bounds.items())])


def _bidirectional(call: Applied) -> str | list[str]:
    """A layer forwards and another backwards; their outputs are joined."""
    forward = call.spec.wrapped[0]
    backward = call.spec.wrapped[1] if len(call.spec.wrapped) > 1 else forward
    if forward.kind not in OPS or backward.kind not in OPS:
        raise unsupported(f"both directions of a layer {forward.kind[:100]}")
    if len(call.weights) % 2:
        raise ImportFailed(f"expected an even number of arrays, the file holds {len(call.weights)}")
    half = len(call.weights) // 2
    sides = [
        Applied(call.scope, f"{call.name}/{side}", spec, call.inputs, arrays, call.keywords)
        for side, spec, arrays in (
            ("forward", forward, call.weights[:half]),
            ("backward", backward, call.weights[half:]),
        )
    ]
    x, mask, states = _checked(sides[0]), _mask(call), _states(call)
    starts = [states[: len(states) // 2], states[len(states) // 2 :]]
    zero = call.scope.is_tf  # tf.keras and Keras 3 show zeros here, and only here
    got = [run(side, side.weights, x, mask, at == 1, starts[at], zero) for at, side in enumerate(sides)]
    sequences = sides[0].flag("return_sequences", False)
    pair = [one.all if sequences else one.last for one in got]
    mode = call.config.get("merge_mode", "concat")
    ends = [state for one in got for state in one.states] if sides[0].flag("return_state", False) else []
    if mode is None:
        return [*pair, *ends]
    y = _joined(call, mode, pair)
    if mask is not None and sequences:
        call.scope.masks[y] = mask
    return [y, *ends] if ends else y


def _joined(call: Applied, mode: object, pair: list[str]) -> str:
    graph = call.graph
    if mode == "concat":
        return graph.node("Concat", pair, call.hint, axis=-1)
    if mode in ("sum", "ave"):
        total = graph.node("Add", pair, call.hint)
        return total if mode == "sum" else graph.node("Mul", [total, graph.scalar("half", 0.5)])
    if mode == "mul":
        return graph.node("Mul", pair, call.hint)
    raise unsupported(f"joining directions by {str(mode)[:50]!r}")


RULES: dict[str, Rule] = {**dict.fromkeys(OPS, _layer), "Bidirectional": _bidirectional}
