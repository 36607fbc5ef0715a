"""int8 on a tiny network: it answers as before, damaging layers stay in float, and what cannot be done is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from glia.core.errors import InputError
from glia.core.session import Tensors
from glia.runtime.guard import LEAST_COSINE, before_softmax, judge, outputs_of
from glia.runtime.layers import find_layers, observe
from glia.runtime.onnx_session import OnnxSession
from glia.runtime.quantise import quantise

CLASSES = 6


def network(opset: int = 17, spread: float = 1.0) -> onnx.ModelProto:
    """Convolution, pool, depthwise and pointwise with a shortcut, Gemm, softmax.

    `spread` multiplies one channel of the shortcut: the larger, the worse 8 bits fit it.
    """
    random = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    uneven = weights(8, 8, 1, 1)
    uneven[3] *= spread
    dense = 4 * weights(8, CLASSES)
    dense[3] /= spread
    constants = {
        "w1": weights(8, 3, 3, 3), "b1": weights(8), "w2": weights(8, 1, 3, 3), "b2": weights(8),
        "w3": uneven, "w4": dense, "b4": weights(CLASSES), "zero": np.float32(0), "six": np.float32(6),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], group=8, auto_pad="SAME_UPPER"),
        helper.make_node("Clip", ["c2", "zero", "six"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["c3"]),
        helper.make_node("Add", ["c3", "p1"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pictures(n: int, seed: int = 1) -> list[Tensors]:
    """Smooth noise with a colour of its own."""
    random = np.random.default_rng(seed)
    coarse = random.standard_normal((n, 3, 4, 4)).repeat(4, 2).repeat(4, 3)
    return [{"image": each.astype(np.float32)} for each in coarse + 2 * random.standard_normal((n, 3, 1, 1))]


def answers(model: onnx.ModelProto, path: Path, samples: list[Tensors]) -> dict[str, list[np.ndarray]]:
    onnx.save(before_softmax(model), path)
    return outputs_of(OnnxSession(path), samples)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    onnx.save(network(), tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


def test_pictures_that_it_never_saw_get_their_answers(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    lines: list[str] = []
    found = quantise(stored, pictures(256), out, classes=True, progress=lines.append)
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    others = pictures(300, seed=9)
    verdict = judge(answers(network(), tmp_path / "a.onnx", others), answers(model, tmp_path / "b.onnx", others), True)
    assert verdict.passed, verdict.reason
    assert found.verdict.passed
    assert set(found.layers) | set(found.floats) == {"c1", "c2", "c3", "logits"}
    assert lines


def test_weights_and_biases_are_integers_and_the_batch_stays_open(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    found = quantise(stored, pictures(256), out, classes=True)
    model = onnx.load(out)
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    assert len(found.layers) == 4
    assert [kinds[f"w{i}_whole"] for i in (1, 2, 3, 4)] == [TensorProto.INT8] * 4
    assert kinds["c3_bias_whole"] == TensorProto.INT32  # it had none, and got one that makes up for rounding
    assert not {"w1", "b1", "w4", "b4"} & set(kinds)
    session = OnnxSession(out)
    batch = np.stack([each["image"] for each in pictures(5)])
    together = session.run({"image": batch})["scores"]
    alone = [session.run({"image": each[None]})["scores"][0] for each in batch]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_what_a_pool_lets_through_keeps_its_scale(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    quantise(stored, pictures(256), out, classes=True)
    steps = {each.name: numpy_helper.to_array(each) for each in onnx.load(out).graph.initializer}
    assert steps["r1_step"] == steps["p1_step"]
    assert "logits_step" not in steps


def test_a_layer_that_8_bits_damage_stays_in_float(tmp_path: Path) -> None:
    path, out = tmp_path / "graph.onnx", tmp_path / "int8.onnx"
    onnx.save(network(spread=400.0), path)
    found = quantise(path, pictures(256), out, classes=True)
    assert found.floats
    assert found.layers
    assert found.verdict.cosine_mean >= LEAST_COSINE
    held = {each.name for each in onnx.load(out).graph.initializer}
    for layer in found.floats:
        assert {"c1": "w1", "c2": "w2", "c3": "w3", "logits": "w4"}[layer] in held


def test_the_same_samples_give_the_same_file(stored: Path, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        quantise(stored, iter(pictures(256)), tmp_path / name, classes=True)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_what_cannot_be_done_is_said(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 256 samples to calibrate with, received 3"):
        quantise(stored, pictures(3), tmp_path / "out.onnx", classes=True)
    onnx.save(network(opset=11), tmp_path / "old.onnx")
    with pytest.raises(InputError, match=r"opset 13 or later.*has 11"):
        quantise(tmp_path / "old.onnx", pictures(256), tmp_path / "out.onnx", classes=True)
    bare = network()
    for node in bare.graph.node:
        for attribute in node.attribute:
            if attribute.name == "alpha":
                node.attribute.remove(attribute)
        if node.op_type == "Gemm":
            node.attribute.append(helper.make_attribute("alpha", 2.0))
    assert [layer.name for layer in find_layers(bare)] == ["c1", "c2", "c3"]
    assert not (tmp_path / "out.onnx").exists()


def test_the_moments_are_those_of_the_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a slow reference: every patch of the convolution, cut out one by one."""
    monkeypatch.setattr("glia.runtime.layers.POSITIONS", 64)  # all of them
    model = network()
    layer = next(each for each in find_layers(model) if each.name == "c1")
    samples = pictures(3)
    found = observe(model, [layer], samples).moments["c1"][0]
    patches = []
    for sample in samples:
        padded = np.pad(sample["image"], ((0, 0), (1, 1), (1, 1)))
        patches += [padded[:, y : y + 3, x : x + 3].ravel() for y in range(0, 16, 2) for x in range(0, 16, 2)]
    whole = np.concatenate([np.array(patches), np.ones((len(patches), 1))], 1)
    assert found[-1, -1] == len(patches) == 3 * 64
    np.testing.assert_allclose(found, whole.T @ whole, rtol=1e-4, atol=1e-3)
