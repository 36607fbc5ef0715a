"""Operators of pictures as a whole: other sizes, boxes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from glia.core.errors import ImportFailed
from glia.importers.tensorflow_ops.call import Call, Rule, Value

MAX_SIZE = 1 << 16


def _resize(mode: str) -> Rule:
    """Resize...(pictures, [height, width]); corners and centres as the attributes say."""

    def rule(call: Call) -> str:
        corners, centres = call.attribute("align_corners", False), call.attribute("half_pixel_centers", False)
        tensor = call.picture(0)
        if mode != "nearest" and call.graph.dtype(tensor).kind != "f":
            tensor = call.graph.node("Cast", [tensor], call.hint, to=TensorProto.FLOAT)
        own, target = call.graph.shape(tensor)[2:], call.graph.sizes(call.tensor(1))
        if target is None or len(own) != 2:
            target = (None, None)
        if len(target) != 2 or any(isinstance(size, int) and not 0 < size <= MAX_SIZE for size in target):
            raise ImportFailed(f"a picture of {list(target)[:4]} cannot be; the file is damaged")
        known = [(a, b) for a, b in zip(own, target, strict=True) if isinstance(a, int) and isinstance(b, int)]
        whole = len(known) == 2 and all(a and b % a == 0 for a, b in known)
        if mode == "nearest" and len(known) == 2 and not (whole and not corners):
            return call.give(_picked(call, tensor, known, corners, centres))
        attributes = _ways(mode, corners, centres)
        if whole and not corners:
            scales = np.array([1, 1, *(b / a for a, b in known)], np.float32)
            found = call.write("Resize", [tensor, "", call.graph.constant("scales", scales)], **attributes)
        else:
            shape = call.graph.node("Shape", [tensor], call.hint, start=0, end=2)
            sizes = call.graph.node("Cast", [call.tensor(1)], call.hint, to=TensorProto.INT64)
            both = call.graph.node("Concat", [shape, sizes], call.hint, axis=0)
            found = call.write("Resize", [tensor, "", "", both], **attributes)
        if call.graph.value(found) is None:
            call.graph.refine(found, (*call.graph.shape(tensor)[:2], *target))
        return call.give(found)

    return rule


def _ways(mode: str, corners: bool, centres: bool) -> dict[str, str | float | int]:
    place = "align_corners" if corners else "half_pixel" if centres else "asymmetric"
    attributes: dict[str, str | float | int] = {"mode": mode, "coordinate_transformation_mode": place}
    if mode == "nearest":
        attributes["nearest_mode"] = "round_prefer_ceil" if corners or centres else "floor"
    if mode == "cubic":
        attributes["cubic_coeff_a"] = -0.5 if centres else -0.75
        attributes["exclude_outside"] = int(centres)
    return attributes


def _picked(call: Call, tensor: str, known: list[tuple[int, int]], corners: bool, centres: bool) -> str:
    """Nearest pixels by their indices, computed in float32 as TensorFlow does.

    Source: tensorflow/core/kernels/image/resize_nearest_neighbor_op.cc and image_resizer_state.h.
    """
    for axis, (size, target) in enumerate(known, 2):
        if size == target:
            continue
        scale = np.float32((size - 1) / (target - 1)) if corners and target > 1 else np.float32(size / target)
        at = (np.arange(target, dtype=np.float32) + np.float32(0.5 if centres else 0)) * scale
        places = np.floor(at + np.float32(0.5)) if corners else np.floor(at)
        index = np.minimum(places.astype(np.int64), size - 1)
        tensor = call.graph.node("Gather", [tensor, call.ints_constant(index.tolist())], call.hint, axis=axis)
    return tensor


def _suppressed(call: Call) -> list[Value]:
    """NonMaxSuppression and its versions: the boxes that are kept, best first.

    Boxes (n, 4), scores (n), how many at most, how much they may cover each other, the least score.
    """
    version = call.node.op.removeprefix("NonMaxSuppression")
    if version == "V5" and len(call.inputs) > 5 and call.number(5, "sigma"):
        raise ImportFailed("soft suppression of boxes is not supported")
    if call.attribute("pad_to_max_output_size", False):
        raise ImportFailed("boxes filled up to a fixed number are not supported")
    boxes = _float(call, call.graph.node("Unsqueeze", [call.tensor(0), call.ints_constant([0])], call.hint))
    scores = _float(call, call.graph.node("Unsqueeze", [call.tensor(1), call.ints_constant([0, 1])], call.hint))
    most = call.graph.node("Cast", [call.tensor(2)], call.hint, to=TensorProto.INT64)
    if version:
        cover = call.tensor(3)
    else:
        cover = call.graph.scalar(f"{call.hint}_cover", call.attribute("iou_threshold", 0.5), np.float32)
    limits = [_single(call, most), _single(call, cover)]
    if version in ("V3", "V4", "V5"):
        limits.append(_single(call, call.tensor(4)))
    found = call.graph.node("NonMaxSuppression", [boxes, scores, *limits], call.hint)
    column = call.graph.node(
        "Gather", [found, call.graph.scalar(f"{call.hint}_column", 2, np.int64)], call.hint, axis=1
    )
    kept = call.write("Cast", [column], to=TensorProto.INT32)
    count = call.graph.node("Cast", [call.graph.node("Size", [kept], call.hint)], call.hint, to=TensorProto.INT32)
    if version == "V5":
        return [kept, call.graph.node("Gather", [call.tensor(1), kept], call.hint), count]
    return [kept, count] if version == "V4" else [kept]


def _float(call: Call, tensor: str) -> str:
    if call.graph.dtype(tensor) == np.float32:
        return tensor
    return call.graph.node("Cast", [tensor], call.hint, to=TensorProto.FLOAT)


def _single(call: Call, tensor: str) -> str:
    return call.graph.reshape(tensor, [1], call.hint)


RULES: dict[str, Rule] = {
    "ResizeBilinear": _resize("linear"),
    "ResizeNearestNeighbor": _resize("nearest"),
    "ResizeBicubic": _resize("cubic"),
    **{f"NonMaxSuppression{version}": _suppressed for version in ("", "V2", "V3", "V4", "V5")},
}
