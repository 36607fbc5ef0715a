"""ConvLSTM: an LSTM whose products are convolutions, laid out step by step.

Source: Shi et al. 2015, arXiv:1506.04214, without peepholes, as keras/layers/convolutional_recurrent.py of Keras 2.3.1.
"""

from __future__ import annotations

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.graph import GraphWriter
from glia.importers.keras_layers.activations import activate
from glia.importers.keras_layers.scope import Applied, Rule
from glia.importers.keras_layers.windows import Window, pads

MAX_STEPS = 256
GATES = 4


def _conv_lstm(call: Applied) -> str:
    """[n, t, h, w, c] to the last state, or to all; gates i f c o side by side in the kernels' outputs."""
    graph, last = call.graph, call.is_last()
    if call.scope.masks.get(call.x) or len(call.inputs) > 1 or call.flag("return_state", False):
        raise unsupported("a ConvLSTM with masks, or with states that go in or out,")
    x = call.plain()
    if graph.rank(x) != 5:
        raise ImportFailed(f"it needs an input of 5 axes, received {list(graph.shape(x))}")
    x = graph.transpose(x, [0, 1, 4, 2, 3]) if last else x
    steps, into, height, width = graph.known_shape(x, range(1, 5))
    if steps > MAX_STEPS:
        raise unsupported(f"a ConvLSTM of {steps} steps, more than {MAX_STEPS}")
    out = call.integer("filters", least=1)
    window = Window(
        call.integers("kernel_size", 2), call.integers("strides", 2, 1), call.integers("dilation_rate", 2, 1)
    )
    kernel, recur = (call.weight(at, 4, "a kernel") for at in (0, 1))
    if kernel.shape != (*window.kernel, into, GATES * out) or recur.shape != (*window.kernel, out, GATES * out):
        raise ImportFailed(f"its kernels have the shapes {list(kernel.shape)} and {list(recur.shape)}")
    inputs = [graph.reshape(x, [-1, into, height, width]), call.constant("kernel", kernel.transpose(3, 2, 0, 1))]
    if call.flag("use_bias", True):
        inputs.append(call.constant("bias", call.vector(2, GATES * out)))
    sizes = pads(call, window, (height, width))
    given = graph.node("Conv", inputs, strides=window.strides, dilations=window.dilation, **sizes)
    given = graph.reshape(given, [-1, steps, *graph.known_shape(given, [1, 2, 3])])
    turned = call.constant("recurrent_kernel", recur.transpose(3, 2, 0, 1))
    found = _steps(call, given, turned, window.kernel, steps)
    if not call.flag("return_sequences", False):
        return call.given(found[-1])
    rows = [graph.node("Unsqueeze", [row, graph.ints("axes", [1])]) for row in found]
    y = graph.node("Concat", rows, call.hint, axis=1)
    return graph.transpose(y, [0, 1, 3, 4, 2]) if last else y


def _steps(call: Applied, given: str, turned: str, kernel: list[int], steps: int) -> list[str]:
    """The states after each step; the first one begins from zero."""
    graph = call.graph
    inner = call.config.get("recurrent_activation", "hard_sigmoid")
    main = call.config.get("activation", "tanh")
    around = [(size - 1) // 2 for size in kernel] + [size // 2 for size in kernel]
    state = cell = ""
    found = []
    for step in reversed(range(steps)) if call.flag("go_backwards", False) else range(steps):
        z = _at(graph, given, step)
        if state:
            z = graph.node("Add", [z, graph.node("Conv", [state, turned], pads=around)])
        i, f, g, o = graph.nodes("Split", [z], GATES, axis=1)
        new = graph.node("Mul", [activate(call, i, inner), activate(call, g, main)])
        cell = graph.node("Add", [graph.node("Mul", [activate(call, f, inner), cell]), new]) if cell else new
        state = graph.node("Mul", [activate(call, o, inner), activate(call, cell, main)])
        found.append(state)
    return found


def _at(graph: GraphWriter, rows: str, step: int) -> str:
    picked = graph.node("Gather", [rows, graph.ints("step", [step])], axis=1)
    return graph.node("Squeeze", [picked, graph.ints("axes", [1])])


RULES: dict[str, Rule] = {"ConvLSTM2D": _conv_lstm}
