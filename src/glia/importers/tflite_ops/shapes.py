"""What moves numbers about without computing any: reshape, slice, gather, pad, resize, and arithmetic of shapes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Int64

from glia.core.errors import ImportFailed
from glia.importers.faults import unsupported
from glia.importers.layout import to_first, to_last
from glia.importers.sizes import Dims
from glia.importers.tflite_ops.model import KINDS, Operator, dtype_of
from glia.importers.tflite_ops.network import BATCH, Network, axis_of

Rule = Callable[[Network, Operator], None]
MAX_SIZE = 1 << 15
"""Rows or columns up to which places to read from are computed here."""
OPEN_END = 2**31 - 1


# -- reshape -----------------------------------------------------------------------------------------------------------


def flat(net: Network, handle: str) -> str:
    """A tensor whose numbers lie in the format's order; where all but channels is 1, either order of axes will do."""
    if net.layout.is_first(handle):
        first = net.layout.first(handle)
        if all(size == 1 for size in net.graph.shape(first)[2:]):
            return first
    return net.layout.last(handle)


def reshape(net: Network, op: Operator) -> None:
    """The shape is an input, or an option in old files."""
    handle = net.handle(op)
    if net.has(op, 1):
        goal = net.sizes(op, 1)
    elif op.options["shape"] is not None:
        goal = tuple(op.options["shape"])
    else:
        goal = net.result(op).shape
    if net.has(op, 1) and net.tensor(op, 1).data is None and any(size is None for size in goal):
        net.give(op, net.graph.reshape(flat(net, handle), net.last(op, 1), net.hint))
        return
    numbers, first = reshaped(net.layout.shape(handle), goal, net.declared(op))
    made = net.graph.reshape(flat(net, handle), numbers, net.hint)
    if first is not None and net.graph.rank(made):
        net.graph.refine(made, (first, *net.graph.shape(made)[1:]))
    net.give(op, made)


def reshaped(sizes: Dims, goal: Dims, declared: Dims) -> tuple[list[int], str | None]:
    """The goal in ONNX's terms, where the file's own batch may have become an open one; the name of the first size.

    A first size of `n*k` stands for k rows of each item, one item after the other. Raises ImportFailed where the batch
    would be mixed with other axes.
    """
    if not sizes or all(isinstance(size, int) for size in sizes):
        return _numbers(goal), None
    if goal and goal[0] == sizes[0] and isinstance(goal[0], str):
        return [0, *_numbers(goal[1:])], None
    rest, rows = [size for size in sizes[1:] if isinstance(size, int)], _rows(sizes[0])
    if rows is None or len(rest) != len(sizes) - 1 or not all(isinstance(size, int) for size in goal):
        return _numbers(goal), None
    items, known = rows * prod(rest), [int(size or 0) for size in goal]
    batch = declared[0] // rows if isinstance(declared[0], int) else 1
    if known.count(-1) == 1:
        left = prod(size for size in known if size >= 0)
        if not left or items * batch % left:
            raise ImportFailed(f"it makes {known} of {list(declared)}, which has another number of elements.")
        known[known.index(-1)] = items * batch // left
    if prod(known) != items * batch or not known:
        raise ImportFailed(f"it makes {known} of {list(declared)}, which has another number of elements.")
    if known[0] == batch:
        return [0 if rows == 1 else -1, *known[1:]], BATCH
    if items % prod(known[1:]) == 0:
        return [-1, *known[1:]], f"{BATCH}*{items // prod(known[1:])}"
    raise unsupported(f"A reshape to {known}, which mixes items of a batch,")


def _rows(size: int | str | None) -> int | None:
    """How many rows of the first axis belong to each item; None where that is not known."""
    if size == BATCH:
        return 1
    if isinstance(size, str) and size.startswith(f"{BATCH}*") and size[len(BATCH) + 1 :].isdigit():
        return int(size[len(BATCH) + 1 :])
    return None


def _numbers(goal: Dims) -> list[int]:
    """Numbers for ONNX: at most one -1, for what is open."""
    numbers = [size if isinstance(size, int) else -1 for size in goal]
    if numbers.count(-1) > 1:
        raise unsupported(f"A reshape to {list(goal)}, of which two sizes are open,")
    if min(numbers, default=0) < -1 or 0 in numbers:
        raise ImportFailed(f"its shape is {list(goal)}, expected numbers above 0.")
    return numbers


def squeeze(net: Network, op: Operator) -> None:
    """Axes of size 1 are left out: those named, or all."""
    sizes, named = net.layout.shape(net.handle(op)), op.options["axes"]
    if named:
        axes = sorted({axis_of(axis, len(sizes)) for axis in named})
    else:
        axes = [axis for axis, size in enumerate(sizes) if size == 1]
        if net.open_batch and net.declared(op)[:1] in ((1,), (BATCH,)):
            raise unsupported("A squeeze of every axis of size 1, the batch among them,")
    tensor = net.last(op)
    net.give(op, net.node("Squeeze", [tensor, net.graph.ints("axes", axes)]) if axes else tensor)


def expand_dims(net: Network, op: Operator) -> None:
    """A new axis of size 1."""
    axis = axis_of(net.ints(op, 1)[0], net.rank(op) + 1)
    net.give(op, net.node("Unsqueeze", [net.last(op), net.graph.ints("axes", [axis])]))


def transpose(net: Network, op: Operator) -> None:
    """Axes in another order."""
    handle, perm = net.handle(op), net.ints(op, 1)
    if sorted(perm) != list(range(net.rank(op))):
        raise ImportFailed(f"it orders {net.rank(op)} axes as {perm}. The file is damaged.")
    tensor = net.layout.first(handle) if net.layout.is_first(handle) else handle
    if net.layout.is_first(handle):
        last = to_last(len(perm))
        perm = [last[axis] for axis in perm]
    net.give(op, net.graph.transpose(tensor, perm, net.hint))


# -- parts -------------------------------------------------------------------------------------------------------------


def cut(net: Network, handle: str, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> str:
    """A part of a tensor along some axes of the format's order."""
    if not axes:
        return handle
    first = net.layout.is_first(handle)
    if first:
        order = to_first(len(net.layout.shape(handle)))
        axes = [order.index(axis) for axis in axes]
    tensor = net.layout.first(handle) if first else handle
    bounds = [net.graph.ints(name, values) for name, values in
              (("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps))]  # fmt: skip
    made = net.node("Slice", [tensor, *bounds])
    return net.layout.promise(made) if first else made


def slice_(net: Network, op: Operator) -> None:
    """Begins and sizes; a size of -1 reaches to the end."""
    begins, sizes, whole = net.ints(op, 1), net.ints(op, 2), net.layout.shape(net.handle(op))
    if not len(begins) == len(sizes) == len(whole):
        raise ImportFailed(f"it has {len(begins)} begins and {len(sizes)} sizes for {len(whole)} axes.")
    ends = [begin + size if size >= 0 else OPEN_END for begin, size in zip(begins, sizes, strict=True)]
    axes = [
        axis
        for axis, size in enumerate(whole)
        if not (begins[axis] == 0 and _reaches(ends[axis], size, net.declared(op)[axis]))
    ]
    begins, ends = ([values[axis] for axis in axes] for values in (begins, ends))
    net.give(op, cut(net, net.handle(op), begins, ends, axes, [1] * len(axes)))


def _reaches(end: int, size: int | str | None, declared: int | str | None) -> bool:
    """Whether an end is that of the axis; of an open one, that of the size which the file declares."""
    size = size if isinstance(size, int) else declared
    return end >= (size if isinstance(size, int) else 1)


def strided_slice(net: Network, op: Operator) -> None:
    """Python's slices, with masks for what is left out: begins, ends, an ellipsis, new axes, single places."""
    begins, ends, steps = (net.ints(op, position) for position in (1, 2, 3))
    options, handle = op.options, net.handle(op)
    sizes, declared = net.layout.shape(handle), net.declared(op)
    if not len(begins) == len(ends) == len(steps) <= 32 or options["offset"]:
        raise unsupported("A slice whose begins, ends and steps differ in number, or whose ends are lengths,")
    new, single, chosen, axis, place = [], [], [], 0, 0
    fresh = sum(options["new_axis_mask"] >> bit & 1 for bit in range(len(begins)))
    for bit, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if options["ellipsis_mask"] >> bit & 1:
            skipped = len(sizes) - (len(begins) - fresh - 1)
            axis, place = axis + skipped, place + skipped
            continue
        if options["new_axis_mask"] >> bit & 1:
            new.append(place)
            place += 1
            continue
        if axis >= len(sizes) or not step:
            raise ImportFailed(f"it slices {len(begins)} axes of {len(sizes)} in steps of {steps}.")
        if options["shrink_axis_mask"] >> bit & 1:
            single.append(axis)
            chosen.append((axis, begin, begin + 1 if begin != -1 else OPEN_END, 1))
        else:
            low = begin if not options["begin_mask"] >> bit & 1 else (0 if step > 0 else OPEN_END)
            high = end if not options["end_mask"] >> bit & 1 else (OPEN_END if step > 0 else -OPEN_END)
            if not (low == 0 and step == 1 and high > 0 and _reaches(high, sizes[axis], declared[axis])):
                chosen.append((axis, low, high, step))
            place += 1
        axis += 1
    columns = [[entry[index] for entry in chosen] for index in range(4)]
    handle = cut(net, handle, columns[1], columns[2], columns[0], columns[3])
    if single or new:
        handle = net.layout.last(handle)
    if single:
        handle = net.node("Squeeze", [handle, net.graph.ints("axes", single)])
    if new:
        handle = net.node("Unsqueeze", [handle, net.graph.ints("axes", new)])
    net.give(op, handle)


def split(net: Network, op: Operator) -> None:
    """SPLIT: axis, data; SPLIT_V: data, sizes, axis."""
    data, axis_input = (1, 0) if op.kind == "SPLIT" else (0, 2)
    handle, rank = net.handle(op, data), net.rank(op, data)
    (axis,) = net.axes(op, axis_input, rank)
    size = net.layout.known_shape(handle, [axis])[0]
    count = len(op.outputs)
    if op.kind == "SPLIT":
        if not count or size % count:
            raise ImportFailed(f"it splits {size} in {count} equal parts. The file is damaged.")
        parts = [size // count] * count
    else:
        parts = net.ints(op, 1)
        parts = [part if part >= 0 else size - sum(part for part in parts if part >= 0) for part in parts]
    if len(parts) != count:
        raise ImportFailed(f"it has {count} outputs for {len(parts)} parts. The file is damaged.")
    first = net.layout.is_first(handle)
    tensor = net.layout.first(handle) if first else handle
    axis = to_first(rank).index(axis) if first else axis
    made = net.graph.nodes("Split", [tensor, net.graph.ints("parts", parts)], count, net.hint, axis=axis)
    for position, part in enumerate(made):
        net.give(op, net.layout.promise(part) if first else part, position)


def unpack(net: Network, op: Operator) -> None:
    """Along an axis, one tensor for each place, without the axis."""
    axis, count = axis_of(op.options["axis"], net.rank(op)), len(op.outputs)
    tensor = net.last(op)
    parts = net.graph.nodes("Split", [tensor, net.graph.ints("parts", [1] * count)], count, net.hint, axis=axis)
    for position, part in enumerate(parts):
        net.give(op, net.node("Squeeze", [part, net.graph.ints("axes", [axis])]), position)


def pack(net: Network, op: Operator) -> None:
    """Side by side along a new axis."""
    axis = axis_of(op.options["axis"], net.rank(op) + 1)
    axes = net.graph.ints("axes", [axis])
    parts = [net.node("Unsqueeze", [net.last(op, position), axes]) for position in range(len(op.inputs))]
    net.give(op, net.node("Concat", parts, axis=axis))


def concatenation(net: Network, op: Operator) -> None:
    """One after the other along an axis; what has no element is left out."""
    handles = [net.handle(op, position) for position in range(len(op.inputs))]
    kept = [handle for handle in handles if 0 not in net.layout.shape(handle)] or handles[:1]
    axis = axis_of(op.options["axis"], net.rank(op))
    made = net.layout.join(kept, axis, net.hint) if len(kept) > 1 else kept[0]
    net.give(op, made, activation=op.options["activation"])


def gather(net: Network, op: Operator) -> None:
    """Whole slices by their places along an axis."""
    axis, batch = axis_of(op.options["axis"], net.rank(op)), op.options["batch_axes"]
    tensors = [net.last(op, 0), net.last(op, 1)]
    if not batch:
        net.give(op, net.node("Gather", tensors, axis=axis))
        return
    if axis != batch or not 0 < batch < net.rank(op):
        raise unsupported(f"A gather along axis {axis} with {batch} batch axes")
    places = net.node("Unsqueeze", [net.cast(tensors[1], np.int64), net.graph.ints("axes", [-1])])
    net.give(op, net.node("GatherND", [tensors[0], places], batch_dims=batch))


def gather_nd(net: Network, op: Operator) -> None:
    """Slices by places along the first axes."""
    net.give(op, net.node("GatherND", [net.last(op, 0), net.cast(net.last(op, 1), np.int64)]))


def embedding_lookup(net: Network, op: Operator) -> None:
    """Rows of a table by their numbers."""
    net.give(op, net.node("Gather", [net.last(op, 1), net.last(op, 0)], axis=0))


def reverse(net: Network, op: Operator) -> None:
    """Backwards along some axes."""
    axes = net.axes(op, 1, net.rank(op))
    count = len(axes)
    net.give(op, cut(net, net.handle(op), [-1] * count, [-OPEN_END] * count, axes, [-1] * count))


def reverse_sequence(net: Network, op: Operator) -> None:
    """The first so many steps of each item backwards."""
    time, batch = (axis_of(op.options[f"{name}_axis"], net.rank(op)) for name in ("sequence", "batch"))
    if {time, batch} != {0, 1}:
        raise unsupported(f"A reversal along axis {time} for items along axis {batch}")
    lengths = net.cast(net.last(op, 1), np.int64)
    net.give(op, net.node("ReverseSequence", [net.last(op), lengths], time_axis=time, batch_axis=batch))


# -- copies ------------------------------------------------------------------------------------------------------------


def tile(net: Network, op: Operator) -> None:
    """Repeated along each axis."""
    times = net.ints(op, 1)
    if net.open_batch and net.layout.shape(net.handle(op))[:1] == (BATCH,) and times[:1] != [1]:
        raise unsupported("A repetition along the batch")
    net.give(op, net.node("Tile", [net.last(op), net.graph.ints("times", times)]))


def broadcast_to(net: Network, op: Operator) -> None:
    """Axes of size 1 repeated up to a shape."""
    net.give(op, net.node("Expand", [net.last(op), net.cast(net.last(op, 1), np.int64)]))


def fill(net: Network, op: Operator) -> None:
    """One number in a shape."""
    net.give(op, net.node("Expand", [net.last(op, 1), net.cast(net.last(op, 0), np.int64)]))


def zeros_like(net: Network, op: Operator) -> None:
    """Zeros in the shape of the input."""
    zero = net.graph.scalar("zero", 0, net.graph.dtype(net.last(op)))
    net.give(op, net.node("Expand", [zero, net.node("Shape", [net.last(op)])]))


def range_(net: Network, op: Operator) -> None:
    """From a start to a limit in steps."""
    net.give(op, net.node("Range", [net.last(op, position) for position in range(3)]))


def one_hot(net: Network, op: Operator) -> None:
    """Numbers to vectors: indices, depth, the value where they point to, the value elsewhere."""
    on_off = [net.node("Reshape", [net.last(op, place), net.graph.ints("shape", [1])]) for place in (3, 2)]
    values = net.node("Concat", on_off, axis=0)
    depth = net.node("Reshape", [net.last(op, 1), net.graph.ints("shape", [1])])
    net.give(op, net.node("OneHot", [net.last(op, 0), depth, values], axis=op.options["axis"]))


def where(net: Network, op: Operator) -> None:
    """The places of what is true, a row for each."""
    net.give(op, net.graph.transpose(net.node("NonZero", [net.last(op)]), [1, 0], net.hint))


def scatter_nd(net: Network, op: Operator) -> None:
    """Zeros in a shape, with slices added in their places."""
    shape = net.cast(net.last(op, 2), np.int64)
    zeros = net.node("Expand", [net.graph.scalar("zero", 0, net.graph.dtype(net.last(op, 1))), shape])
    places = net.cast(net.last(op, 0), np.int64)
    net.give(op, net.node("ScatterND", [zeros, places, net.last(op, 1)], reduction="add"))


# -- borders and sizes -------------------------------------------------------------------------------------------------


def pad(net: Network, op: Operator) -> None:
    """Zeros, or one number, before and after each axis."""
    pairs, handle = _pads(net, op), net.handle(op)
    more = []
    if net.has(op, 2):
        more = [net.node("Reshape", [net.last(op, 2), net.graph.ints("shape", [])])]
    net.give(op, _padded(net, handle, pairs, more, "constant"))


def _padded(net: Network, handle: str, pairs: list[list[int]], more: list[str], mode: str) -> str:
    first = net.layout.is_first(handle)
    order = to_first(len(pairs)) if first else list(range(len(pairs)))
    amounts = [pairs[axis][side] for side in (0, 1) for axis in order]
    tensor = net.layout.first(handle) if first else handle
    if not any(amounts):
        return handle
    made = net.node("Pad", [tensor, net.graph.ints("pads", amounts), *more], mode=mode)
    return net.layout.promise(made) if first else made


def _pads(net: Network, op: Operator) -> list[list[int]]:
    values, rank = net.ints(op, 1), net.rank(op)
    if len(values) != 2 * rank or min(values, default=0) < 0 or max(values, default=0) > 1 << 24:
        raise ImportFailed(f"it pads {rank} axes by {values[:20]}. The file is damaged.")
    return [values[2 * axis : 2 * axis + 2] for axis in range(rank)]


def mirror_pad(net: Network, op: Operator) -> None:
    """The picture's mirror image around it: without its border (reflect) or with it (symmetric)."""
    pairs, handle = _pads(net, op), net.handle(op)
    if op.options["mode"] == 0:
        net.give(op, _padded(net, handle, pairs, [], "reflect"))
        return
    tensor = net.layout.last(handle)
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            (size,) = net.layout.known_shape(tensor, [axis])
            if max(before, after) > size or size > MAX_SIZE:
                raise ImportFailed(f"it mirrors {before} and {after} of {size} places.")
            places = np.pad(np.arange(size), (before, after), "symmetric")
            tensor = net.node("Gather", [tensor, net.graph.constant("places", places)], axis=axis)
    net.give(op, tensor)


def resize(net: Network, op: Operator) -> None:
    """Pictures to a size, bilinear or by the nearest pixel."""
    handle, goal = net.handle(op), net.sizes(op, 1)
    corners, half = bool(op.options["align_corners"]), bool(op.options["half_pixel"])
    data = net.layout.first(handle)
    if len(net.graph.shape(data)) != 4 or (corners and half):
        raise unsupported("A resize of what is no picture, or with aligned corners and half pixels at once,")
    inner, nearest = net.layout.shape(handle)[1:3], op.kind == "RESIZE_NEAREST_NEIGHBOR"
    known = [size for size in (*inner, *goal) if isinstance(size, int)]
    if len(known) == 4 and len(goal) == 2 and (min(known) < 1 or max(known) > MAX_SIZE):
        raise ImportFailed(f"it resizes {list(inner)} to {list(goal)}. The file is damaged.")
    if nearest and len(known) == 4:
        made = data
        for axis, (size, wanted) in enumerate(zip(known[:2], known[2:], strict=True), 2):
            if size != wanted:
                places = net.graph.constant("places", nearest_places(size, wanted, corners, half))
                made = net.node("Gather", [made, places], axis=axis)
        net.give(op, net.layout.promise(made))
        return
    mode = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    attributes: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": mode}
    if nearest:
        rounding = "round_prefer_ceil" if corners or half else "floor"
        attributes = {"mode": "nearest", "coordinate_transformation_mode": mode, "nearest_mode": rounding}
    if len(known) == 4:
        # Only height and width are named: the batch may be open.
        shape = net.node("Concat", [_batch_and_channels(net, data), net.graph.ints("size", known[2:])], axis=0)
    else:
        shape = net.node("Concat", [_batch_and_channels(net, data), net.cast(net.last(op, 1), np.int64)], axis=0)
    made = net.node("Resize", [data, "", "", shape], **attributes)
    if len(known) == 4:
        net.graph.refine(made, (*net.graph.shape(data)[:2], *known[2:]))
    net.give(op, net.layout.promise(made))


def _batch_and_channels(net: Network, data: str) -> str:
    return net.node("Shape", [data], start=0, end=2)


def nearest_places(size: int, wanted: int, corners: bool, half: bool) -> Int64[np.ndarray, " wanted"]:
    """Which of `size` pixels each of the `wanted` ones copies; in float32, as the original computes."""
    scale = np.float32(size - 1) / np.float32(wanted - 1) if corners and wanted > 1 else np.float32(size) / wanted
    at = (np.arange(wanted, dtype=np.float32) + np.float32(0.5 if half else 0)) * np.float32(scale)
    places = np.floor(at + np.float32(0.5)) if corners else np.floor(at)
    found: Int64[np.ndarray, " wanted"] = np.minimum(places, size - 1).astype(np.int64)
    return found


def _blocks(kind: str) -> Rule:
    def rule(net: Network, op: Operator) -> None:
        block = op.options["block"]
        if not 1 <= block <= 1 << 10:
            raise ImportFailed(f"its blocks have {block} pixels a side. The file is damaged.")
        made = net.node(kind, [net.layout.first(net.handle(op))], blocksize=block)
        net.give(op, net.layout.promise(made))

    return rule


def space_to_batch(net: Network, op: Operator) -> None:
    """Blocks of pixels to items of a batch: data, block sizes, pads."""
    blocks, pads, handle = net.ints(op, 1), net.ints(op, 2), net.handle(op)
    rank, count = net.rank(op), len(blocks)
    if not 1 <= count <= rank - 1 or len(pads) != 2 * count or not all(1 <= size <= 1 << 10 for size in blocks):
        raise ImportFailed(f"its blocks are {blocks}, its pads {pads}, of {rank} axes. The file is damaged.")
    pairs = [[0, 0], *(pads[2 * axis : 2 * axis + 2] for axis in range(count)), *[[0, 0]] * (rank - 1 - count)]
    tensor = net.layout.last(_padded(net, handle, pairs, [], "constant"))
    sizes = net.layout.known_shape(tensor, range(1, rank))
    if any(size % block for size, block in zip(sizes, blocks, strict=False)):
        raise ImportFailed(f"blocks of {blocks} do not fill {list(sizes)}. The file is damaged.")
    inner = [part for size, block in zip(sizes, blocks, strict=False) for part in (size // block, block)]
    tail = list(sizes[count:])
    split_up = net.graph.reshape(tensor, [-1, *inner, *tail], net.hint)
    moved = [2 + 2 * axis for axis in range(count)]
    kept = [1 + 2 * axis for axis in range(count)]
    perm = [*moved, 0, *kept, *range(2 * count + 1, 2 * count + 1 + len(tail))]
    shape = [-1, *(size // block for size, block in zip(sizes, blocks, strict=False)), *tail]
    made = net.graph.reshape(net.graph.transpose(split_up, perm, net.hint), shape, net.hint)
    if isinstance(batch := net.graph.shape(tensor)[0], str):
        # Not in the order that `n*4` stands for: the first items come first in every block.
        net.graph.refine(made, (f"{prod(blocks)}*{batch}", *net.graph.shape(made)[1:]))
    net.give(op, made)


def batch_to_space(net: Network, op: Operator) -> None:
    """Items of a batch back to blocks of pixels: data, block sizes, what is cut off."""
    blocks, crops = net.ints(op, 1), net.ints(op, 2)
    tensor, rank, count = net.last(op), net.rank(op), len(blocks)
    if not 1 <= count <= rank - 1 or len(crops) != 2 * count or not all(1 <= size <= 1 << 10 for size in blocks):
        raise ImportFailed(f"its blocks are {blocks}, its crops {crops}, of {rank} axes. The file is damaged.")
    sizes = net.layout.known_shape(tensor, range(1, rank))
    split_up = net.graph.reshape(tensor, [*blocks, -1, *sizes], net.hint)
    perm = [count, *(part for axis in range(count) for part in (count + 1 + axis, axis))]
    perm += range(2 * count + 1, count + rank)
    joined = [-1, *(size * block for size, block in zip(sizes, blocks, strict=False)), *sizes[count:]]
    made = net.graph.reshape(net.graph.transpose(split_up, perm, net.hint), joined, net.hint)
    if isinstance(batch := net.graph.shape(tensor)[0], str) and batch.startswith(f"{prod(blocks)}*"):
        net.graph.refine(made, (batch.removeprefix(f"{prod(blocks)}*"), *net.graph.shape(made)[1:]))
    starts = [crops[2 * axis] for axis in range(count)]
    ends = [joined[1 + axis] - crops[2 * axis + 1] for axis in range(count)]
    if any(crops):
        made = cut(net, made, starts, ends, list(range(1, count + 1)), [1] * count)
    net.give(op, made)


def shape_of(net: Network, op: Operator) -> None:
    """The sizes of the axes, in the format's order."""
    handle = net.handle(op)
    if net.layout.is_first(handle):
        first = net.layout.first(handle)
        order = net.graph.ints("order", to_last(net.graph.rank(first)))
        made = net.node("Gather", [net.node("Shape", [first]), order], axis=0)
    else:
        made = net.node("Shape", [handle])
    kind = dtype_of(KINDS.get(op.options["output_type"], "int32"))
    net.give(op, net.cast(made, np.int64 if kind == np.int64 else np.int32))


def rank_of(net: Network, op: Operator) -> None:
    """The number of axes."""
    net.give(op, net.graph.constant("rank", np.array(net.rank(op), np.int32)))


RULES: dict[str, Rule] = {
    "BATCH_TO_SPACE_ND": batch_to_space,
    "BROADCAST_TO": broadcast_to,
    "CONCATENATION": concatenation,
    "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
    "EMBEDDING_LOOKUP": embedding_lookup,
    "EXPAND_DIMS": expand_dims,
    "FILL": fill,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
    "MIRROR_PAD": mirror_pad,
    "ONE_HOT": one_hot,
    "PACK": pack,
    "PAD": pad,
    "PADV2": pad,
    "RANGE": range_,
    "RANK": rank_of,
    "RESHAPE": reshape,
    "RESIZE_BILINEAR": resize,
    "RESIZE_NEAREST_NEIGHBOR": resize,
    "REVERSE_SEQUENCE": reverse_sequence,
    "REVERSE_V2": reverse,
    "SCATTER_ND": scatter_nd,
    "SHAPE": shape_of,
    "SLICE": slice_,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
    "SPLIT": split,
    "SPLIT_V": split,
    "SQUEEZE": squeeze,
    "STRIDED_SLICE": strided_slice,
    "TILE": tile,
    "TRANSPOSE": transpose,
    "UNPACK": unpack,
    "WHERE": where,
    "ZEROS_LIKE": zeros_like,
}
