"""Layers that move numbers about, or gather them along axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.caffe_layers.rules import Build, rule
from glia.importers.caffe_layers.schema import of
from glia.importers.sizes import Dim
from glia.importers.windows import MAX_WINDOW

SUM, ASUM, SUMSQ, MEAN = range(1, 5)
_REDUCTIONS = {SUM: "ReduceSum", ASUM: "ReduceL1", SUMSQ: "ReduceSumSquare", MEAN: "ReduceMean"}


@rule("Concat")
def concat(build: Build) -> str:
    """Joined along an axis."""
    message = build.layer.parameters("concat_param", "Concat")
    tensors = build.inputs()
    axis = of(message, "concat_dim", of(message, "axis", 1))
    return build.node("Concat", tensors, axis=build.axis(axis, build.graph.rank(tensors[0])))


@rule("Slice")
def slice_(build: Build) -> list[str]:
    """Cut at points, or into equal parts."""
    message = build.layer.parameters("slice_param", "Slice")
    x, graph, count = build.input(), build.graph, len(build.layer.tops)
    axis = build.axis(of(message, "slice_dim", of(message, "axis", 1)), graph.rank(x))
    points, size = list(message.slice_point), graph.shape(x)[axis]
    if points and len(points) != count - 1:
        raise ImportFailed(f"it cuts at {len(points)} points into {count} parts")
    if count == 1:
        return [x]
    if not points:
        if isinstance(size, int) and size % count:
            raise ImportFailed(f"{size} does not divide into {count} equal parts")
        return graph.nodes("Split", [x], count, build.hint("Split"), axis=axis)
    (total,) = graph.known_shape(x, [axis])
    bounds = [0, *points, total]
    sizes = [end - begin for begin, end in pairwise(bounds)]
    if min(sizes) < 1:
        raise ImportFailed(f"it cuts {total} at {points[:20]}")
    return graph.nodes("Split", [x, graph.ints("sizes", sizes)], count, build.hint("Split"), axis=axis)


@rule("Softmax")
def softmax(build: Build) -> str:
    """Exponentials that sum to 1 along an axis."""
    x = build.input()
    axis = of(build.layer.parameters("softmax_param", "Softmax"), "axis", 1)
    return build.node("Softmax", [x], axis=build.axis(axis, build.graph.rank(x)))


@rule("Flatten")
def flatten(build: Build) -> str:
    """Some axes as one."""
    message = build.layer.parameters("flatten_param", "Flatten")
    x, rank = build.input(), build.graph.rank(build.read(build.layer.bottoms[0]))
    first, last = build.axis(of(message, "axis", 1), rank), build.axis(of(message, "end_axis", -1), rank)
    if last < first:
        raise ImportFailed(f"it flattens axes {first} to {last}")
    if first == 1 and last == rank - 1:
        return build.node("Flatten", [x], axis=1)
    shape = build.graph.shape(x)
    return _reshape(build, x, [*shape[:first], -1, *shape[last + 1 :]])


@rule("Reshape")
def reshape(build: Build) -> str:
    """Sizes anew: 0 is copied, -1 follows from the others."""
    message = build.layer.parameters("reshape_param", "Reshape")
    x = build.input()
    shape, rank = build.graph.shape(x), build.graph.rank(x)
    start = of(message, "axis", 0)
    start = build.axis(start, rank + 1) if start >= 0 else build.axis(start + rank + 1, rank + 1)
    count = of(message, "num_axes", -1)
    end = rank if count == -1 else start + count
    dims = list(message.shape.dim)
    if not start <= end <= rank or len(dims) > 32 or any(not -1 <= dim <= 1 << 31 for dim in dims):
        raise ImportFailed(f"it gives axes {start} to {end} of {rank} the sizes {dims[:40]}, which cannot be")
    new: list[Dim] = [*shape[:start]]
    for at, dim in enumerate(dims):
        if dim == 0 and start + at >= rank:
            raise ImportFailed(f"it copies axis {start + at} of a tensor of {rank}")
        new.append(shape[start + at] if dim == 0 else dim)
    new += shape[end:]
    first = new[0] if new else None
    if start == 0 and dims and isinstance(shape[0], str) and dims[0] == build.batch and _rest_fits(new, shape):
        first = shape[0]  # the batch that the file was written for, which may be any
    return _reshape(build, x, [first, *new[1:]] if new else [])


def _rest_fits(new: Sequence[Dim], old: Sequence[Dim]) -> bool:
    """Whether all behind the first axis can hold the same numbers in both shapes."""
    if -1 in new[1:]:
        return True
    rests = [list(shape[1:]) for shape in (new, old)]
    if not all(isinstance(size, int) for rest in rests for size in rest):
        return False
    return len({prod(size for size in rest if isinstance(size, int)) for rest in rests}) == 1


def _reshape(build: Build, x: str, new: Sequence[Dim]) -> str:
    """To sizes of which some are those of x: an open one is copied where it stands at its own place."""
    old, sizes = build.graph.shape(x), []
    for at, size in enumerate(new):
        if isinstance(size, int):
            sizes.append(size)
        elif at < len(old) and (size is not None and old[at] == size):
            sizes.append(0)
        else:
            sizes.append(-1)
    if sizes.count(-1) > 1:
        raise ImportFailed("several of its sizes are open. Give the option input_size")
    copied = 1 if sizes[:1] == [0] else 0
    known = [size for size in old[copied:] if isinstance(size, int)]
    if len(known) < len(old) - copied and min(sizes[copied:], default=0) > 0:
        raise ImportFailed(f"it makes {sizes[copied:]} out of open sizes. Give the option input_size")
    if len(known) == len(old) - copied and min(sizes[copied:], default=0) > 0 and prod(sizes[copied:]) != prod(known):
        raise ImportFailed(f"it makes {sizes[copied:]} out of {known}, which has another number of elements")
    return build.graph.reshape(x, sizes, build.hint("Reshape"))


@rule("Permute")
def permute(build: Build) -> str:
    """The axes in another order; those not named come behind."""
    x, order = build.input(), list(build.layer.parameters("permute_param", "Permute").order)
    rank = build.graph.rank(x)
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != list(range(rank)):
        raise ImportFailed(f"it orders {rank} axes as {order[:40]}")
    return build.graph.transpose(x, order, build.hint("Transpose"))


@rule("Tile")
def tile(build: Build) -> str:
    """So many copies along an axis."""
    message = build.layer.parameters("tile_param", "Tile")
    x, rank = build.input(), build.graph.rank(build.read(build.layer.bottoms[0]))
    if not 0 < message.tiles <= MAX_WINDOW:
        raise ImportFailed(f"it makes {message.tiles} copies")
    repeats = [1] * rank
    repeats[build.axis(of(message, "axis", 1), rank)] = message.tiles
    return build.node("Tile", [x, build.graph.ints("repeats", repeats)])


@rule("Reduction")
def reduction(build: Build) -> str:
    """All axes from one on as one number."""
    message = build.layer.parameters("reduction_param", "Reduction")
    x, graph = build.input(), build.graph
    rank = graph.rank(x)
    axes = list(range(build.axis(of(message, "axis", 0), rank), rank))
    op = _REDUCTIONS[of(message, "operation", SUM)]
    if op == "ReduceSum":
        result = build.node(op, [x, graph.ints("axes", axes)], keepdims=0)
    else:
        result = build.node(op, [x], axes=axes, keepdims=0)
    coefficient = of(message, "coeff", 1.0)
    return result if coefficient == 1 else build.node("Mul", [result, graph.scalar("coeff", coefficient)])


@rule("ArgMax")
def arg_max(build: Build) -> str:
    """Places of the largest numbers, as floats, or those numbers: along an axis, or of everything behind the first."""
    message = build.layer.parameters("argmax_param", "ArgMax")
    x, graph, top = build.input(), build.graph, of(message, "top_k", 1)
    flat = not message.HasField("axis")
    axis = 1 if flat else build.axis(message.axis, graph.rank(x))
    if flat:
        x = graph.node("Flatten", [x], axis=1)
    size = graph.shape(x)[axis]
    if top < 1 or (isinstance(size, int) and top > size):
        raise ImportFailed(f"it looks for the {top} largest of {size}")
    values, places = graph.nodes("TopK", [x, graph.ints("k", [top])], 2, build.hint("TopK"), axis=axis)
    floats = build.node("Cast", [places], to=1)
    if not flat:
        return values if of(message, "out_max_val", False) else floats
    one = graph.ints("axes", [1])
    lifted = [graph.node("Unsqueeze", [part, one]) for part in (floats, values)]
    return build.node("Concat", lifted, axis=1) if of(message, "out_max_val", False) else lifted[0]


@rule("ShuffleChannel")
def shuffle_channels(build: Build) -> str:
    """Channels dealt out to groups, in turn."""
    x, graph = build.input(), build.graph
    group = build.layer.parameters("shuffle_channel_param", "ShuffleChannel").group
    (channels,) = graph.known_shape(x, [1])
    if not group or channels % group:
        raise ImportFailed(f"{channels} channels do not divide into {group} groups")
    order = np.arange(channels).reshape(group, channels // group).T.reshape(-1)
    return build.node("Gather", [x, graph.ints("order", order.tolist())], axis=1)


@rule("Parameter")
def parameter(build: Build) -> str:
    """Learned numbers alone."""
    dims = build.layer.parameters("parameter_param", "Parameter").shape.dim
    return build.constant("value", build.weight(0, [int(size) for size in dims]))
