"""Pools, and what changes the size of a picture: pads, cuts, enlargements."""

from __future__ import annotations

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.keras_layers.scope import MAX_REACH, Applied, Rule
from glia.importers.keras_layers.windows import Window, pads


def _pool(op: str, rank: int) -> Rule:
    def rule(call: Applied) -> str:
        kernel = call.integers("pool_size", rank, 2)
        strides = call.integers("strides", rank) if call.config.get("strides") is not None else kernel
        window = Window(kernel, strides, [1] * rank)
        x = call.first(call.x, rank + 2)
        found = pads(call, window, call.graph.shape(x)[2:], pooling=True)
        return call.given(call.graph.node(op, [x], call.hint, kernel_shape=kernel, strides=strides, **found))

    return rule


def _global(op: str, rank: int) -> Rule:
    def rule(call: Applied) -> str:
        mask = call.scope.masks.get(call.x)
        if mask is not None and rank == 1 and op == "Average":
            return _masked_mean(call, mask)
        x = call.first(call.x, rank + 2)
        axes = list(range(2, rank + 2))
        if call.config.get("keepdims") is True:
            return call.given(call.graph.node(f"Global{op}Pool", [x], call.hint))
        reduce = "ReduceMean" if op == "Average" else "ReduceMax"
        return call.graph.node(reduce, [x], call.hint, axes=axes, keepdims=0)

    return rule


def _masked_mean(call: Applied, mask: str) -> str:
    """The mean over the steps that count."""
    graph = call.graph
    counted = graph.node("Unsqueeze", [graph.node("Cast", [mask], to=1), graph.ints("axes", [-1])])
    kept = graph.node("Mul", [call.plain(), counted])
    total = graph.node("ReduceSum", [kept, graph.ints("axes", [1])], keepdims=0)
    return graph.node(
        "Div", [total, graph.node("ReduceSum", [counted, graph.ints("axes", [1])], keepdims=0)], call.hint
    )


def _pairs(call: Applied, key: str, rank: int, default: int) -> list[tuple[int, int]]:
    """Sizes before and after along each axis: one for all, one for each axis, or two for each."""
    value = call.config.get(key)
    value = default if value is None else value
    if isinstance(value, dict):  # Keras 1: {"top_pad": ...}
        order = ("top_pad", "bottom_pad", "left_pad", "right_pad")
        value = [[value.get(a, 0), value.get(b, 0)] for a, b in (order[:2], order[2:])]
    if rank == 1 and isinstance(value, list) and len(value) == 2:
        value = [value]
    entries = value if isinstance(value, list) else [value] * rank
    if rank == 2 and len(entries) == 4 and not any(isinstance(entry, list) for entry in entries):
        entries = [entries[:2], entries[2:]]  # Keras 1: (top, bottom, left, right)
    pairs = [entry if isinstance(entry, list) else [entry, entry] for entry in entries]
    right = all(
        len(pair) == 2 and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MAX_REACH for n in pair)
        for pair in pairs
    )
    if len(pairs) != rank or not right:
        raise ImportFailed(f"its setting `{key}` should be {rank} pairs of sizes, received {str(value)[:100]}")
    return [(pair[0], pair[1]) for pair in pairs]


def _zero_padding(rank: int) -> Rule:
    def rule(call: Applied) -> str:
        pairs = _pairs(call, "padding", rank, 1)
        x = call.first(call.x, rank + 2)
        amounts = [0, 0, *(pair[0] for pair in pairs), 0, 0, *(pair[1] for pair in pairs)]
        return call.given(call.graph.node("Pad", [x, call.graph.ints("pads", amounts)], call.hint))

    return rule


def _cropping(rank: int) -> Rule:
    def rule(call: Applied) -> str:
        pairs = _pairs(call, "cropping", rank, 1)
        x = call.first(call.x, rank + 2)
        begins = [pair[0] for pair in pairs]
        ends = [-pair[1] if pair[1] else np.iinfo(np.int64).max for pair in pairs]
        axes = list(range(2, rank + 2))
        bounds = [
            call.graph.ints(hint, values) for hint, values in (("starts", begins), ("ends", ends), ("axes", axes))
        ]
        return call.given(call.graph.node("Slice", [x, *bounds], call.hint))

    return rule


def _upsampling(rank: int) -> Rule:
    def rule(call: Applied) -> str:
        factors = call.integers("size", rank, 2)
        x = call.first(call.x, rank + 2)
        scales = call.graph.constant("scales", np.array([1, 1, *factors], np.float32))
        how = call.text("interpolation", "nearest")
        if how == "nearest":
            mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        elif how == "bilinear":
            corner = "half_pixel" if call.scope.is_tf else "asymmetric"
            mode = {"mode": "linear", "coordinate_transformation_mode": corner}
        else:
            raise unsupported(f"the interpolation {how[:50]!r}")
        return call.given(call.graph.node("Resize", [x, "", scales], call.hint, **mode))

    return rule


def _resizing(call: Applied) -> str:
    """A picture to a fixed size, as TensorFlow 2 does it."""
    size = [call.integer("height", least=1), call.integer("width", least=1)]
    how = call.text("interpolation", "bilinear")
    if how not in {"bilinear", "nearest"} or call.config.get("crop_to_aspect_ratio") is True:
        raise unsupported(f"resizing by {how[:50]!r}, or with a crop,")
    x = call.first(call.x, 4)
    channels = call.graph.known_shape(x, [1])
    batch = call.graph.node("Slice", [call.graph.node("Shape", [x]), *(call.graph.ints("at", [n]) for n in (0, 1))])
    sizes = call.graph.node("Concat", [batch, call.graph.ints("size", [*channels, *size])], axis=0)
    corner = "half_pixel"
    mode = {"mode": "linear"} if how == "bilinear" else {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    y = call.graph.node("Resize", [x, "", "", sizes], call.hint, coordinate_transformation_mode=corner, **mode)
    return call.given(y)


RULES: dict[str, Rule] = {
    **{f"MaxPooling{rank}D": _pool("MaxPool", rank) for rank in (1, 2, 3)},
    **{f"AveragePooling{rank}D": _pool("AveragePool", rank) for rank in (1, 2, 3)},
    **{f"GlobalMaxPooling{rank}D": _global("Max", rank) for rank in (1, 2, 3)},
    **{f"GlobalAveragePooling{rank}D": _global("Average", rank) for rank in (1, 2, 3)},
    **{f"ZeroPadding{rank}D": _zero_padding(rank) for rank in (1, 2, 3)},
    **{f"Cropping{rank}D": _cropping(rank) for rank in (1, 2, 3)},
    **{f"UpSampling{rank}D": _upsampling(rank) for rank in (1, 2, 3)},
    "Resizing": _resizing,
}
