"""TFLite: each operator against what LiteRT gave, published networks, damaged files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
import onnxruntime
import pytest

from foreign.case import run_case
from foreign.tflite import FIXTURES as RECORDS
from foreign.tflite import LONG, cases, probes_of, thinned
from glia.core.errors import ImportFailed
from glia.importers.importer import ImportedGraph
from glia.importers.parity import compare
from glia.importers.sniff import importer_for
from glia.importers.tflite import IMPORTER
from glia.importers.tflite_ops import RULES
from glia.importers.tflite_ops.model import read_model
from glia.importers.tflite_ops.network import clean
from importers.mutate import mutations
from importers.tflite_networks import NETWORKS, SAME, VALID, file_of, inputs_of
from importers.tflite_probes import pictured
from importers.tflite_writer import Writer

LAYERS = dict(np.load(RECORDS / "layers.npz"))
HASHES = dict(zip(NETWORKS, LAYERS["sha256"], strict=True))
STEPS = {"quantised_convolutions": 1, "quantised_arithmetic": 1, "quantised_at_the_border_of_floats": 1}
STEPS |= {"quantised_to_16_bits": 6, "weights_of_bytes_data_of_floats": 1}
"""Networks that round, and how many steps of a quantised output may differ: of ties."""
ONE_ITEM = {"detection", "shapes", "slices", "fills", "running_sums_of_items", "items_times_items"}


@pytest.fixture
def read(tmp_path: Path):
    def read_bytes(data: bytes, **options: object) -> ImportedGraph:
        (tmp_path / "file").write_bytes(data)
        return IMPORTER.read({"model": tmp_path / "file"}, options)["model"]

    return read_bytes


def session(graph: ImportedGraph) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # no sums of 16 bits on older processors
    return onnxruntime.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(graph: ImportedGraph, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    network = session(graph)
    (count,) = {len(value) for value in feed.values() if value.ndim} or {1}
    for value in network.get_inputs():
        if value.name.startswith("state_") and value.name not in feed:
            feed = feed | {value.name: np.zeros([count, *value.shape[1:]], np.float32)}
    names = [output.name for output in network.get_outputs()]
    return dict(zip(names, network.run(names, feed), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_give_what_litert_gave(read, name: str):
    data = file_of(name)
    graph, at, ties = read(data), 0, list[float]()
    found = read_model(data, name).graph
    empty = {"sha256": HASHES[name]} | {f"{probe}:{place}": np.zeros(0) for probe in range(1) for place in range(99)}
    for feed, outs in probes_of(data, name, empty, inputs_of):
        given = run(graph, feed)
        assert len(given) == len(found.outputs) + len([name for name in graph.inputs if name.startswith("state_")])
        for tensor, _ in outs:
            value = np.asarray(given[clean(tensor.name)], np.float64)
            expected = LAYERS[name][at : at + value.size].astype(np.float64)
            at += value.size
            scale = float(tensor.quantised.scale[0]) if tensor.quantised else 0
            if scale:
                expected = (expected - tensor.quantised.zero[0]) * scale
            allowed = STEPS.get(name, 0) * (scale or 0.05) * 1.01 + 2e-5 * max(1, np.abs(expected).max())
            np.testing.assert_allclose(value.reshape(-1), expected, rtol=0, atol=allowed, err_msg=tensor.name)
            ties += (np.abs(value.reshape(-1) - expected) > max(allowed / 2, 1e-3)).tolist()
    assert np.mean(ties) <= (0.05 if name in STEPS else 0)
    assert at == LAYERS[name].size


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_gives_what_its_items_give_one_by_one(read, name: str):
    data = file_of(name)
    graph = read(data)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.model.graph.input}
    if any(not dims or dims[0].dim_param != "n" for dims in shapes.values()):
        assert name in ONE_ITEM, "the batch could not be opened"
        assert any("batch" in note for note in graph.notes)
        return
    assert name not in ONE_ITEM
    ins = [read_model(data, name).graph.tensors[index] for index in read_model(data, name).graph.inputs]
    many = inputs_of([((3, *tensor.shape[1:]), tensor.kind) for tensor in ins], name, 7)
    feed = {
        clean(tensor.name): value.astype(np.float32) * 0.02 if tensor.quantised else value
        for tensor, value in zip(ins, many, strict=True)
    }
    together = run(graph, feed)
    for item in range(3):
        alone = run(graph, {key: value[item : item + 1] for key, value in feed.items()})
        for key, value in alone.items():
            np.testing.assert_allclose(together[key][item : item + 1], value, atol=1e-5)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_networks_keep_their_numbers(case):
    outcome = run_case(case)
    assert outcome.words == "passed"


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_published_networks_agree_with_litert_in_direction_and_best_class(case):
    path = next(iter(case.files.values()))
    recorded = dict(np.load(RECORDS / f"{case.name}.npz"))
    graph = IMPORTER.read(case.files, {})["model"]
    for feed, outs in probes_of(path.read_bytes(), case.name, recorded, pictured):
        given = run(graph, feed)
        for tensor, numbers in outs:
            value = thinned(given[clean(tensor.name)], numbers.size).astype(np.float64)
            q = tensor.quantised
            expected = (numbers.astype(np.float64) - q.zero[0]) * q.scale[0] if q else numbers.astype(np.float64)
            expected = expected.reshape(-1)
            cosine = value @ expected / np.sqrt((value @ value) * (expected @ expected))
            assert cosine >= 0.999
            if case.name not in LONG:
                assert value.argmax() == expected.argmax()


def test_no_network_is_here_without_the_shared_folder():
    if not cases():
        pytest.skip("the published files are not on this machine")
    assert len(cases()) == 16


def test_quantised_weights_stay_bytes_and_every_layer_is_told(read):
    graph = read(file_of("quantised_convolutions"))
    kinds = [node.op_type for node in graph.model.graph.node]
    assert kinds.count("Conv") == 3
    assert kinds.count("DequantizeLinear") == kinds.count("QuantizeLinear") + 6
    assert {tensor.data_type for tensor in graph.model.graph.initializer if len(tensor.dims) == 4} == {3}
    assert [layer.kind for layer in graph.layers] == ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]
    assert all(layer.parameters for layer in graph.layers)
    assert "Clip" in kinds


def test_a_changed_kernel_makes_parity_fail(read):
    graph = read(file_of("conv_stride_and_asymmetric_same"))
    (shape, kind), name = ((1, 9, 8, 3), "float32"), "conv_stride_and_asymmetric_same"
    feed = {"t0": inputs_of([(shape, kind)], name)[0]}
    expected = run(graph, feed)
    for tensor in graph.model.graph.initializer:
        if len(tensor.dims) == 4:
            values = np.frombuffer(tensor.raw_data, np.float32).reshape(tensor.dims)[:, :, ::-1]
            tensor.raw_data = values.tobytes()
            break
    with pytest.raises(ImportFailed, match="off LiteRT"):
        compare(lambda _: expected, lambda x: run(graph, x), [feed], 1e-4, "LiteRT")


def test_all_that_is_missing_is_told_at_once(read):
    w = Writer()
    x = w.input((1, 4))
    y = w.op("CUSTOM FlexErf", [x])
    z = w.op("CUSTOM edgetpu-custom-op", [w.op("RELU", [y])])
    w.op("WHILE", [x])
    with pytest.raises(ImportFailed, match="3 layers") as error:
        read(w.finish([z]))
    for part in ("FlexErf", "TFLITE_BUILTINS", "accelerator", "loops"):
        assert part in error.value.message


def test_options_end_the_network_and_change_its_size(read):
    data = file_of("conv_stride_and_asymmetric_same")
    graph = read(data, outputs=["t3"], input_size=[12, 10])
    assert [output.name for output in graph.model.graph.output] == ["t3"]
    assert run(graph, {"t0": np.zeros((1, 12, 10, 3), np.float32)})["t3"].shape == (1, 4, 5, 4)
    for wrong in ({"outputs": ["x"]}, {"outputs": []}, {"input_size": [1]}, {"input_size": "1"}, {"size": 3}):
        with pytest.raises(ImportFailed, match="option"):
            read(data, **wrong)


def test_sizes_that_the_file_leaves_open_stay_open(read):
    def network(**more: object) -> bytes:
        w, rng = Writer(), np.random.default_rng(0)
        kernel, bias = rng.normal(size=(4, 3, 3, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)
        x = w.input((1, 9, 8, 3), **more)
        parts = [w.constant(kernel), w.constant(bias)]
        y = w.op("CONV_2D", [x, *parts], padding=SAME, stride_w=2, stride_h=2, activation=1)
        y = w.op("MAX_POOL_2D", [y], padding=SAME, stride_w=2, stride_h=2, filter_w=2, filter_h=2)
        y = w.op("RESHAPE", [w.op("MEAN", [y, w.constant([1, 2])], keep=True), w.constant([-1, 4])])
        return w.finish([w.op("SOFTMAX", [y], beta=1.0)])

    graph = read(network(signature=(-1, -1, -1, 3)))
    (output,), (shown,) = graph.outputs.values(), graph.model.graph.input
    assert [dim.dim_param or dim.dim_value for dim in shown.type.tensor_type.shape.dim] == ["n", "h", "w", 3]
    for size in ((9, 8), (12, 7), (5, 10)):
        x = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
        fixed = run(read(network(), input_size=list(size)), {"t0": x})
        np.testing.assert_allclose(run(graph, {"t0": x})[output], fixed[output], atol=1e-6)


def test_labels_come_from_the_file_or_from_beside_it(tmp_path: Path):
    w = Writer()
    w.metadata["TFLITE_METADATA"] = metadata("labels.txt", 127.5, 128.0)
    network = w.finish([w.op("RELU", [w.input((1, 4, 4, 3))])])
    packed = io.BytesIO(network)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    (tmp_path / "net.tflite").write_bytes(packed.getvalue())
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    known = IMPORTER.read({"model": tmp_path / "net.tflite"}, {})["model"].known
    assert known == {
        "labels": ("cat", "dog"), "mean": (127.5,) * 3, "std": (128.0,) * 3, "size": (4, 4), "colour": "rgb"
    }  # fmt: skip
    files = {"model": tmp_path / "net.tflite", "labels": tmp_path / "names.txt"}
    assert IMPORTER.read(files, {})["model"].known["labels"] == ("one", "two", "three")
    (tmp_path / "names.txt").write_bytes(b"\0\1")
    with pytest.raises(ImportFailed, match="neither"):
        IMPORTER.read(files, {})


def metadata(name: str, mean: float, std: float) -> bytes:
    """What TensorFlow Lite Support writes: one picture in, one list of scores out."""
    w = Writer()
    numbers = w._table([("floats", 0, [mean]), ("floats", 1, [std])])
    image = w._table([("<B", 0, 2), ("table", 1, w._table([("<b", 0, 1)]))])
    into = w._table([("table", 3, image), ("tables", 4, [w._table([("<B", 0, 1), ("table", 1, numbers)])])])
    out = w._table([("tables", 6, [w._table([("text", 0, name), ("<b", 2, 2)])])])
    graph = w._table([("tables", 2, [into]), ("tables", 3, [out])])
    assert isinstance(w.builder, flatbuffers.Builder)
    w.builder.Finish(w._table([("tables", 3, [graph])]), b"M001")
    return bytes(w.builder.Output())


def test_a_state_comes_in_and_leaves(read):
    w, rng = Writer(), np.random.default_rng(0)
    features, times = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32)
    bias = rng.normal(size=2).astype(np.float32)
    places = [w.input((1, 3)), w.constant(features), w.constant(times), w.constant(bias)]
    y = w.op("SVDF", [*places, w.tensor((1, 20), variable=True)], rank=2)
    graph = read(w.finish([y]))
    state, past = np.zeros((2, 20), np.float32), np.zeros((2, 4, 5))
    for _ in range(7):
        x = rng.normal(size=(2, 3)).astype(np.float32)
        found = run(graph, {"t0": x, "state_0": state})
        past = np.concatenate([past[:, :, 1:], (x @ features.T)[:, :, None]], 2)
        expected = (past * times).sum(2).reshape(2, 2, 2).sum(2) + bias
        np.testing.assert_allclose(found[clean("t5")], expected, atol=1e-5)
        state = found[graph.outputs["state_0_next"]]


def test_the_bytes_decide_and_other_formats_are_let_be(tmp_path: Path):
    (tmp_path / "x").write_bytes(file_of("blocks"))
    assert importer_for({"x": tmp_path / "x"}).format == "tflite"
    for head in (b"", b"TFL3", b"\x1c\0\0\0TFL2", b"PK\3\4" + bytes(60), b"\xff\xff\xff\xffTFL3" + bytes(60)):
        assert not IMPORTER.sniff(head, len(head))


@pytest.mark.parametrize("name", ["conv_stride_and_asymmetric_same", "quantised_by_training", "lstm_cut", "detection"])
def test_damaged_files_are_refused_or_read(read, name: str):
    for data in mutations(file_of(name), 60, 0):
        try:
            read(data)
        except ImportFailed:
            continue


def test_shapes_that_need_more_than_the_file_are_refused(read):
    w = Writer()
    x = w.input((1, 2))
    huge = w.tensor((1 << 15, 1 << 15), buffer=1)
    w.buffers.append(bytes(8))
    with pytest.raises(ImportFailed, match="cannot be"):
        read(w.finish([w.op("ADD", [x, huge])]))
    w = Writer()
    x, short = w.input((1, 2)), w.tensor((1, 2), buffer=1)
    w.buffers.append(bytes(4))
    with pytest.raises(ImportFailed, match="needs 8 bytes"):
        read(w.finish([w.op("ADD", [x, short])]))
    w = Writer()
    y = w.op("ADD", [w.input((1, 2)), w.constant(np.array([1, np.nan], np.float32))])
    with pytest.raises(ImportFailed, match="NaN"):
        read(w.finish([y]))


def test_every_operator_of_the_vocabulary_is_a_name_of_the_format():
    from glia.importers.tflite_ops.names import BUILTIN, FIELDS

    assert set(FIELDS) <= set(BUILTIN)
    assert {kind for kind in RULES if not kind.startswith("CUSTOM ")} <= set(BUILTIN)
    assert VALID == 1
