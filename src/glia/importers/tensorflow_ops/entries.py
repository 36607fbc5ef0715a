"""Where a network begins and ends: placeholders, the decoders of files that are cut off, and what a user names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.sizes import Dim, Dims
from glia.importers.tensorflow_ops.nodes import BOOL, STRING, Node, Source, source
from glia.importers.tensorflow_ops.numbers import dtype_of, sizes_of

BATCH = "n"
MAX_SIZE = 1 << 16
PLACEHOLDERS = {"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"}
PICTURE_FILES = {"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeBmp", "DecodeGif", "DecodeAndCropJpeg"}
SOUND_FILES = {"DecodeWav", "AudioSpectrogram", "Mfcc"}
DECODERS = PICTURE_FILES | SOUND_FILES
"""Operators on files' bytes: a network begins after them."""
NO_ENDS = {
    "NoOp", "Assert", "Print", "PrintV2", "Const", "Assign", "AssignSub", "AssignAdd", "AssignVariableOp", "SaveV2",
    "Save", "RestoreV2", "MergeSummary", "ScalarSummary", "HistogramSummary", "ImageSummary", "NextIteration",
    "ShardedFilename", "MergeV2Checkpoints", "LoopCond", "TensorArrayCloseV3", "VarIsInitializedOp", "VariableV2",
    "Variable", "VarHandleOp", "ReadVariableOp", "ControlTrigger",
}  # fmt: skip
_NOT_PICTURES = {"Const", "Shape", "Rank", "Size"}


@dataclass(frozen=True)
class Entry:
    """An input of the imported graph, in place of a tensor of the network."""

    source: Source
    shape: Dims | None
    """None: unknown rank."""
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        """Its name in TensorFlow."""
        return shown(self.source)


def shown(tensor: Source) -> str:
    """A tensor's name; output 0 goes without saying."""
    return tensor[0] if tensor[1] == 0 else f"{tensor[0]}:{tensor[1]}"


def named(text: object, nodes: Mapping[str, Node], what: str) -> Source:
    """The tensor that a user or a signature names. Raises ImportFailed where there is none."""
    found = source(text) if isinstance(text, str) else None
    if found is None or found[0] not in nodes:
        near = [name for name in nodes if str(text).rpartition("/")[2].split(":")[0] in name][:10] or list(nodes)[-10:]
        raise ImportFailed(
            f"Expected {what} out of the network's nodes, received {str(text)[:200]!r}; some are {near}."
        )
    return found


def readers(nodes: Mapping[str, Node]) -> dict[str, list[Node]]:
    """The nodes that read each node."""
    found: dict[str, list[Node]] = {}
    for node in nodes.values():
        for name, _ in node.inputs:
            found.setdefault(name, []).append(node)
    return found


def needed(nodes: Mapping[str, Node], targets: Iterable[Source], stops: set[str]) -> set[str]:
    """The names of the nodes that the targets are computed from, themselves included; not beyond `stops`."""
    found: set[str] = set()
    open_names = [name for name, _ in targets]
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        found.add(name)
        if name not in nodes:
            raise ImportFailed(f"A node reads {name[:200]!r}, which the file does not hold. The file is damaged.")
        if name not in stops:
            open_names.extend(source for source, _ in nodes[name].inputs)
    return found


def ends(nodes: Mapping[str, Node]) -> list[Source]:
    """The tensors that nobody reads: what a network gives where nobody says what it gives."""
    read = {name for node in nodes.values() for name, _ in node.inputs}
    sinks = [node for node in nodes.values() if node.name not in read and node.op not in NO_ENDS | PLACEHOLDERS]
    found = [node for node in sinks if node.op not in DECODERS]
    if not found:
        raise ImportFailed("The network has no end: every tensor is read by another. Name the outputs: `outputs`.")
    begins = {node.name for node in nodes.values() if node.op in PLACEHOLDERS}
    fed = [node for node in found if not begins.isdisjoint(needed(nodes, [(node.name, 0)], set()))]
    # What leaves a loop and is read by nobody is left over from it, where something else is given.
    meant = [node for node in fed if node.op != "Exit"]
    return [(node.name, 0) for node in meant or fed or found]


def cuts(nodes: Mapping[str, Node], wanted: set[str]) -> list[Source]:
    """The last decoders of files before the network: the graph begins with what they give."""
    found = []
    for name in nodes:
        if name in wanted and nodes[name].op in DECODERS:
            later = [node for node in nodes.values() if node.name in wanted and any(n == name for n, _ in node.inputs)]
            if any(node.op not in DECODERS for node in later):
                found.append((name, 0))
    return found


def placeholder(node: Node, nodes: Mapping[str, Node]) -> Entry | None:
    """The entry that a placeholder is; None for text, and for a setting: one that has a default, or a lone truth."""
    kind = node.attributes.get("dtype")
    if kind == STRING or is_setting(node):
        return None
    sizes = sizes_of(node.attributes.get("shape")) or declared(node)
    if node.op == "PlaceholderWithDefault" and (sizes is None or len(sizes) < 2):
        return None
    if sizes == () and _is_unknown(node, nodes):  # files before 2017 wrote an unknown rank so
        sizes = None
    return Entry((node.name, 0), _open(sizes), dtype_of(kind))


def is_setting(node: Node) -> bool:
    """Whether a placeholder is a lone truth: whether the network trains, which it does not."""
    sizes = sizes_of(node.attributes.get("shape"))
    return node.op in PLACEHOLDERS and node.attributes.get("dtype") == BOOL and not sizes


def _is_unknown(node: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether it is read as what has axes."""
    return guessed(node, nodes) is not None


def declared(node: Node, index: int = 0) -> tuple[int, ...] | None:
    """The shape of an output that some exporters write down."""
    shapes = node.attributes.get("_output_shapes")
    if isinstance(shapes, list) and index < len(shapes):
        return sizes_of(shapes[index])
    return None


def _open(sizes: Sequence[int] | None) -> Dims | None:
    return None if sizes is None else tuple(size if size >= 0 else None for size in sizes)


def guessed(node: Node, nodes: Mapping[str, Node], values: Mapping[str, Any] | None = None) -> Dims | None:
    """The shape that the first convolution or product behind a placeholder needs; None where there is none."""
    by_name, seen = readers(nodes), {node.name}
    line = deque([node])
    while line and len(seen) < 50:
        for reader in by_name.get(line.popleft().name, []):
            if reader.op in ("Conv2D", "DepthwiseConv2dNative", "_FusedConv2D", "FusedDepthwiseConv2dNative"):
                return _first_operand(reader, seen, _channels(nodes, reader))
            if reader.op in ("FusedBatchNorm", "FusedBatchNormV3", "MaxPool", "AvgPool", "ResizeBilinear"):
                return _first_operand(reader, seen, None)
            if reader.op in ("MatMul", "_FusedMatMul"):
                shape = _weights(nodes, reader)
                return (None, shape[1 if reader.attributes.get("transpose_b") else 0]) if shape else None
            if (
                reader.name not in seen
                and reader.op not in _NOT_PICTURES
                and reader.op not in ("Reshape", "ExpandDims")
            ):
                seen.add(reader.name)
                line.append(reader)
    return None


def _first_operand(reader: Node, seen: set[str], channels: int | None) -> Dims | None:
    if not reader.inputs or reader.inputs[0][0] not in seen:
        return None
    return (
        (None, channels, None, None) if reader.attributes.get("data_format") == "NCHW" else (None, None, None, channels)
    )


def _channels(nodes: Mapping[str, Node], reader: Node) -> int | None:
    shape = _weights(nodes, reader)
    return shape[2] if shape is not None and len(shape) == 4 else None


def _weights(nodes: Mapping[str, Node], reader: Node) -> tuple[int, ...] | None:
    """The shape of the constant that is input 1."""
    node = nodes.get(reader.inputs[1][0]) if len(reader.inputs) > 1 else None
    while node is not None and node.op == "Identity" and node.inputs:
        node = nodes.get(node.inputs[0][0])
    tensor = node.attributes.get("value") if node is not None and node.op == "Const" else None
    held = getattr(tensor, "tensor_shape", None)
    return tuple(int(dim.size) for dim in held.dim) if held is not None and len(held.dim) >= 2 else None


def sized(entry: Entry, input_size: object, only: bool) -> Entry:
    """With its open sizes named, and those that the option `input_size` gives. Raises ImportFailed.

    `input_size`: a number or [height, width] for the input that is a picture, or a whole shape (-1: open), or names of
    inputs to shapes. `only`: there is no other input.
    """
    given = input_size.get(entry.name) if isinstance(input_size, Mapping) else input_size
    if isinstance(given, int) and not isinstance(given, bool):
        given = [given, given]
    shape = entry.shape
    if given is not None and not isinstance(input_size, Mapping) and not only:  # the size of the picture among others
        given = given if shape is None or len(shape) in (3, 4) else None
    if given is not None:
        if not isinstance(given, list | tuple) or not all(map(_is_size, given)):
            raise ImportFailed(
                f"Expected `input_size` to be a size, [height, width] or a shape (-1: open), sizes up to {MAX_SIZE}, "
                f"received {str(given)[:100]}."
            )
        sizes = [int(size) if size > 0 else None for size in given]
        shape = _resized(entry, shape, sizes, only and not isinstance(input_size, Mapping))
    if shape is None:
        raise ImportFailed(
            f"The file does not say what shape the input {entry.name!r} has. Give the option `input_size`: "
            f"{{{entry.name!r}: [n, height, width, channels]}}, with -1 where a size is open; "
            "[] for a lone number."
        )
    return replace(entry, shape=tuple(_named_axis(entry, shape, axis, size) for axis, size in enumerate(shape)))


def _is_size(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and -1 <= size <= MAX_SIZE and size != 0


def _resized(entry: Entry, shape: Dims | None, given: list[int | None], lone: bool) -> Dims | None:
    """`lone`: the sizes were given without a name, for the only input."""
    if shape is None:
        return (None, *given, 3) if lone and len(given) == 2 else tuple(given)
    if len(given) == 2 and len(shape) in (3, 4):
        where = picture_axes(shape)
        return tuple(given[where.index(axis)] if axis in where else size for axis, size in enumerate(shape))
    if len(given) != len(shape):
        raise ImportFailed(f"`input_size` has {len(given)} sizes, the input {entry.name!r} has {len(shape)} axes.")
    return tuple(given)


def picture_axes(shape: Dims) -> tuple[int, int]:
    """The axes of height and width of a picture of 3 or 4 axes."""
    begin = len(shape) - 3
    first = shape[begin] in (1, 3, 4) and shape[-1] not in (1, 3, 4)
    return (begin + 1, begin + 2) if first else (begin, begin + 1)


def _named_axis(entry: Entry, shape: Dims, axis: int, size: Dim) -> int | str:
    if isinstance(size, int):
        return size
    if len(shape) == 4 and axis in picture_axes(shape):
        return ("height", "width")[picture_axes(shape).index(axis)]
    if axis == 0 and len(shape) != 3:
        return BATCH
    if axis == 0:
        return "height" if shape[-1] in (1, 3, 4) and entry.dtype.kind == "u" else BATCH
    if len(shape) == 3 and axis == 1 and shape[-1] in (1, 3, 4) and entry.dtype.kind == "u":
        return "width"
    return f"{entry.name}_{axis}"
