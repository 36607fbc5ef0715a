"""The guard: does a tuned candidate (bf16, int8) still give the answers of the fp32 graph?

    reference = outputs_of(fp32_session, samples)        both sessions on graphs that went through before_softmax
    verdict = judge(reference, outputs_of(candidate_session, samples), classes=bool(card.labels))

Outputs are compared before the softmax, which would hide differences: it squeezes all but the largest scores to zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from jaxtyping import Float64, Shaped

from glia.core.session import Session, Tensors

LEAST_N = 256
"""Pictures below which nothing is judged: 1 % of fewer is decided by one or two of them."""

MARGIN = 0.1
MOST_CHANGED = 0.01
LEAST_COSINE = 0.999

PerPicture = Sequence[Shaped[np.ndarray, "..."]] | Shaped[np.ndarray, "..."]
"""One array a picture, without batch axis; or all of them stacked on axis 0."""

Outputs = Mapping[str, Sequence[Shaped[np.ndarray, "..."]]]
"""Output name to one array a sample, without batch axis."""

SHAPERS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Identity", "QuantizeLinear", "DequantizeLinear"}
"""Operators that may stand between a softmax and the graph's output: they change shape or number format only."""


@dataclass(frozen=True)
class Verdict:
    """What the guard found; `reason` says it in words and figures, passed or not.

    `n` pictures, of which `n_sure` have an fp32 margin above MARGIN, of which `changed` change their top-1
    (both 0 where outputs are no class scores). `cosine_mean` and `cosine_min` are NaN where nothing was compared.
    """

    passed: bool
    n: int
    n_sure: int
    changed: int
    cosine_mean: float
    cosine_min: float
    reason: str


def compare(reference: PerPicture, candidate: PerPicture, classes: bool) -> Verdict:
    """One output on the same n pictures: of the fp32 graph, and of the candidate.

    Passed where the mean over the pictures of the cosine (flattened, in float64) is at least LEAST_COSINE, and, with
    `classes`, at most MOST_CHANGED of the sure pictures change their top-1. A picture is sure where the fp32 margin
    is above MARGIN; the margin is the difference of its two best *probabilities*: the softmax of the outputs, or the
    outputs themselves where they are probabilities already (none negative, sum 1).
    Not passed either: fewer than LEAST_N pictures, shapes that differ, infinities and NaN.
    """
    n = len(reference)
    refused = _refusal(reference, candidate)
    if refused:
        return Verdict(False, n, 0, 0, math.nan, math.nan, refused)
    pairs = [
        (np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel())
        for a, b in zip(reference, candidate, strict=True)
    ]
    cosines = np.array([_cosine(a, b) for a, b in pairs])
    n_sure = changed = 0
    if classes:
        sure = np.array([_margin(a) > MARGIN for a, _ in pairs])
        differs = np.array([a.argmax() != b.argmax() for a, b in pairs])
        n_sure, changed = int(sure.sum()), int((sure & differs).sum())
    mean, least = float(cosines.mean()), float(cosines.min())
    faults = []
    if classes and changed > MOST_CHANGED * n_sure:
        faults.append(
            f"{changed} of {n_sure} sure pictures change their top-1 "
            f"({changed / n_sure:.1%}, at most {MOST_CHANGED:.0%})"
        )
    if mean < LEAST_COSINE:
        faults.append(f"the mean cosine of the outputs is {mean:.5f} (at least {LEAST_COSINE})")
    if faults:
        return Verdict(False, n, n_sure, changed, mean, least, f"other answers on {n} pictures: {'; '.join(faults)}")
    top = f"{changed} of {n_sure} sure pictures change their top-1, " if classes else ""
    if classes and not n_sure:
        top = f"no picture has a margin above {MARGIN}, so only the cosine counts, "
    return Verdict(True, n, n_sure, changed, mean, least, f"same answers on {n} pictures: {top}mean cosine {mean:.5f}")


def judge(reference: Outputs, candidate: Outputs, classes: bool) -> Verdict:
    """Every output compared; the first that fails decides, else the one with the lowest mean cosine.

    `classes`: whether outputs are class scores (the card has labels); otherwise only the cosine counts.
    """
    if set(reference) != set(candidate):
        reason = f"expected the outputs {', '.join(sorted(reference))}, received {', '.join(sorted(candidate))}"
        return Verdict(False, 0, 0, 0, math.nan, math.nan, reason)
    if not reference:
        return Verdict(False, 0, 0, 0, math.nan, math.nan, "the graph has no output to compare")
    verdicts = [compare(reference[name], candidate[name], classes) for name in reference]
    return min(verdicts, key=lambda verdict: (verdict.passed, verdict.cosine_mean))


def outputs_of(session: Session, samples: Iterable[Tensors]) -> dict[str, list[Shaped[np.ndarray, "..."]]]:
    """Every output of every sample, run one by one. Samples and outputs are without batch axis.

    Raises InputError for a sample that the graph does not take.
    """
    found: dict[str, list[Shaped[np.ndarray, "..."]]] = {spec.name: [] for spec in session.outputs}
    for sample in samples:
        values = session.run({name: value[None] for name, value in sample.items()})
        for name, value in values.items():
            found[name].append(value[0])
    return found


def _refusal(reference: PerPicture, candidate: PerPicture) -> str:
    """Why the two cannot be compared; empty where they can."""
    n = len(reference)
    if n < LEAST_N:
        return f"not judged: expected at least {LEAST_N} pictures, received {n}"
    if len(candidate) != n:
        return f"expected the outputs of {n} pictures, received {len(candidate)}"
    for index, (a, b) in enumerate(zip(reference, candidate, strict=True)):
        if np.shape(a) != np.shape(b):
            return f"picture {index}: expected an output of shape {list(np.shape(a))}, received {list(np.shape(b))}"
        if not np.size(a):
            return f"picture {index}: the output is empty"
    for who, outputs in (("the fp32 graph", reference), ("the candidate", candidate)):
        bad = sum(not np.isfinite(each).all() for each in outputs)
        if bad:
            return f"{who} gives infinities or NaN on {bad} of {n} pictures"
    return ""


def _cosine(a: Float64[np.ndarray, " size"], b: Float64[np.ndarray, " size"]) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    if lengths == 0:
        return float(np.array_equal(a, b))  # 1 for two zero vectors, 0 where one of them has a direction
    return float(a @ b) / lengths


def _margin(scores: Float64[np.ndarray, " classes"]) -> float:
    """The difference of the two best probabilities; 1 where there is one class only."""
    if scores.size < 2:
        return 1.0
    probabilities = scores
    if scores.min() < 0 or abs(scores.sum() - 1) > 1e-3:
        probabilities = np.exp(scores - scores.max())
        probabilities /= probabilities.sum()
    second, first = np.partition(probabilities, -2)[-2:]
    return float(first - second)


def before_softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose outputs are what goes into the final Softmax or LogSoftmax, under the outputs' own names.

    Outputs made otherwise stay as they are, so for most graphs it is a plain copy. Between softmax and output may
    stand operators that change shape or number format only (SHAPERS). fp32 and quantised (QDQ) graphs alike; the
    shape of a cut output is that of the softmax's input.
    """
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    graph = cut.graph
    made_by = {name: node for node in graph.node for name in node.output}
    sources = {output.name: source for output in graph.output if (source := _softmax_input(output.name, made_by))}
    if not sources:
        return cut
    inferred = onnx.shape_inference.infer_shapes(cut).graph
    known = {value.name: value.type for value in (*inferred.value_info, *inferred.input)}
    for output in graph.output:
        source = sources.get(output.name)
        if source is None:
            continue
        _rename(graph, output.name, f"{output.name}_after_softmax")
        graph.node.append(onnx.helper.make_node("Identity", [source], [output.name], name=f"{output.name}_cut"))
        if source in known:
            output.type.CopyFrom(known[source])
        else:
            output.type.tensor_type.ClearField("shape")
    _prune(graph)
    return cut


def _softmax_input(name: str, made_by: Mapping[str, onnx.NodeProto]) -> str | None:
    """What enters the softmax that the tensor `name` comes from; None where it comes from something else."""
    while (node := made_by.get(name)) is not None:
        if node.op_type in ("Softmax", "LogSoftmax"):
            return str(node.input[0])
        if node.op_type not in SHAPERS:
            return None
        name = node.input[0]
    return None


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside them (bodies of If and Loop)."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Another name for a tensor inside the graph, where it is made and where it is taken."""
    for node in _nodes(graph):
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def _prune(graph: onnx.GraphProto) -> None:
    """Drop nodes, constants and shapes that no output needs. Nodes are in order of execution, as ONNX wants them."""
    needed = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    needed.update(name for each in _nodes(inner) for name in each.input)
            kept.append(node)
    constants = [constant for constant in graph.initializer if constant.name in needed]
    shapes = [value for value in graph.value_info if value.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)
    graph.value_info.extend(shapes)
