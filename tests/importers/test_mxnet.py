"""MXNet's networks: beside what MXNet gave for them, hostile, and damaged."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from foreign.case import run_graph
from glia.core.errors import ImportFailed
from glia.importers.mxnet import IMPORTER
from glia.importers.mxnet_ops.files import LIST_MAGIC, V1, V2, V3, read_params
from glia.importers.parity import compare
from importers.mutate import mutations

RECORDED = np.load(Path(__file__).parent / "fixtures" / "mxnet.npz")
NAMES = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in RECORDED))


def read(folder: Path, symbol: bytes, params: bytes, **options: object):
    """The graph that is made of two files."""
    (folder / "a").write_bytes(symbol)
    (folder / "b").write_bytes(params)
    return IMPORTER.read({"x": folder / "a", "y": folder / "b"}, options)["model"]


def files_of(name: str) -> tuple[bytes, bytes]:
    return RECORDED[f"{name}/symbol"].tobytes(), RECORDED[f"{name}/params"].tobytes()


def outputs_of(name: str) -> list[np.ndarray]:
    return [RECORDED[key] for key in RECORDED if key.startswith(f"{name}/output")]


@pytest.mark.parametrize("name", NAMES)
def test_each_operator_gives_what_mxnet_gives(tmp_path: Path, name: str):
    data = RECORDED[f"{name}/input"]
    graph = read(tmp_path, *files_of(name), input_shapes={"data": list(data.shape)})
    found = list(run_graph(graph)({"data": data}).values())
    expected = outputs_of(name)
    assert len(found) == len(expected)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_rows_and_columns_stay_open_where_nothing_says_their_number(tmp_path: Path):
    for name in ("convolutions", "deconvolution", "classifier"):
        graph = read(tmp_path, *files_of(name))
        shape = graph.model.graph.input[0].type.tensor_type.shape
        assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["n", 4, "h", "w"]
        (found,) = run_graph(graph)({"data": RECORDED[f"{name}/input"]}).values()
        np.testing.assert_allclose(found, outputs_of(name)[0], rtol=1e-4, atol=1e-5)
        assert list(graph.inputs) == ["image"]
        assert list(graph.outputs) == ["scores"]


def test_the_size_may_be_asked_for(tmp_path: Path):
    graph = read(tmp_path, *files_of("classifier"), input_size=[6, 7])
    assert [dim.dim_value for dim in graph.model.graph.input[0].type.tensor_type.shape.dim[2:]] == [6, 7]
    with pytest.raises(ImportFailed, match="its weights take 24 numbers"):
        read(tmp_path, *files_of("classifier"), input_size=9)


def test_outputs_may_be_asked_for_by_their_nodes(tmp_path: Path):
    graph = read(tmp_path, *files_of("classifier"), outputs=["fc", "a_output"])
    assert [value.name for value in graph.model.graph.output] == ["fc_output", "a_output"]
    with pytest.raises(ImportFailed, match="No node is called 'fd'"):
        read(tmp_path, *files_of("classifier"), outputs="fd")


def test_each_layer_is_told_with_what_became_of_it(tmp_path: Path):
    layers = read(tmp_path, *files_of("classifier")).layers
    assert [layer.kind for layer in layers] == [
        "Convolution", "Pooling", "Flatten", "FullyConnected", "SoftmaxOutput",
    ]  # fmt: skip
    assert layers[0].parameters == 6 * 4 * 9 + 6


def test_labels_that_lie_beside_are_known(tmp_path: Path):
    (tmp_path / "synset.txt").write_text("".join(f"n0000000{n} thing {n}\n" for n in range(5)))
    symbol, params = files_of("classifier")
    (tmp_path / "a").write_bytes(symbol)
    (tmp_path / "b").write_bytes(params)
    files = {name: tmp_path / name for name in ("a", "b", "synset.txt")}
    known = IMPORTER.read(files, {})["model"].known
    assert known["labels"] == [f"thing {n}" for n in range(5)]
    assert known["label_ids"][4] == "n00000004"


def test_a_flipped_kernel_and_a_moved_pad_are_seen_by_parity(tmp_path: Path):
    name = "convolutions"
    data, expected = RECORDED[f"{name}/input"], outputs_of(name)[0]
    graph = read(tmp_path, *files_of(name))
    (output,) = graph.outputs.values()
    kernel = next(i for i in graph.model.graph.initializer if len(i.dims) == 4 and i.dims[2] == 3)
    flipped = np.ascontiguousarray(onnx.numpy_helper.to_array(kernel)[:, :, ::-1, ::-1])
    sound = kernel.SerializeToString()
    kernel.CopyFrom(onnx.numpy_helper.from_array(flipped, kernel.name))
    with pytest.raises(ImportFailed, match="off MXNet"):
        compare(lambda _: {output: expected}, run_graph(graph), [{"data": data}], 1e-4, "MXNet")
    kernel.ParseFromString(sound)
    compare(lambda _: {output: expected}, run_graph(graph), [{"data": data}], 1e-4, "MXNet")
    pads = next(a for n in graph.model.graph.node for a in n.attribute if a.name == "pads" and any(a.ints))
    pads.ints[:] = [0, 0, 2, 0]
    with pytest.raises(ImportFailed, match="off MXNet"):
        compare(lambda _: {output: expected}, run_graph(graph), [{"data": data}], 1e-4, "MXNet")


def symbol_of(*nodes: Mapping[str, object]) -> bytes:
    """A chain: each node reads the one before it."""
    rows = [{"op": "null", "name": "data", "inputs": [], "attrs": {"__shape__": "(1, 3, 8, 8)"}}]
    rows += [{"inputs": [[at, 0, 0]], **node} for at, node in enumerate(nodes)]
    return json.dumps({"nodes": rows, "arg_nodes": [0], "heads": [[len(nodes), 0, 0]]}).encode()


def params_of(arrays: Mapping[str, np.ndarray], version: int | None = V2) -> bytes:
    """A list of arrays in the form of a version; None is the oldest."""
    parts = [LIST_MAGIC, struct.pack("<Q", len(arrays))]
    kinds = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}
    for array in arrays.values():
        if version in (V2, V3):
            parts.append(struct.pack("<Ii", version, 0))
        elif version is not None:
            parts.append(struct.pack("<I", version))
        parts.append(struct.pack(f"<i{array.ndim}{'I' if version is None else 'q'}", array.ndim, *array.shape))
        parts.append(struct.pack("<3i", 1, 0, kinds[array.dtype.name]) + array.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    parts += [struct.pack("<Q", len(name)) + name.encode() for name in arrays]
    return b"".join(parts)


@pytest.mark.parametrize("version", [None, V1, V2, V3])
def test_arrays_of_every_version_are_read(version: int | None):
    draw = np.random.default_rng(0)
    kinds = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
    arrays = {f"arg:{kind}": (draw.normal(size=(2, 3)) * 9).astype(kind) for kind in kinds}
    found = read_params(params_of(arrays, version), "a.params")
    for kind in kinds:
        expected = arrays[f"arg:{kind}"].astype(np.float32 if kind.startswith("float") else kind)
        np.testing.assert_array_equal(found[kind], expected, strict=True)


def test_old_files_know_statistics_by_their_names(tmp_path: Path):
    symbol, params = files_of("batch norm, learned")
    rows = json.loads(symbol)
    for row in rows["nodes"]:
        if row["op"] == "BatchNorm":
            row["inputs"] = row["inputs"][:3]
        row["param"] = row.pop("attrs", {})
    graph = read(tmp_path, json.dumps(rows).encode(), params)
    (found,) = run_graph(graph)({"data": RECORDED["batch norm, learned/input"]}).values()
    np.testing.assert_allclose(found, outputs_of("batch norm, learned")[0], rtol=1e-4, atol=1e-5)


def test_everything_unsupported_is_told_at_once(tmp_path: Path):
    symbol = symbol_of(
        {"op": "Correlation", "name": "one"},
        {"op": "relu", "name": "fine"},
        {"op": "Pooling", "name": "two", "attrs": {"kernel": "(2,2)", "pool_type": "lp"}},
    )
    with pytest.raises(ImportFailed) as error:
        read(tmp_path, symbol, params_of({}))
    assert "1 layers" in error.value.message  # what comes after the first has no input, and is no fault of its own
    assert "one (Correlation): this operator is not supported" in error.value.message
    twice = json.loads(symbol)
    twice["nodes"][3]["inputs"] = [[0, 0, 0]]
    twice["heads"] = [[2, 0, 0], [3, 0, 0]]
    with pytest.raises(ImportFailed, match=r"2 layers .*one \(Correlation\).*two \(Pooling\): the pooling 'lp'"):
        read(tmp_path, json.dumps(twice).encode(), params_of({}))


def test_detection_ends_before_boxes_are_chosen(tmp_path: Path):
    rows = json.loads(symbol_of({"op": "relu", "name": "scores"}, {"op": "tanh", "name": "places"}))
    rows["nodes"].append({"op": "_contrib_MultiBoxDetection", "name": "boxes", "inputs": [[1, 0], [2, 0]]})
    rows["heads"] = [[3, 0, 0]]
    graph = read(tmp_path, json.dumps(rows).encode(), params_of({}))
    assert list(graph.outputs) == ["scores_output", "places_output"]
    assert "boxes are not computed" in graph.notes[0]


HOSTILE = {
    "an array of 10^15": LIST_MAGIC + struct.pack("<QIiI3q", 1, V2, 0, 3, 10**5, 10**5, 10**5) + bytes(64),
    "a rank of 2^31": LIST_MAGIC + struct.pack("<QIiI", 1, V2, 0, 2**31 - 1) + bytes(64),
    "a negative size": LIST_MAGIC + struct.pack("<QIiI2q3i", 1, V2, 0, 2, -1, -4, 1, 0, 0) + bytes(64),
    "a count of 2^60": LIST_MAGIC + struct.pack("<Q", 2**60),
    "a sparse array": LIST_MAGIC + struct.pack("<QIi", 1, V2, 1) + bytes(64),
    "an unknown type": LIST_MAGIC + struct.pack("<QIiIq3i", 1, V2, 0, 1, 1, 1, 0, 99) + bytes(64),
    "a name of 2^40": params_of({"a": np.ones(1, np.float32)})[:-9] + struct.pack("<Q", 2**40) + b"a",
    "NaN": params_of({"a": np.array([np.nan], np.float32)}),
    "bytes at the end": params_of({"a": np.ones(1, np.float32)}) + b"x",
    "no names": params_of({"a": np.ones(1, np.float32)})[:-17] + bytes(8),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_arrays_that_lie_fail_the_import(tmp_path: Path, name: str):
    with pytest.raises(ImportFailed):
        read(tmp_path, symbol_of({"op": "relu", "name": "r"}), HOSTILE[name])


def test_graphs_that_lie_fail_the_import(tmp_path: Path):
    sound = {"op": "null", "name": "data"}
    for value in (
        {"nodes": [{"op": "relu", "name": "r", "inputs": [[0, 0, 0]]}, sound], "heads": [[0, 0]]},
        {"nodes": [sound], "heads": [[5, 0]]},
        {"nodes": [sound], "heads": []},
        {"nodes": [sound, {"op": "relu", "name": "r", "inputs": [["0", 0]]}], "heads": [[1, 0]]},
        {"nodes": [sound, {"op": "relu", "name": 5}], "heads": [[1, 0]]},
        {"nodes": [sound, {"op": "while", "name": "w", "inputs": [[0, 0]], "subgraphs": [{}]}], "heads": [[1, 0]]},
    ):
        with pytest.raises(ImportFailed):
            read(tmp_path, json.dumps(value).encode(), params_of({}))


def test_damaged_files_fail_the_import_and_nothing_else(tmp_path: Path):
    symbol, params = files_of("classifier")
    damaged = [(one, params) for one in mutations(symbol, 120, 1)] + [(symbol, one) for one in mutations(params, 80, 2)]
    for one in damaged:
        began = time.monotonic()
        try:
            read(tmp_path, *one)
        except ImportFailed as error:
            assert len(error.message) < 20_000  # noqa: PT017
        assert time.monotonic() - began < 5


def test_it_answers_for_its_own_files_only():
    symbol, params = files_of("classifier")
    assert IMPORTER.sniff(symbol, len(symbol))
    assert IMPORTER.sniff(params, len(params))
    for other in (b"", b"{}", b'{"nodes": []}', b"\x80\x02", b"layer { name: 'a' }", b'{"node": [{"op": "Const"}]}'):
        assert not IMPORTER.sniff(other, len(other))
