"""Loops and conditions of TensorFlow 1: unrolled where their length is known, taken where they are decided.

A loop is a frame: `Enter` brings a value in, `Merge` holds a variable (from `Enter`, or from `NextIteration` of the
step before), `Switch` lets it go on or, by `Exit`, out. `tf.nn.dynamic_rnn` writes such loops around a `TensorArray`;
where the number of steps is known they become as many copies of the body.
Source: Implementation of Control Flow in TensorFlow, 2017, and tensorflow/core/ops/control_flow_ops.cc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from glia.core.errors import ImportFailed
from glia.importers.tensorflow_ops.call import Call, Dead, Elements, Value
from glia.importers.tensorflow_ops.nodes import Node, Source

MAX_STEPS = 1024
MAX_ELEMENTS = 4096
ENTERS = {"Enter", "RefEnter"}
MERGES = {"Merge", "RefMerge"}
SWITCHES = {"Switch", "RefSwitch"}
EXITS = {"Exit", "RefExit"}
NEXTS = {"NextIteration", "RefNextIteration"}


@dataclass
class Frame:
    """One loop."""

    name: str
    enters: list[Node] = field(default_factory=list)
    variables: dict[str, tuple[str, Source]] = field(default_factory=dict)
    """Merge to the Enter it begins with, and to what NextIteration reads."""
    exits: dict[str, str] = field(default_factory=dict)
    """Exit to the Merge whose last value it gives."""
    condition: Source | None = None
    """What LoopCond reads."""


@dataclass(frozen=True)
class Frames:
    """The loops of a network."""

    of_exit: Mapping[str, Frame]
    of_switch: frozenset[str]
    """The Switches that end a loop, by its condition."""


def frames_of(nodes: Mapping[str, Node]) -> Frames:
    """The loops, from their parts. A part that fits none is left alone and refused where it is met."""
    found: dict[str, Frame] = {}
    frame_of: dict[str, Frame] = {}
    for node in nodes.values():
        if node.op in ENTERS and node.inputs:
            name = str(node.attributes.get("frame_name"))
            frame = found.setdefault(name, Frame(name))
            frame.enters.append(node)
            frame_of[node.name] = frame
    for node in nodes.values():
        if node.op in MERGES:
            sources = [nodes[name] for name, _ in node.inputs if name in nodes]
            enters = [one for one in sources if one.op in ENTERS and one.name in frame_of]
            nexts = [one for one in sources if one.op in NEXTS and one.inputs]
            if len(enters) == len(nexts) == 1 and len(sources) == 2:
                frame_of[node.name] = frame_of[enters[0].name]
                frame_of[node.name].variables[node.name] = (enters[0].name, nexts[0].inputs[0])
    of_exit: dict[str, Frame] = {}
    switches: dict[str, str] = {}
    for node in nodes.values():
        if node.op in SWITCHES and len(node.inputs) == 2:
            merge, condition = (nodes.get(name) for name, _ in node.inputs)
            ends = condition is not None and condition.op == "LoopCond" and condition.inputs
            if merge is not None and condition is not None and ends and merge.op in MERGES and merge.name in frame_of:
                switches[node.name] = merge.name
                frame_of[merge.name].condition = condition.inputs[0]
    for node in nodes.values():
        if node.op in EXITS and node.inputs and node.inputs[0][0] in switches:
            merge_name = switches[node.inputs[0][0]]
            of_exit[node.name] = frame_of[merge_name]
            frame_of[merge_name].exits[node.name] = merge_name
    return Frames(of_exit, frozenset(switches))


# -- conditions --------------------------------------------------------------------------------------------------------


def _switch(call: Call) -> Sequence[Value]:
    """The value goes to the branch that is taken: output 0 where false, 1 where true."""
    value = call.inputs[0]
    taken = bool(call.array(1, "the condition").ravel()[0])
    return (Dead(), value) if taken else (value, Dead())


def _merge(call: Call) -> Sequence[Value]:
    alive = [(index, value) for index, value in enumerate(call.inputs) if not isinstance(value, Dead)]
    if len(alive) != 1:
        raise ImportFailed("a condition that depends on the input, or a loop of another form, is not supported")
    index, value = alive[0]
    return (value, call.graph.scalar(f"{call.hint}_index", index, "int32"))


# -- arrays of tensors -------------------------------------------------------------------------------------------------


def _array(call: Call) -> Sequence[Value]:
    size = call.integer(0, "the length of the array")
    if not 0 <= size <= MAX_ELEMENTS:
        raise ImportFailed(f"an array of {size} tensors; at most {MAX_ELEMENTS} are supported")
    empty = Elements((None,) * size)
    return (empty, empty)


def _elements(call: Call) -> Elements:
    """The state of the array: the last input, called flow."""
    flow = call.inputs[-1] if call.inputs else None
    if not isinstance(flow, Elements):
        raise ImportFailed("it reads an array of tensors that is none; the file is damaged")
    return flow


def _index(call: Call, elements: Elements) -> int:
    index = call.integer(1, "the index into the array")
    if not 0 <= index < len(elements.items):
        raise ImportFailed(f"the index {index} into an array of {len(elements.items)} tensors cannot be")
    return index


def _write(call: Call) -> Value:
    elements, items = _elements(call), list(_elements(call).items)
    items[_index(call, elements)] = call.handle(2)
    return Elements(tuple(items))


def _read(call: Call) -> Value:
    elements = _elements(call)
    item = elements.items[_index(call, elements)]
    if item is None:
        raise ImportFailed("it reads a tensor of an array that was not written yet; the file is damaged")
    return item


def _scatter(call: Call) -> Value:
    """The parts of a tensor along its first axis, each at its index."""
    indices, items = call.ints(1, "the indices into the array"), list(_elements(call).items)
    if any(not 0 <= index < len(items) for index in indices) or call.shape(2)[:1] != (len(indices),):
        raise ImportFailed(f"{len(indices)} parts of {list(call.shape(2))} do not fit an array of {len(items)}")
    parts = split(call, call.tensor(2), len(indices), 0)
    for index, part in zip(indices, parts, strict=True):
        items[index] = part
    return Elements(tuple(items))


def _gather(call: Call) -> Value:
    indices, items = call.ints(1, "the indices into the array"), _elements(call).items
    if not indices or any(not 0 <= index < len(items) or items[index] is None for index in indices):
        raise ImportFailed(f"{len(indices)} tensors of an array of {len(items)} are read that were not written")
    return stack(call, [handle for index in indices if (handle := items[index]) is not None])


def _size(call: Call) -> Value:
    return call.graph.scalar(call.hint, len(_elements(call).items), "int32")


def _list(call: Call) -> Value:
    """TensorListReserve: TensorFlow 2's array of so many tensors."""
    size = call.integer(1, "the length of the list")
    if not 0 <= size <= MAX_ELEMENTS:
        raise ImportFailed(f"a list of {size} tensors; at most {MAX_ELEMENTS} are supported")
    return Elements((None,) * size)


def _list_of(call: Call, index: int = 0) -> Elements:
    held = call.inputs[index] if call.inputs else None
    if not isinstance(held, Elements):
        raise ImportFailed("it reads a list of tensors that is none; the file is damaged")
    return held


def _list_from(call: Call) -> Value:
    """TensorListFromTensor: its parts along the first axis."""
    (count,) = call.layout.known_shape(call.handle(0), [0])
    return Elements(tuple(split(call, call.tensor(0), count, 0)))


def _list_item(call: Call) -> Value:
    held = _list_of(call)
    item = held.items[_index(call, held)]
    if item is None:
        raise ImportFailed("it reads a tensor of a list that was not written yet; the file is damaged")
    return item


def _list_set(call: Call) -> Value:
    held = _list_of(call)
    items = list(held.items)
    items[_index(call, held)] = call.handle(2)
    return Elements(tuple(items))


def _list_stack(call: Call) -> Value:
    items = [item for item in _list_of(call).items if item is not None]
    if not items or len(items) != len(_list_of(call).items):
        raise ImportFailed("it stacks a list of tensors that were not all written; the file is damaged")
    return stack(call, items)


def _list_length(call: Call) -> Value:
    return call.graph.scalar(call.hint, len(_list_of(call).items), "int32")


def stack(call: Call, handles: Sequence[str]) -> str:
    """Tensors along a new first axis."""
    axis = call.ints_constant([0])
    parts = [call.graph.node("Unsqueeze", [call.layout.last(handle), axis], call.hint) for handle in handles]
    return call.write("Concat", parts, axis=0)


def split(call: Call, tensor: str, count: int, axis: int) -> list[str]:
    """A tensor's parts of size 1 along an axis, without that axis."""
    if not 0 < count <= MAX_ELEMENTS:
        raise ImportFailed(f"{count} parts of a tensor; 1 to {MAX_ELEMENTS} are supported")
    axes = call.ints_constant([axis])
    sizes = call.ints_constant([1] * count)
    parts = call.graph.nodes("Split", [tensor, sizes], count, call.hint, axis=axis) if count > 1 else [tensor]
    return [call.graph.node("Squeeze", [part, axes], call.hint) for part in parts]


RULES = {
    "Switch": _switch,
    "RefSwitch": _switch,
    "Merge": _merge,
    "RefMerge": _merge,
    "TensorArrayV3": _array,
    "TensorArrayWriteV3": _write,
    "TensorArrayReadV3": _read,
    "TensorArrayScatterV3": _scatter,
    "TensorArrayGatherV3": _gather,
    "TensorArraySizeV3": _size,
    "TensorListReserve": _list,
    "TensorListFromTensor": _list_from,
    "TensorListGetItem": _list_item,
    "TensorListSetItem": _list_set,
    "TensorListStack": _list_stack,
    "TensorListLength": _list_length,
}
