"""The session on ONNX Runtime does what the graph says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from glia.runtime.onnx_session import OnnxSession


def test_a_layer_left_in_float_between_quantised_ones_keeps_its_weights(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = (random.standard_normal((8, 3, 3, 3)) * np.geomspace(1, 1e-3, 8)[:, None, None, None]).astype(np.float32)
    constants = {"w": weights, "b": np.zeros(8, np.float32), "step": np.float32(1 / 64), "zero": np.uint8(128)}
    nodes = []
    for name in ("image", "conv"):
        nodes += [
            helper.make_node("QuantizeLinear", [name, "step", "zero"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "step", "zero"], [f"{name}_dq"]),
        ]
    nodes.insert(2, helper.make_node("Conv", ["image_dq", "w", "b"], ["conv"]))
    nodes.append(helper.make_node("Mul", ["conv_dq", "spread"], ["out"]))
    constants["spread"] = np.geomspace(1, 1e3, 8, dtype=np.float32).reshape(8, 1, 1)
    graph = helper.make_graph(
        nodes,
        "sandwich",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 8, 6, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    image = random.standard_normal((1, 3, 8, 8)).astype(np.float32)
    (wanted,) = ort.InferenceSession(str(path), plain, providers=["CPUExecutionProvider"]).run(None, {"image": image})
    found = OnnxSession(path).run({"image": image})["out"]
    assert np.mean(np.abs(found - wanted) > 1e-3) < 0.005  # a tie may round the other way
