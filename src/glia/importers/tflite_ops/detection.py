"""The end of a detector: boxes made of anchors, and the best of those that overlap.

The operator of ONNX says of an overlap what the original says: more than the threshold, and the worse box goes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.tflite_ops.model import Operator, flexbuffer
from glia.importers.tflite_ops.network import Network

Rule = Callable[[Network, Operator], None]
OPTIONS = (
    "max_detections", "max_classes_per_detection", "detections_per_class", "nms_score_threshold", "nms_iou_threshold",
    "num_classes", "y_scale", "x_scale", "h_scale", "w_scale", "use_regular_nms",
)  # fmt: skip


def _select(net: Network, boxes: str, scores: str, most: str, overlap: str, least: str) -> str:
    """The places of the boxes that stay, best first: `boxes` (count, 4), `scores` (count)."""
    axes = net.graph.ints("axes", [0]), net.graph.ints("axes", [0, 1])
    inputs = [net.node("Unsqueeze", [boxes, axes[0]]), net.node("Unsqueeze", [scores, axes[1]]), most, overlap, least]
    chosen = net.node("NonMaxSuppression", inputs)
    return net.node("Gather", [chosen, net.graph.scalar("column", 2, np.int64)], axis=1)


def _filled(net: Network, tensor: str, count: int) -> str:
    """The first axis filled with zeros up to a size, in which it fits."""
    rank = net.graph.rank(tensor)
    rows = net.node("Shape", [tensor], start=0, end=1)
    missing = net.node("Sub", [net.graph.ints("count", [count]), rows])
    parts = [net.graph.ints("zeros", [0] * rank), missing]
    pads = net.node("Concat", parts if rank == 1 else [*parts, net.graph.ints("zeros", [0] * (rank - 1))], axis=0)
    made = net.node("Pad", [tensor, pads])
    return net.graph.reshape(made, [count, *net.graph.known_shape(tensor, range(1, rank))], net.hint)


def post_process(net: Network, op: Operator) -> None:
    """TFLite_Detection_PostProcess: encodings (1, n, 4), scores (1, n, classes), anchors (n, 4) to the best boxes.

    Boxes, classes, scores, and how many there are; of each box its best class only.
    """
    found = flexbuffer(op.custom, OPTIONS)
    if missing := [name for name in OPTIONS[:1] + OPTIONS[3:10] if name not in found]:
        raise ImportFailed(f"its options {missing} are missing.")
    if found.get("use_regular_nms") or found.get("max_classes_per_detection", 1) != 1:
        raise unsupported("Detection with a choice for each class")
    if net.open_batch:
        raise unsupported("Detection in several pictures at once")
    anchors = net.constant(op, 2).astype(np.float32)
    count, classes = int(found["max_detections"]), int(found["num_classes"])
    if anchors.ndim != 2 or anchors.shape[1] != 4 or not 1 <= count <= 1 << 16 or not 1 <= classes <= 1 << 16:
        raise ImportFailed(f"it has anchors of {list(anchors.shape)}, {count} boxes of {classes} classes.")
    boxes = _boxes(net, net.graph.reshape(net.last(op, 0), [len(anchors), 4], net.hint), anchors, found)
    columns = net.layout.known_shape(net.handle(op, 1), [2])[0]
    scores = net.graph.reshape(net.last(op, 1), [len(anchors), columns], net.hint)
    bounds = [net.graph.ints(name, [value]) for name, value in
              (("start", columns - classes), ("end", columns), ("axis", 1))]  # fmt: skip
    scores = net.node("Slice", [scores, *bounds])  # without the background
    best = net.node("ReduceMax", [scores], axes=[1], keepdims=0)
    limits = [
        net.graph.ints("most", [count]),
        net.graph.constant("overlap", np.array([found["nms_iou_threshold"]], np.float32)),
        net.graph.constant("least", np.array([found["nms_score_threshold"]], np.float32)),
    ]
    chosen = _select(net, boxes, best, *limits)
    kinds = net.cast(net.node("ArgMax", [scores], axis=1, keepdims=0), np.float32)
    axes = net.graph.ints("axes", [0])
    for position, tensor in enumerate((boxes, kinds, best)):
        rows = _filled(net, net.node("Gather", [tensor, chosen], axis=0), count)
        net.set(op, net.node("Unsqueeze", [rows, axes]), position)
    net.set(op, net.cast(net.node("Shape", [chosen]), np.float32), 3)


def _boxes(net: Network, encoded: str, anchors: Float32[np.ndarray, "n 4"], options: dict[str, float]) -> str:
    """Top, left, bottom, right: centres move by shares of the anchor's size, sizes are factors' logarithms."""
    size = anchors[:, 2:]
    move = np.array([options["y_scale"], options["x_scale"]], np.float32)
    grow = np.array([options["h_scale"], options["w_scale"]], np.float32)
    if not (move.all() and grow.all()):
        raise ImportFailed("its scales are zero. The file is damaged.")
    moved, grown = net.graph.nodes("Split", [encoded, net.graph.ints("parts", [2, 2])], 2, net.hint, axis=1)
    centre = net.node("Mul", [moved, net.graph.constant("move", size / move)])
    centre = net.node("Add", [centre, net.graph.constant("anchors", anchors[:, :2])])
    half = net.node("Exp", [net.node("Mul", [grown, net.graph.constant("grow", 1 / grow)])])
    half = net.node("Mul", [half, net.graph.constant("half", size / 2)])
    return net.node("Concat", [net.node("Sub", [centre, half]), net.node("Add", [centre, half])], axis=1)


def non_max_suppression(net: Network, op: Operator) -> None:
    """Boxes (n, 4), scores (n), the most, the overlap, the least score: places, filled with zeros, and their number."""
    if op.kind.endswith("V5") and net.has(op, 5) and float(net.constant(op, 5)) != 0:
        raise unsupported("A suppression that lowers scores")
    count = net.ints(op, 2)[0]
    if not 1 <= count <= 1 << 20:
        raise ImportFailed(f"it keeps {count} boxes. The file is damaged.")
    shape = net.graph.ints("shape", [1])
    limits = [net.node("Reshape", [net.last(op, place), shape]) for place in (3, 4)]
    boxes, scores = net.last(op, 0), net.last(op, 1)
    chosen = _select(net, boxes, scores, net.graph.ints("most", [count]), *limits)
    made = [net.cast(_filled(net, chosen, count), np.int32)]
    if op.kind.endswith("V5"):
        made.append(_filled(net, net.node("Gather", [scores, chosen], axis=0), count))
    made.append(net.node("Squeeze", [net.cast(net.node("Shape", [chosen]), np.int32)]))
    for position, tensor in enumerate(made[: len(op.outputs)]):
        net.set(op, tensor, position)


RULES: dict[str, Rule] = {
    "CUSTOM TFLite_Detection_PostProcess": post_process,
    "NON_MAX_SUPPRESSION_V4": non_max_suppression,
    "NON_MAX_SUPPRESSION_V5": non_max_suppression,
}
