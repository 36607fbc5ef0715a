"""The writer of graphs: shapes are known as it goes, constants are computed, shape arithmetic is followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto

from glia.core.errors import ImportFailed
from glia.importers.faults import Faults, input_failed, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.layout import Layout, to_first, to_last
from glia.importers.wire import Schema

RANDOM = np.random.default_rng(3)


def run(model: ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.op_type != "Identity"]


def test_shapes_and_types_are_known_as_soon_as_something_is_written() -> None:
    graph = GraphWriter("net")
    x = graph.input("x", ["n", 3, 8, 8])
    w = graph.constant("w", RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32))
    y = graph.node("Conv", [x, w], strides=[2, 2])
    assert graph.shape(y) == ("n", 4, 3, 3)
    assert graph.dtype(y) == np.float32
    assert graph.known_shape(y, [1, 2]) == (4, 3)
    with pytest.raises(ImportFailed, match="must be known here"):
        graph.known_shape(y)
    with pytest.raises(ImportFailed, match=r"Conv does not take inputs of \['n', 3, 8, 8\], \[5\]"):
        graph.node("Conv", [x, graph.constant("wrong", np.ones(5, np.float32))])


def test_constants_are_computed_and_what_nobody_reads_is_left_out() -> None:
    graph = GraphWriter("net")
    x = graph.input("x", ["n", 4])
    one = graph.constant("one", np.arange(4, dtype=np.float32))
    two = graph.node("Mul", [one, graph.scalar("two", 2)])
    assert graph.value(two) is not None
    graph.node("Relu", [x])
    graph.output("y", graph.node("Add", [x, two]))
    model = graph.model()
    assert operators(model) == ["Add"]
    assert [one.name for one in model.graph.initializer] == [two]
    np.testing.assert_array_equal(run(model, x=np.zeros((1, 4), np.float32))[0], [[0, 2, 4, 6]])


def test_a_reshape_by_computed_sizes_becomes_one_by_a_constant() -> None:
    graph = GraphWriter("net")
    x = graph.input("x", ["n", 2, 3])
    shape = graph.node("Shape", [x])
    batch = graph.node("Slice", [shape, graph.ints("from", [0]), graph.ints("to", [1])])
    rest = graph.node("Mul", [graph.ints("two", [2]), graph.ints("three", [3])])
    wanted = graph.node("Concat", [batch, rest], axis=0)
    assert graph.sizes(wanted) == ("n", 6)
    y = graph.reshape(x, wanted)
    assert graph.shape(y)[1] == 6
    graph.output("y", y)
    model = graph.model()
    assert operators(model) == ["Reshape"]
    assert run(model, x=np.zeros((5, 2, 3), np.float32))[0].shape == (5, 6)


def test_a_shape_that_is_known_is_a_constant() -> None:
    graph = GraphWriter("net")
    shape = graph.node("Shape", [graph.input("x", [2, 3])])
    np.testing.assert_array_equal(graph.value(shape), [2, 3])
    last = graph.node("Gather", [shape, graph.constant("place", np.array(1))])
    assert graph.value(last) == 3
    assert graph.shape(last) == ()


def test_layers_say_what_became_of_them() -> None:
    graph = GraphWriter("net")
    x = graph.input("x", ["n", 3])
    w = graph.constant("w", np.ones((3, 2), np.float32))
    with graph.layer("dense", "InnerProduct"):
        x = graph.node("Relu", [graph.node("MatMul", [x, w])])
    with graph.layer("drop", "Dropout"):
        pass
    with graph.layer("again", "InnerProduct"):  # shares its weights
        graph.node("Add", [x, graph.node("MatMul", [graph.input("z", ["n", 3]), w])])
    dense, drop, again = graph.layers
    assert (dense.nodes, dense.shape, dense.parameters) == (("MatMul", "Relu"), ("n", 2), 6)
    assert (drop.nodes, drop.parameters) == ((), 0)
    assert again.parameters == 0


def channels_last(build: Callable[[GraphWriter, Layout, str], str], shape: list[int | str]) -> ModelProto:
    graph = GraphWriter("net")
    layout = Layout(graph)
    graph.output("y", layout.last(build(graph, layout, graph.input("x", shape))))
    return graph.model()


def test_between_operators_of_channels_first_nothing_is_transposed() -> None:
    kernel = RANDOM.standard_normal((3, 3, 3, 3)).astype(np.float32)
    offset = RANDOM.standard_normal(3).astype(np.float32)

    def build(graph: GraphWriter, layout: Layout, x: str) -> str:
        for _ in range(2):
            w = graph.constant("w", kernel)
            x = layout.promise(graph.node("Conv", [layout.first(x), w], pads=[1, 1, 1, 1]))
            x = layout.pair("Add", x, graph.constant("offset", offset))
            x = layout.each("Relu", x)
        assert layout.shape(x) == ("n", 5, 6, 3)
        both = layout.join([x, x], -1)
        return layout.pair("Mul", both, graph.constant("half", np.array([0.5], np.float32)))

    model = channels_last(build, ["n", 5, 6, 3])
    counts = Counter(operators(model))
    assert counts["Transpose"] == 2
    x = RANDOM.standard_normal((2, 5, 6, 3)).astype(np.float32)
    (found,) = run(model, x=x)
    y = x.transpose(0, 3, 1, 2)
    for _ in range(2):
        padded = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        y = np.maximum(np.einsum("ncijhw,ochw->noij", windows, kernel) + offset[:, None, None], 0)
    expected = np.concatenate([y, y], 1).transpose(0, 2, 3, 1) * 0.5
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("other", [(), (3,), (1, 3), (6, 1), (5, 6, 3), (1, 5, 6, 3), (1, 1, 1, 3)])
def test_operands_of_every_shape_broadcast_as_with_channels_last(other: tuple[int, ...]) -> None:
    value = RANDOM.standard_normal(other).astype(np.float32)

    def build(graph: GraphWriter, layout: Layout, x: str) -> str:
        return layout.pair("Sub", graph.constant("value", value), layout.promise(layout.first(x)))

    x = RANDOM.standard_normal((1, 5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(run(channels_last(build, [1, 5, 6, 3]), x=x)[0], value - x, atol=1e-6)


def test_orders_of_axes_are_inverse_to_each_other() -> None:
    for rank in (3, 4, 5):
        assert [to_first(rank)[axis] for axis in to_last(rank)] == list(range(rank))


def test_all_faults_are_told_at_once_and_those_that_follow_from_them_are_not() -> None:
    faults = Faults("net.pb")
    with faults.of("one", "Fft"):
        raise unsupported("the operator Fft")
    with faults.of("two", "Relu"):
        raise input_failed("its input is missing")
    with faults.of("three", "Loop"):
        raise unsupported("the operator Loop")
    with pytest.raises(ImportFailed, match=r"net.pb: 2 layers .* one \(Fft\): .* three \(Loop\): "):
        faults.check()
    Faults("net.pb").check()


def test_schemas_of_our_own_read_bytes_and_text() -> None:
    messages = {
        "Net": {"name": (1, "string"), "layer": (100, "Layer*")},
        "Layer": {"kind": (1, "Kind"), "data": (5, "float+")},
    }
    schema = Schema("test", messages, {"Kind": {"NONE": 0, "CONV": 4}, "Other": {"NONE": 0}})
    net = schema.parse_text("Net", 'name: "a" layer { kind: CONV data: 1 data: 2 unknown_field: 3 }', "a.txt")
    assert (net.name, net.layer[0].kind, list(net.layer[0].data)) == ("a", 4, [1, 2])
    assert schema.parse("Net", net.SerializeToString(), "a.bin") == net
    for wrong in (b"\x0a\xff", b"\xff" * 20):
        with pytest.raises(ImportFailed, match=r"a.bin: its bytes are no Net"):
            schema.parse("Net", wrong, "a.bin")
    with pytest.raises(ImportFailed, match="its text is no Net"):
        schema.parse_text("Net", "name: {", "a.txt")
