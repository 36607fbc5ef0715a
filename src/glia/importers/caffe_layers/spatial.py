"""Layers that know of places in a picture: pooling, normalisation over neighbours, resizing, cropping, boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.rules import Build, rule
from glia.importers.caffe_layers.schema import of
from glia.importers.caffe_layers.weighted import standardised
from glia.importers.faults import unsupported
from glia.importers.graph import FOLDED_ELEMENTS
from glia.importers.windows import MAX_WINDOW, Window, pad_axes, pool, reaches, resize, scale

MAX, AVE = range(2)
_OPS = {MAX: "MaxPool", AVE: "AveragePool"}


@rule("Pooling")
def pooling(build: Build) -> str | list[str]:
    """The largest or the mean of a window; the number of windows is rounded up unless the file says otherwise."""
    message = build.layer.parameters("pooling_param", "Pooling")
    x, kind = build.input(), of(message, "pool", MAX)
    if kind not in _OPS:
        raise unsupported("stochastic pooling")
    if of(message, "global_pooling", False):
        return build.node("GlobalMaxPool" if kind == MAX else "GlobalAveragePool", [x])
    rank = build.graph.rank(x) - 2
    if rank != 2:
        raise ImportFailed(f"it pools a tensor of {rank + 2} axes, expected 4")
    window = Window(*(_pair(message, *names) for names in _WINDOW))
    up = of(message, "round_mode", 0) == 0 and of(message, "ceil_mode", True)
    if len(build.layer.tops) == 2 and kind == MAX:
        return _with_places(build, x, window, up)
    return pool(build.graph, _OPS[kind], x, window, up=up, clip=True, counts_pad=True, hint=build.hint(_OPS[kind]))


def _with_places(build: Build, x: str, window: Window, up: bool) -> list[str]:
    """The largest of each window, and where it lay: SegNet's, for an `Upsample` that puts it back there."""
    ends = reaches(build.graph, x, window, up=up, clip=True)
    if any(pad >= kernel for pad, kernel in zip((*window.pad, *ends), window.kernel * 2, strict=True)):
        raise unsupported("places of windows that lie in the padding")
    more = {"kernel_shape": list(window.kernel), "strides": list(window.stride), "pads": [*window.pad, *ends]}
    return build.graph.nodes("MaxPool", [x], 2, build.hint("MaxPool"), **more)


_WINDOW = (("kernel_size", "kernel", 0), ("stride", "stride", 1), ("pad", "pad", 0))


def _pair(message: Any, field: str, stem: str, default: int) -> tuple[int, int]:
    whole = of(message, field, default)
    return of(message, f"{stem}_h", whole), of(message, f"{stem}_w", whole)


@rule("SPP")
def pyramid(build: Build) -> str:
    """Poolings into 1, 2, 4 ... bins a side, flattened and joined."""
    message = build.layer.parameters("spp_param", "SPP")
    x, graph, kind = build.input(), build.graph, of(message, "pool", MAX)
    if kind not in _OPS or not 0 < message.pyramid_height <= 8:
        raise unsupported("this kind of pyramid")
    sizes = graph.known_shape(x, [2, 3])
    levels = []
    for level in range(message.pyramid_height):
        bins = 1 << level
        kernel = tuple(-(-size // bins) for size in sizes)
        pad = tuple((k * bins - size + 1) // 2 for k, size in zip(kernel, sizes, strict=True))
        pooled = pool(graph, _OPS[kind], x, Window(kernel, kernel, pad), up=True, clip=True, counts_pad=True)
        levels.append(graph.node("Flatten", [pooled], axis=1))
    return build.node("Concat", levels, axis=1)


@rule("LRN")
def local_response(build: Build) -> str:
    """x over a power of its neighbours' squares: neighbours in other channels, or in the same picture."""
    message = build.layer.parameters("lrn_param", "LRN")
    x, graph = build.input(), build.graph
    size, alpha, beta = of(message, "local_size", 5), of(message, "alpha", 1.0), of(message, "beta", 0.75)
    if size % 2 == 0 or size > MAX_WINDOW:
        raise ImportFailed(f"it looks at {size} neighbours, expected an odd number")
    if of(message, "norm_region", 0) == 0:
        return build.node("LRN", [x], size=size, alpha=alpha, beta=beta, bias=of(message, "k", 1.0))
    square, window = graph.node("Mul", [x, x]), Window((size, size), (1, 1), (size // 2, size // 2))
    mean = pool(graph, "AveragePool", square, window, up=True, clip=True, counts_pad=True)
    inner = graph.node("Add", [graph.node("Mul", [mean, graph.scalar("alpha", alpha)]), graph.scalar("one", 1.0)])
    return build.node("Mul", [x, graph.node("Pow", [inner, graph.scalar("beta", -beta)])])


@rule("MVN")
def standardise(build: Build) -> str:
    """x less its mean, over its deviation, in each channel or in all."""
    message = build.layer.parameters("mvn_param", "MVN")
    x = build.input()
    axes = range(1 if of(message, "across_channels", False) else 2, build.graph.rank(x))
    variance = of(message, "normalize_variance", True)
    return standardised(build, x, axes, of(message, "eps", 1e-9), inside=False, variance=variance)


@rule("Interp")
def interpolate(build: Build) -> str:
    """Linear, corners on corners; to a size, by a factor, or to the size of a second input. Padding only cuts off."""
    message = build.layer.parameters("interp_param", "Interp")
    x, *like = build.inputs(1, 2)
    begin, end = of(message, "pad_beg", 0), of(message, "pad_end", 0)
    if not -MAX_WINDOW < begin <= 0 or not -MAX_WINDOW < end <= 0:
        raise ImportFailed(f"its padding is {begin} and {end}, expected none or negative")
    x = pad_axes(build.graph, x, [begin] * 2, [end] * 2, 0.0)
    sizes = build.graph.known_shape(like[0], [2, 3]) if like else _sizes(message, build.graph.known_shape(x, [2, 3]))
    how = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    return resize(build.graph, x, sizes, build.hint("Resize"), **how)


def _sizes(message: Any, sizes: tuple[int, ...]) -> tuple[int, ...]:
    if message.height or message.width:
        return message.height, message.width
    shrink, zoom = of(message, "shrink_factor", 1), of(message, "zoom_factor", 1)
    if not 0 < shrink <= MAX_WINDOW or not 0 < zoom <= MAX_WINDOW:
        raise ImportFailed(f"its factors are {shrink} and {zoom}, expected numbers above 0")
    small = [(size - 1) // shrink + 1 for size in sizes]
    return tuple(size + (size - 1) * (zoom - 1) for size in small)


@rule("Upsample")
def upsample(build: Build) -> str:
    """Each number so many times; or, with places that a pooling gave, each to its place among zeros."""
    message = build.layer.parameters("upsample_param", "Upsample")
    x, *places = build.inputs(1, 2)
    factor, graph = of(message, "scale", 2), build.graph
    if not 0 < factor <= MAX_WINDOW or max(message.upsample_h, message.upsample_w) > MAX_WINDOW:
        raise ImportFailed(f"its factor is {factor}, expected a number above 0")
    if not places:
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return scale(graph, x, [factor] * 2, build.hint("Resize"), **how)
    if graph.dtype(places[0]) != np.int64:
        raise ImportFailed("its second input are no places that a pooling gave")
    high, wide, strides = message.upsample_h, message.upsample_w, [factor] * 2
    if not high or not wide:
        return build.node("MaxUnpool", [x, *places], kernel_shape=[factor] * 2, strides=strides)
    size = graph.node("Concat", [graph.node("Shape", [x], start=0, end=2), graph.ints("size", [high, wide])], axis=0)
    # Windows of 1 give the least size there can be; the one given here is larger, and is what counts.
    y = graph.node("MaxUnpool", [x, *places, size], kernel_shape=[1, 1], strides=strides)
    (channels,) = graph.known_shape(x, [1])
    return graph.reshape(y, [-1, channels, high, wide], build.hint("Reshape"))  # says its shape, moves nothing


@rule("Crop")
def crop(build: Build) -> str:
    """The part of x, from an offset on, that has the sizes of a second input."""
    message = build.layer.parameters("crop_param", "Crop")
    x, like = build.inputs(2, 2)
    graph, rank = build.graph, build.graph.rank(x)
    axis = build.axis(of(message, "axis", 2), rank)
    axes = range(axis, rank)
    offsets = list(message.offset) or [0]
    if len(offsets) not in (1, len(axes)) or graph.rank(like) != rank or max(offsets) > MAX_WINDOW:
        raise ImportFailed(f"its {len(offsets)} offsets do not fit {len(axes)} axes")
    offsets *= len(axes) if len(offsets) == 1 else 1
    for old, new, offset in zip(graph.shape(x)[axis:], graph.shape(like)[axis:], offsets, strict=True):
        if isinstance(old, int) and isinstance(new, int) and new + offset > old:
            raise ImportFailed(f"it crops {new} from {offset} on out of {old}")
    starts = graph.ints("starts", offsets)
    ends = graph.node("Add", [graph.node("Shape", [like], start=axis), starts])
    return build.node("Slice", [x, starts, ends, graph.ints("axes", axes)])


@rule("ROIPooling")
def roi_pooling(build: Build) -> str:
    """The largest of each cell of a region; regions are (picture, left, top, right, bottom) [px of the input]."""
    message = build.layer.parameters("roi_pooling_param", "ROIPooling")
    shape = [message.pooled_h, message.pooled_w]
    if not all(0 < size <= MAX_WINDOW for size in shape):
        raise ImportFailed(f"it pools to {shape}, expected numbers above 0")
    return build.node("MaxRoiPool", build.inputs(2, 2), pooled_shape=shape, spatial_scale=message.spatial_scale)


@rule("PriorBox")
def prior_boxes(build: Build) -> str:
    """The boxes that SSD corrects, and their variances: a constant (1, 2, boxes * 4), as shares of the picture."""
    message = build.layer.parameters("prior_box_param", "PriorBox")
    x, picture = build.inputs(2, 2)
    rows, columns = build.graph.known_shape(x, [2, 3])
    tall, wide = build.graph.known_shape(picture, [2, 3])
    if message.img_size or message.img_h or message.img_w:
        tall, wide = message.img_size or message.img_h, message.img_size or message.img_w
    shapes = _box_shapes(message)
    if not shapes.size or rows * columns * len(shapes) * 8 > FOLDED_ELEMENTS or not tall or not wide:
        raise ImportFailed(f"it makes {len(shapes)} boxes at each of {rows} x {columns} places, which cannot be")
    down, right = (of(message, f"step_{axis}", message.step) for axis in "hw")
    down, right = down or tall / rows, right or wide / columns
    offset = of(message, "offset", 0.5)
    y, x_ = np.meshgrid((np.arange(rows) + offset) * down, (np.arange(columns) + offset) * right, indexing="ij")
    centre = np.stack([x_, y], -1)[:, :, None]
    boxes = np.concatenate([centre - shapes / 2, centre + shapes / 2], -1) / np.array([wide, tall, wide, tall])
    if of(message, "clip", False):
        boxes = boxes.clip(0, 1)
    variance = list(message.variance) or [0.1]
    if len(variance) not in (1, 4):
        raise ImportFailed(f"it has {len(variance)} variances, expected 1 or 4")
    variances = np.broadcast_to(np.array(variance), boxes.reshape(-1, 4).shape)
    both = np.stack([boxes.reshape(-1), variances.reshape(-1)])[None].astype(np.float32)
    if not np.isfinite(both).all():
        raise ImportFailed("its boxes are infinite")
    return build.constant("boxes", both)


def _box_shapes(message: Any) -> Float64[np.ndarray, "boxes 2"]:
    """Width and height of the boxes at each place, in SSD's order [px]."""
    ratios = [1.0]
    for ratio in message.aspect_ratio:
        if ratio > 0 and all(abs(ratio - known) > 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if of(message, "flip", True) else [ratio]
    if message.max_size and len(message.max_size) != len(message.min_size):
        raise ImportFailed(f"it has {len(message.min_size)} least sizes and {len(message.max_size)} largest ones")
    shapes = []
    for at, least in enumerate(message.min_size):
        shapes.append((least, least))
        if message.max_size:
            middle = float(np.sqrt(abs(least * message.max_size[at])))
            shapes.append((middle, middle))
        shapes += [(least * ratio**0.5, least / ratio**0.5) for ratio in ratios[1:]]
    return np.array(shapes, np.float64).reshape(-1, 2)
