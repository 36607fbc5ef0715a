"""Operators that move numbers and compute none: shapes, axes, slices, joins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper

from glia.core.errors import ImportFailed
from glia.importers.layout import to_first, to_last
from glia.importers.sizes import Dim
from glia.importers.tensorflow_ops.call import Call, Rule, Value, checked_axis
from glia.importers.tensorflow_ops.loops import MAX_ELEMENTS
from glia.importers.tensorflow_ops.numbers import dtype_of

_MOST = np.iinfo(np.int64).max


def _reshape(call: Call) -> str:
    """One open size becomes -1; a batch that stays is said to stay, so that it keeps its name."""
    tensor, shape = call.tensor(0), call.tensor(1)
    own, sizes = call.graph.shape(tensor), call.graph.sizes(shape)
    if sizes is None and call.graph.shape(shape) == (0,):
        sizes = ()
    if sizes and own and 0 not in sizes and sizes[0] in (-1, None, own[0], 1 if isinstance(own[0], str) else own[0]):
        # A batch of 1 that became an open one is still the batch where the rest fits.
        rest, wanted = _product(own[1:]), _product(sizes[1:])
        stays = own[0] is not None and sizes[0] in (own[0], 1)
        opens = [size for size in sizes[1:] if not isinstance(size, int) or size < 0]
        if rest is not None and (rest == wanted or (stays and len(opens) == 1)):
            inner = [size if isinstance(size, int) and size > 0 else -1 for size in sizes[1:]]
            return call.graph.reshape(tensor, [0, *inner], call.hint)
    return call.graph.reshape(tensor, shape, call.hint)


def _product(sizes: Sequence[Dim]) -> int | None:
    """The product of sizes; None where one is open."""
    found = 1
    for size in sizes:
        if not isinstance(size, int) or size <= 0:
            return None
        found *= size
    return found


def _squeeze(call: Call) -> str:
    rank, shape = call.rank(0), call.shape(0)
    axes = call.numbers("squeeze_dims") or call.numbers("axis")
    axes = sorted({checked_axis(axis, rank) for axis in axes} or {axis for axis in range(rank) if shape[axis] == 1})
    if not axes:
        return call.handle(0)
    if call.layout.is_first(call.handle(0)) and not {0, rank - 1} & set(axes):
        first = call.ints_constant([axis + 1 for axis in axes])
        found = call.write("Squeeze", [call.layout.first(call.handle(0)), first])
        return call.layout.promise(found) if rank - len(axes) >= 3 else found
    return call.write("Squeeze", [call.tensor(0), call.ints_constant(axes)])


def _expand(call: Call) -> str:
    rank = call.rank(0)
    axis = call.axis(1, rank + 1)
    if call.layout.is_first(call.handle(0)) and 0 < axis < rank:
        found = call.write("Unsqueeze", [call.layout.first(call.handle(0)), call.ints_constant([axis + 1])])
        return call.layout.promise(found)
    return call.write("Unsqueeze", [call.tensor(0), call.ints_constant([axis])])


def _transpose(call: Call) -> str:
    """To and from channels first costs nothing where the tensor lies so already."""
    perm, rank = call.ints(1, "the order of the axes"), call.rank(0)
    if sorted(axis % rank if rank else axis for axis in perm) != list(range(rank)):
        raise ImportFailed(f"the order {perm[:10]} of {rank} axes cannot be; the file is damaged")
    perm = [axis % rank for axis in perm]
    handle = call.handle(0)
    if call.layout.is_first(handle):
        return call.graph.transpose(call.layout.first(handle), [to_first(rank).index(axis) for axis in perm], call.hint)
    if rank >= 3 and perm == to_last(rank):
        return call.layout.promise(handle)
    return call.graph.transpose(handle, perm, call.hint)


def _shape_of(call: Call, index: int) -> str:
    """The shape of an input, as int64; channels last though it may lie otherwise."""
    handle = call.handle(index)
    if not call.layout.is_first(handle):
        return call.graph.node("Shape", [handle], call.hint)
    shape = call.graph.node("Shape", [call.layout.first(handle)], call.hint)
    return call.graph.node("Gather", [shape, call.ints_constant(to_last(call.rank(index)))], call.hint)


def _as_index(call: Call, tensor: str, name: str = "out_type") -> str:
    target = dtype_of(call.kind(name, 3))
    if call.graph.dtype(tensor) == target:
        return tensor
    return call.graph.node("Cast", [tensor], call.hint, to=helper.np_dtype_to_tensor_dtype(target))


def _shape(call: Call) -> str:
    return _as_index(call, _shape_of(call, 0))


def _shapes(call: Call) -> list[Value]:
    return [_as_index(call, _shape_of(call, index)) for index in range(len(call.inputs))]


def _rank(call: Call) -> str:
    return call.graph.scalar(call.hint, call.rank(0), np.int32)


def _size(call: Call) -> str:
    return _as_index(call, call.write("Size", [call.tensor(0)]))


def _strided_slice(call: Call) -> str:
    """x[begin:end:step, ...] of numpy, with its parts in masks.

    Source: tensorflow/core/util/strided_slice_op.cc.
    """
    steps = call.ints(3, "the steps of the slice")
    masks = {
        name: call.attribute(f"{name}_mask", 0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    begins, finishes = _bounds(call, 1, len(steps)), _bounds(call, 2, len(steps))
    starts, stops, axes, strides, news, gone = [], [], [], [], [], []
    axis = made = 0
    left = len(steps) - bin(masks["new_axis"] & ((1 << len(steps)) - 1)).count("1") - bool(masks["ellipsis"])
    for place, step in enumerate(steps):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            skipped = call.rank(0) - left
            axis, made = axis + skipped, made + skipped
            continue
        if masks["new_axis"] & bit:
            news.append(made)
            made += 1
            continue
        if axis >= call.rank(0) or not step:
            raise ImportFailed(f"a slice of {len(steps)} axes out of {call.rank(0)} cannot be; the file is damaged")
        begin, finish = begins[place], finishes[place]
        if masks["shrink_axis"] & bit:
            gone.append((axis, begin))
        else:
            whole = bool(masks["begin"] & bit), bool(masks["end"] & bit)
            if not all(whole) or step != 1:
                starts.append((0 if step > 0 else _MOST) if whole[0] else begin)
                stops.append((_MOST if step > 0 else -_MOST) if whole[1] else finish)
                axes.append(axis)
                strides.append(step)
            made += 1
        axis += 1
    tensor = call.tensor(0)
    if axes:
        ends = [_joined(call, bounds) for bounds in (starts, stops)]
        rest = [call.ints_constant(axes), call.ints_constant(strides)]
        tensor = call.graph.node("Slice", [tensor, *ends, *rest], call.hint)
    tensor = _without(call, tensor, gone)
    return call.graph.node("Unsqueeze", [tensor, call.ints_constant(news)], call.hint) if news else tensor


def _without(call: Call, tensor: str, picks: Sequence[tuple[int, int | str]]) -> str:
    """One place of each of these axes, which are gone then."""
    for axis, index in reversed(picks):
        if isinstance(index, int):
            place = call.graph.scalar(f"{call.hint}_index", index, np.int64)
        else:
            place = _lone(call, index)
        tensor = call.graph.node("Gather", [tensor, place], call.hint, axis=axis)
    return tensor


def _bounds(call: Call, index: int, count: int) -> list[int | str]:
    """The numbers of a bound: constants, or tensors of one number where they are computed."""
    value = call.value(index)
    if value is not None:
        found: list[int | str] = list(call.ints(index, "a bound of the slice"))
    else:
        whole = call.graph.node("Cast", [call.tensor(index)], call.hint, to=TensorProto.INT64)
        sizes = call.graph.sizes(whole) or (None,) * count
        found = [
            size
            if isinstance(size, int)
            else call.graph.node("Gather", [whole, call.ints_constant([place])], call.hint)
            for place, size in enumerate(sizes)
        ]
    if len(found) != count:
        raise ImportFailed(f"a slice has {len(found)} bounds for {count} steps; the file is damaged")
    return found


def _lone(call: Call, tensor: str) -> str:
    return call.graph.node("Squeeze", [tensor, call.ints_constant([0])], call.hint)


def _joined(call: Call, numbers: Sequence[int | str]) -> str:
    """Numbers and computed ones as one tensor."""
    plain = [number for number in numbers if isinstance(number, int)]
    if len(plain) == len(numbers):
        return call.ints_constant(plain)
    parts = [call.ints_constant([one]) if isinstance(one, int) else one for one in numbers]
    return call.graph.node("Concat", parts, call.hint, axis=0)


def _slice(call: Call) -> str:
    """x[begin : begin + size], to the end where size is -1."""
    rank = call.rank(0)
    begins, sizes = _bounds(call, 1, rank), _bounds(call, 2, rank)
    stops: list[int | str] = []
    for begin, size in zip(begins, sizes, strict=True):
        if isinstance(size, int) and size < 0:
            stops.append(_MOST)
        elif isinstance(size, int) and isinstance(begin, int):
            stops.append(begin + size)
        else:
            operands = [one if isinstance(one, str) else call.ints_constant([one]) for one in (begin, size)]
            stops.append(call.graph.node("Add", operands, call.hint))
    if not rank:
        return call.handle(0)
    ends = [_joined(call, bounds) for bounds in (begins, stops)]
    return call.write("Slice", [call.tensor(0), *ends, call.ints_constant(range(rank))])


def _concat(call: Call) -> str:
    """ConcatV2 has the axis last, Concat of 2015 first."""
    old = call.node.op == "Concat"
    place = 0 if old else len(call.inputs) - 1
    handles = [call.handle(index) for index in range(len(call.inputs)) if index != place]
    if not handles:
        raise ImportFailed("it joins nothing; the file is damaged")
    rank = max(len(call.layout.shape(handle)) for handle in handles)
    axis = call.axis(place, rank)
    if len(handles) == 1:
        return handles[0]
    return call.layout.join(handles, axis, call.hint)


def _split(call: Call) -> list[Value]:
    """Split(axis, x) into equal parts; SplitV(x, sizes, axis)."""
    at = 1 if call.node.op == "Split" else 0
    rank = call.rank(at)
    axis = call.axis(0 if at else 2, rank)
    size = call.shape(at)[axis]
    if at:
        count = call.attribute("num_split", 1)
        if not 0 < count <= MAX_ELEMENTS:
            raise ImportFailed(f"{count} parts of a tensor; 1 to {MAX_ELEMENTS} are supported")
        sizes = [size // count] * count if isinstance(size, int) and size % count == 0 else []
        if not sizes:
            raise ImportFailed(f"{count} equal parts of {size} cannot be told; give the option `input_size`")
    else:
        sizes = call.ints(1, "the sizes of the parts")
        if -1 in sizes and isinstance(size, int):
            sizes[sizes.index(-1)] = size - sum(sizes) - 1
        if not sizes or min(sizes) < 0 or len(sizes) > MAX_ELEMENTS:
            raise ImportFailed(f"parts of {sizes[:10]} cannot be; the file is damaged")
    handle = call.handle(at)
    if len(sizes) == 1:
        return [handle]
    first = call.layout.is_first(handle)
    tensor = call.layout.first(handle) if first else handle
    where = to_first(rank).index(axis) if first else axis
    parts = call.graph.nodes("Split", [tensor, call.ints_constant(sizes)], len(sizes), call.hint, axis=where)
    return [call.layout.promise(part) if first else part for part in parts]


def _unpack(call: Call) -> list[Value]:
    rank, count = call.rank(0), call.attribute("num", 0)
    axis = checked_axis(call.attribute("axis", 0), rank)
    if not 0 < count <= MAX_ELEMENTS or call.shape(0)[axis] not in (count, None):
        raise ImportFailed(f"{count} parts of {list(call.shape(0))} along axis {axis} cannot be")
    tensor, axes = call.tensor(0), call.ints_constant([axis])
    parts = [tensor]
    if count > 1:
        parts = call.graph.nodes("Split", [tensor, call.ints_constant([1] * count)], count, call.hint, axis=axis)
    return [call.graph.node("Squeeze", [part, axes], call.hint) for part in parts]


def _pack(call: Call) -> str:
    axis = checked_axis(call.attribute("axis", 0), call.rank(0) + 1)
    axes = call.ints_constant([axis])
    parts = [call.graph.node("Unsqueeze", [tensor, axes], call.hint) for tensor in call.tensors()]
    return call.write("Concat", parts, axis=axis) if len(parts) > 1 else parts[0]


def _tile(call: Call) -> str:
    times = call.value(1)
    if times is not None and (np.any(times < 0) or float(np.prod(times, dtype=np.float64)) > 1 << 24):
        raise ImportFailed(f"to repeat a tensor {times.ravel()[:8].tolist()} times is not supported")
    repeats = call.graph.node("Cast", [call.tensor(1)], call.hint, to=TensorProto.INT64)
    return call.write("Tile", [call.tensor(0), repeats])


def _broadcast(call: Call) -> str:
    shape = call.graph.node("Cast", [call.tensor(1)], call.hint, to=TensorProto.INT64)
    return call.write("Expand", [call.tensor(0), shape])


def _pad(call: Call) -> str:
    """Pad, PadV2 with a value, MirrorPad; the widths are (axis, begin and end)."""
    rank = call.rank(0)
    widths = call.array(1, "the padding").reshape(-1, 2).astype(np.int64)
    if len(widths) != rank or (widths < 0).any() or (widths > 1 << 20).any():
        raise ImportFailed(f"the padding {widths.tolist()[:8]} of {rank} axes cannot be; the file is damaged")
    handle = call.handle(0)
    first = call.layout.is_first(handle)
    order = to_first(rank) if first else list(range(rank))
    pads = call.ints_constant([int(widths[axis, end]) for end in (0, 1) for axis in order])
    tensor = call.layout.first(handle) if first else handle
    if call.node.op == "MirrorPad":
        found = _mirrored(call, tensor, pads, widths[order])
    elif call.node.op == "PadV2":
        found = call.write("Pad", [tensor, pads, call.graph.reshape(call.tensor(2), [], call.hint)])
    else:
        found = call.write("Pad", [tensor, pads])
    return call.layout.promise(found) if first else found


def _mirrored(call: Call, tensor: str, pads: str, widths: np.ndarray) -> str:
    """REFLECT leaves the edge out; SYMMETRIC repeats it, which ONNX lacks: by indices."""
    mode = call.attribute("mode", "REFLECT")
    if mode not in ("REFLECT", "SYMMETRIC"):
        raise ImportFailed(f"the mirror {mode[:20]!r} is not supported")
    if mode == "REFLECT":
        return call.write("Pad", [tensor, pads], mode="reflect")
    for axis, (begin, end) in enumerate(widths.tolist()):
        if begin or end:
            (size,) = call.graph.known_shape(tensor, [axis])
            if max(begin, end) > size:
                raise ImportFailed(f"a mirror of {max(begin, end)} of {size} numbers cannot be; the file is damaged")
            index = np.pad(np.arange(size, dtype=np.int64), (begin, end), mode="symmetric")
            tensor = call.graph.node("Gather", [tensor, call.ints_constant(index.tolist())], call.hint, axis=axis)
    return tensor


def _space_to_batch(call: Call) -> str:
    """Every block's pixels into batches of their own."""
    if call.node.op == "SpaceToBatch":
        blocks, widths = [call.attribute("block_size", 1)] * 2, np.array(call.ints(1, "the padding")).reshape(-1, 2)
    else:
        blocks, widths = call.ints(1, "the block"), np.array(call.ints(2, "the padding")).reshape(-1, 2)
    tensor, rank, count = call.tensor(0), call.rank(0), len(blocks)
    rest = call.layout.known_shape(call.handle(0), range(1, rank))
    if (
        not 0 < count < rank
        or len(widths) != count
        or min(blocks) < 1
        or (widths < 0).any()
        or (widths > 1 << 20).any()
    ):
        raise ImportFailed(f"blocks of {blocks[:8]} of {rank} axes cannot be; the file is damaged")
    pads = [[0, 0], *widths.tolist(), *[[0, 0]] * (rank - count - 1)]
    if widths.any():
        tensor = call.graph.node(
            "Pad", [tensor, call.ints_constant([pad[end] for end in (0, 1) for pad in pads])], call.hint
        )
    whole = [size + int(pad.sum()) for size, pad in zip(rest, widths, strict=False)]
    if any(size % block for size, block in zip(whole, blocks, strict=True)):
        raise ImportFailed(f"sizes of {whole} in blocks of {blocks} cannot be; the file is damaged")
    parts = [number for size, block in zip(whole, blocks, strict=True) for number in (size // block, block)]
    tensor = call.graph.reshape(tensor, [0, *parts, *rest[count:]], call.hint)
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, rank + count)]
    tensor = call.graph.transpose(tensor, order, call.hint)
    batch = call.shape(0)[0]
    found = call.graph.reshape(tensor, [-1, *parts[::2], *rest[count:]], call.hint)
    if isinstance(batch, str) and "*" not in batch:
        call.graph.refine(found, (f"{math.prod(blocks)}*{batch}", *call.graph.shape(found)[1:]))
    return found


def _batch_to_space(call: Call) -> str:
    """The inverse: batches become pixels of blocks, whose edges are cropped."""
    if call.node.op == "BatchToSpace":
        blocks, crops = [call.attribute("block_size", 1)] * 2, np.array(call.ints(1, "the crop")).reshape(-1, 2)
    else:
        blocks, crops = call.ints(1, "the block"), np.array(call.ints(2, "the crop")).reshape(-1, 2)
    rank, count = call.rank(0), len(blocks)
    rest = list(call.layout.known_shape(call.handle(0), range(1, rank)))
    if not 0 < count < rank or len(crops) != count or min(blocks) < 1 or (crops < 0).any():
        raise ImportFailed(f"blocks of {blocks[:8]} of {rank} axes cannot be; the file is damaged")
    tensor = call.graph.reshape(call.tensor(0), [*blocks, -1, *rest], call.hint)
    order = [count, *(axis for place in range(count) for axis in (count + 1 + place, place))]
    order += range(2 * count + 1, rank + count)
    tensor = call.graph.transpose(tensor, order, call.hint)
    whole = [size * block for size, block in zip(rest, blocks, strict=False)]
    tensor = call.graph.reshape(tensor, [-1, *whole, *rest[count:]], call.hint)
    batch = call.shape(0)[0]
    if isinstance(batch, str) and batch.startswith(f"{math.prod(blocks)}*"):  # the batch of before
        call.graph.refine(tensor, (batch.partition("*")[2], *whole, *rest[count:]))
    if not crops.any():
        return tensor
    starts = call.ints_constant([int(crop[0]) for crop in crops])
    stops = call.ints_constant([size - int(crop[1]) for size, crop in zip(whole, crops, strict=True)])
    return call.graph.node("Slice", [tensor, starts, stops, call.ints_constant(range(1, count + 1))], call.hint)


def _depth_to_space(call: Call) -> str:
    block = call.attribute("block_size", 1)
    return call.give(call.write("DepthToSpace", [call.picture(0)], blocksize=block, mode="DCR"))


def _space_to_depth(call: Call) -> str:
    return call.give(call.write("SpaceToDepth", [call.picture(0)], blocksize=call.attribute("block_size", 1)))


def _reverse(call: Call) -> str:
    rank = call.rank(0)
    axes = [checked_axis(axis, rank) for axis in call.ints(1, "the axes")]
    if not axes:
        return call.handle(0)
    count = len(axes)
    starts, stops = call.ints_constant([-1] * count), call.ints_constant([-_MOST] * count)
    return call.write(
        "Slice", [call.tensor(0), starts, stops, call.ints_constant(axes), call.ints_constant([-1] * count)]
    )


RULES: dict[str, Rule] = {
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand,
    "Transpose": _transpose,
    "Shape": _shape,
    "ShapeN": _shapes,
    "Rank": _rank,
    "Size": _size,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "Concat": _concat,
    "ConcatV2": _concat,
    "Split": _split,
    "SplitV": _split,
    "Unpack": _unpack,
    "Pack": _pack,
    "Tile": _tile,
    "BroadcastTo": _broadcast,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _pad,
    "SpaceToBatchND": _space_to_batch,
    "SpaceToBatch": _space_to_batch,
    "BatchToSpaceND": _batch_to_space,
    "BatchToSpace": _batch_to_space,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "ReverseV2": _reverse,
}
