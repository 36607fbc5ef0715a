"""The guard: what gives other answers is out, and is told why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from jaxtyping import Float32
from onnx import TensorProto, helper, numpy_helper

from glia.core.session import Tensors
from glia.runtime.guard import LEAST_N, before_softmax, compare, judge, outputs_of
from glia.runtime.onnx_session import OnnxSession

CLASSES = 5


def logits(n: int, seed: int = 0) -> Float32[np.ndarray, "n classes"]:
    return (3 * np.random.default_rng(seed).standard_normal((n, CLASSES))).astype(np.float32)


def network(*tail: onnx.NodeProto, rank: int = 2, weight_scale: float | None = None) -> onnx.ModelProto:
    """A linear layer, then the nodes of `tail`, the last of which makes `scores`.

    With `weight_scale` the weights are int8, in steps of so much (QDQ).
    """
    weights = np.random.default_rng(1).standard_normal((8, CLASSES)).astype(np.float32)
    first = [helper.make_node("MatMul", ["row", "weights"], ["logits"])]
    constants: dict[str, Any] = {"weights": weights}
    if weight_scale is not None:
        whole = np.clip(np.round(weights / weight_scale), -128, 127).astype(np.int8)
        constants = {"whole": whole, "scale": np.float32(weight_scale), "zero": np.int8(0)}
        first.insert(0, helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["weights"]))
    constants |= {"back": np.array([0, CLASSES, 1, 1], np.int64), "step": np.float32(1 / 255), "none": np.uint8(0)}
    graph = helper.make_graph(
        [*first, *tail],
        "linear",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES, 1, 1][:rank])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def rows(n: int) -> list[Tensors]:
    return [{"row": row} for row in np.random.default_rng(2).standard_normal((n, 8)).astype(np.float32)]


def outputs(model: onnx.ModelProto, folder: Path, n: int = LEAST_N) -> dict[str, list[np.ndarray]]:
    path = folder / "graph.onnx"
    onnx.save(model, path)
    return outputs_of(OnnxSession(path), rows(n))


def softmax(scores: np.ndarray) -> np.ndarray:
    grown = np.exp(scores - scores.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


SOFTMAX = helper.make_node("Softmax", ["logits"], ["scores"], axis=-1)


def test_the_same_outputs_pass() -> None:
    scores = logits(300)
    verdict = compare(scores, scores.copy(), classes=True)
    assert verdict.passed
    assert (verdict.n, verdict.changed) == (300, 0)
    assert verdict.n_sure > 200
    assert verdict.cosine_mean == pytest.approx(1)
    assert "same answers on 300 pictures" in verdict.reason


def test_too_few_pictures_are_not_judged() -> None:
    scores = logits(LEAST_N - 1)
    verdict = compare(scores, scores, classes=True)
    assert not verdict.passed
    assert verdict.reason == "not judged: expected at least 256 pictures, received 255"


def test_a_picture_is_sure_where_its_two_best_probabilities_are_a_tenth_apart() -> None:
    apart = np.log([[0.30, 0.21, 0.49 / 3, 0.49 / 3, 0.49 / 3], [0.31, 0.205, 0.485 / 3, 0.485 / 3, 0.485 / 3]])
    reference = np.repeat(apart, [200, 100], axis=0) + 7  # logits are known up to a constant
    swapped = reference[:, [1, 0, 2, 3, 4]]
    verdict = compare(reference, swapped, classes=True)
    assert (verdict.n_sure, verdict.changed) == (100, 100)
    assert "100 of 100 sure pictures change their top-1 (100.0%, at most 1%)" in verdict.reason


def test_unsure_pictures_may_change_their_answer() -> None:
    reference = np.log(np.tile([0.25, 0.24, 0.17, 0.17, 0.17], (300, 1)))
    verdict = compare(reference, reference[:, [1, 0, 2, 3, 4]], classes=True)
    assert verdict.passed
    assert verdict.n_sure == 0
    assert "only the cosine counts" in verdict.reason


def test_one_in_a_hundred_may_change_and_not_more() -> None:
    reference = np.tile(np.array([9.0, 8.6, 8.0, 8.0, 8.0]), (300, 1))
    for changes, passed in ((3, True), (4, False)):
        candidate = reference.copy()
        candidate[:changes, :2] = candidate[:changes, 1::-1]
        verdict = compare(reference, candidate, classes=True)
        assert (verdict.n_sure, verdict.changed, verdict.passed) == (300, changes, passed)


def test_probabilities_are_taken_as_they_are() -> None:
    probabilities = softmax(logits(300).astype(np.float64))
    assert compare(probabilities, probabilities, classes=True).n_sure > 200


def test_without_classes_only_the_cosine_counts() -> None:
    reference = np.tile(np.array([9.0, 8.6, 8.0, 8.0, 8.0]), (300, 1))
    swapped = reference[:, [1, 0, 2, 3, 4]]
    assert not compare(reference, swapped, classes=True).passed
    verdict = compare(reference, swapped, classes=False)
    assert verdict.passed
    assert (verdict.n_sure, verdict.changed) == (0, 0)


def test_another_direction_is_told_with_its_figure() -> None:
    reference = logits(300)
    verdict = compare(reference, reference + 0.5 * logits(300, seed=5), classes=False)
    assert not verdict.passed
    assert verdict.cosine_min <= verdict.cosine_mean < 0.999
    assert f"mean cosine of the outputs is {verdict.cosine_mean:.5f} (at least 0.999)" in verdict.reason


def test_a_vector_of_zeros_points_nowhere() -> None:
    reference = logits(300)
    nothing = np.zeros_like(reference)
    assert compare(nothing, nothing, classes=False).passed
    assert compare(reference, nothing, classes=False).cosine_mean == 0


def test_other_shapes_other_counts_and_nan_are_refused() -> None:
    reference = logits(300)
    broken = reference.copy()
    broken[7, 2] = np.nan
    assert "the candidate gives infinities or NaN on 1 of 300" in compare(reference, broken, True).reason
    assert "the fp32 graph gives infinities or NaN" in compare(broken, reference, True).reason
    assert "of 300 pictures, received 299" in compare(reference, reference[1:], True).reason
    assert "expected an output of shape [5], received [4]" in compare(reference, reference[:, 1:], True).reason


def test_outputs_of_other_names_are_refused() -> None:
    scores = list(logits(300))
    assert "expected the outputs scores, received logits" in judge({"scores": scores}, {"logits": scores}, True).reason
    assert judge({"scores": scores}, {"scores": scores}, True).passed


def test_the_worst_output_decides() -> None:
    good, bad = list(logits(300)), list(logits(300, seed=3))
    verdict = judge({"a": good, "b": good}, {"a": good, "b": bad}, classes=False)
    assert not verdict.passed


def test_a_broken_int8_candidate_is_rejected_and_a_careful_one_is_not(tmp_path: Path) -> None:
    reference = outputs(before_softmax(network(SOFTMAX)), tmp_path)
    careful = outputs(before_softmax(network(SOFTMAX, weight_scale=0.025)), tmp_path)
    broken = outputs(before_softmax(network(SOFTMAX, weight_scale=2.5)), tmp_path)
    assert judge(reference, careful, classes=True).passed
    verdict = judge(reference, broken, classes=True)
    assert not verdict.passed
    assert "change their top-1" in verdict.reason
    assert "mean cosine" in verdict.reason


TAILS = {
    "softmax": ([SOFTMAX], 2),
    "log-softmax": ([helper.make_node("LogSoftmax", ["logits"], ["scores"], axis=-1)], 2),
    "reshaped": (
        [
            helper.make_node("Softmax", ["logits"], ["soft"], axis=-1),
            helper.make_node("Cast", ["soft"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["cast", "back"], ["reshaped"]),
            helper.make_node("Identity", ["reshaped"], ["scores"]),
        ],
        4,
    ),
}


@pytest.mark.parametrize("weight_scale", [None, 0.025], ids=["fp32", "int8"])
@pytest.mark.parametrize("kind", TAILS)
def test_the_cut_graph_gives_the_logits(kind: str, weight_scale: float | None, tmp_path: Path) -> None:
    tail, rank = TAILS[kind]
    model = network(*tail, rank=rank, weight_scale=weight_scale)
    before = model.SerializeToString()
    cut = before_softmax(model)
    onnx.checker.check_model(cut, full_check=True)
    assert model.SerializeToString() == before
    assert not {"Softmax", "LogSoftmax", "Reshape"} & {node.op_type for node in cut.graph.node}
    whole, logits = outputs(model, tmp_path)["scores"], outputs(cut, tmp_path)["scores"]
    again = softmax(np.stack(logits))
    expected = np.stack(whole).reshape(again.shape)
    np.testing.assert_allclose(again, np.exp(expected) if kind == "log-softmax" else expected, atol=1e-6)


def test_a_quantised_output_is_cut_too() -> None:
    model = network(
        helper.make_node("Softmax", ["logits"], ["soft"], axis=-1),
        helper.make_node("QuantizeLinear", ["soft", "step", "none"], ["small"]),
        helper.make_node("DequantizeLinear", ["small", "step", "none"], ["scores"]),
    )
    cut = before_softmax(model)
    assert [node.op_type for node in cut.graph.node] == ["MatMul", "Identity"]
    assert [constant.name for constant in cut.graph.initializer] == ["weights"]


def test_what_has_no_softmax_at_its_end_stays_as_it_is() -> None:
    plain = network(helper.make_node("Identity", ["logits"], ["scores"]))
    assert before_softmax(plain) == plain
    inner = network(
        helper.make_node("Softmax", ["logits"], ["soft"], axis=-1),
        helper.make_node("Mul", ["soft", "soft"], ["scores"]),
    )
    assert before_softmax(inner) == inner


def test_a_softmax_that_others_need_stays_for_them() -> None:
    model = network(SOFTMAX, helper.make_node("Mul", ["scores", "scores"], ["squared"]))
    model.graph.output.append(helper.make_tensor_value_info("squared", TensorProto.FLOAT, ["n", CLASSES]))
    cut = before_softmax(model)
    onnx.checker.check_model(cut, full_check=True)
    assert [node.op_type for node in cut.graph.node] == ["MatMul", "Softmax", "Mul", "Identity"]
