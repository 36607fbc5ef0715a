"""The walk over a network: what is wanted of it, from where to where, and node by node into ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from glia.core.errors import ImportFailed
from glia.importers.faults import Faults, Missing, unsupported
from glia.importers.graph import GraphWriter
from glia.importers.importer import ImportedGraph
from glia.importers.layout import Layout
from glia.importers.sizes import Dims
from glia.importers.tensorflow_ops import entries
from glia.importers.tensorflow_ops.call import Call, Dead, Elements, Failed, Value
from glia.importers.tensorflow_ops.dropout import without_dropout
from glia.importers.tensorflow_ops.entries import BATCH, Entry
from glia.importers.tensorflow_ops.loops import DATED, ENTERS, EXITS, MAX_STEPS, NEXTS, Frame, frames_of
from glia.importers.tensorflow_ops.nodes import STRING, Node, Source
from glia.importers.tensorflow_ops.numbers import Array, decode, dtype_of, finite
from glia.importers.tensorflow_ops.rules import RULES

OPTIONS = {"inputs", "outputs", "input_size"}
MAX_WRITTEN = 60_000
MAX_DEPTH = 8
MAX_COMPUTED = 1 << 27
"""Elements of constants that are computed, all together."""
_SILENT = {"Const", "Identity", "Placeholder", "PlaceholderWithDefault", "StopGradient", "Enter", "Exit"}
_FIRST_ONLY = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "_FusedBatchNormEx", "MaxPoolWithArgmax"}
"""Operators of whose outputs the first is the one that is meant."""


@dataclass(frozen=True)
class Signature:
    """What a file says its network takes and gives: tensors' names."""

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()


@dataclass(frozen=True)
class Network:
    """A network and what its file says of it."""

    nodes: Mapping[str, Node]
    file: str
    values: Mapping[str, Array] = field(default_factory=dict)
    """The arrays of constants that lie beside the nodes, by node."""
    signature: Signature = Signature()
    known: Mapping[str, Any] = field(default_factory=dict)


def import_network(network: Network, options: Mapping[str, Any]) -> ImportedGraph:
    """The part of a network that is wanted, as ONNX. `options`: those of `OPTIONS`. Raises ImportFailed."""
    outputs = _names(options, "outputs") or list(network.signature.outputs)
    ends = [entries.named(text, network.nodes, "an output") for text in outputs] or entries.ends(network.nodes)
    nodes, dropped = without_dropout(network.nodes)
    network = replace(network, nodes=nodes)
    notes = [f"{dropped} dropouts were taken out: nothing is dropped when a network answers."] if dropped else []
    begins = _begins(network, options, ends, notes)
    declared = [entries.sized(entry, options.get("input_size"), len(begins) == 1) for entry in begins]
    opened = _opened(declared)
    if opened is not None:
        try:
            graph = _written(network, opened, ends, notes, bool(outputs))
            if all(_leads_with_batch(output) for output in graph.model.graph.output):
                return graph
        except ImportFailed:
            pass  # it needs the size of its batch
    return _written(network, declared, ends, notes, bool(outputs))


def _names(options: Mapping[str, Any], key: str) -> list[str]:
    value = options.get(key) or []
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ImportFailed(f"Expected the option `{key}` to be names of the network's tensors, received {value!r}.")
    return list(value)


def _begins(network: Network, options: Mapping[str, Any], ends: Sequence[Source], notes: list[str]) -> list[Entry]:
    """The inputs of what is wanted: those named, or what file decoders give, or placeholders."""
    nodes = network.nodes
    chosen = [entries.named(text, nodes, "an input") for text in _names(options, "inputs")]
    if not chosen:
        chosen = entries.cuts(nodes, entries.needed(nodes, ends, set()))
        notes.extend(
            f"The graph begins with what {nodes[name].op} ({name}) gives: decode the file yourself."
            for name, _ in chosen
        )
    wanted = entries.needed(nodes, ends, {name for name, _ in chosen})
    found = [_cut(network, source, options) for source in chosen]
    for name in nodes:
        node = nodes[name]
        if name in wanted and node.op in entries.PLACEHOLDERS and all(name != entry.source[0] for entry in found):
            entry = entries.placeholder(node, nodes)
            if entry is not None and entry.shape is None:
                entry = replace(entry, shape=entries.guessed(node, nodes))
            if entry is not None:
                found.append(entry)
    order = {text: place for place, text in enumerate(network.signature.inputs)}
    return sorted(found, key=lambda entry: order.get(f"{entry.source[0]}:{entry.source[1]}", len(order)))


def _cut(network: Network, source: Source, options: Mapping[str, Any]) -> Entry:
    """A tensor as an input: its shape and type come from what leads to it, where that can be followed."""
    node = network.nodes[source[0]]
    if node.op in entries.DECODERS:
        return Entry(source, decoded_shape(network, node), decoded_type(node))
    if node.op in entries.PLACEHOLDERS:
        entry = entries.placeholder(node, network.nodes)
        if entry is not None:
            return entry
    plain = {key: value for key, value in options.items() if key == "input_size"}
    try:
        begins = _begins(network, {}, [source], [])
        walk = Walk(network, [entries.sized(entry, plain.get("input_size"), len(begins) == 1) for entry in begins], [])
        (value,) = walk.demand([source])
        walk.faults.check()
        if isinstance(value, str):
            tensor = walk.layout.last(value)
            known = tuple(None if isinstance(size, str) else size for size in walk.graph.shape(tensor))
            return Entry(source, known, walk.graph.dtype(tensor))
    except ImportFailed:
        pass  # what lies before the cut need not be understood
    sizes = entries.declared(node, source[1])
    shape = tuple(size if size >= 0 else None for size in sizes) if sizes is not None else None
    kind = next((node.attributes[key] for key in ("DstT", "dtype", "T") if key in node.attributes), 1)
    return Entry(source, shape if shape is not None else entries.guessed(node, network.nodes), dtype_of(kind))


def decoded_type(node: Node) -> Any:
    """The type of what a decoder gives."""
    return dtype_of(4 if node.op in entries.PICTURE_FILES else 1)


def decoded_shape(network: Network, node: Node) -> Dims:
    """Pictures are [height, width, channels]; the frames of a sound follow from its length, where that is known."""
    attributes = node.attributes
    if node.op in entries.PICTURE_FILES:
        return (None, None, attributes.get("channels") or 3)
    if node.op == "DecodeWav":
        samples, channels = (attributes.get(key, -1) for key in ("desired_samples", "desired_channels"))
        return (samples if samples > 0 else None, channels if channels > 0 else None)
    spectrogram = (
        node if node.op == "AudioSpectrogram" else network.nodes.get(node.inputs[0][0]) if node.inputs else None
    )
    frames, bins = None, None
    if spectrogram is not None and spectrogram.op == "AudioSpectrogram" and spectrogram.inputs:
        sound = network.nodes.get(spectrogram.inputs[0][0])
        window, stride = (int(spectrogram.attributes.get(key) or 0) for key in ("window_size", "stride"))
        samples = int(sound.attributes.get("desired_samples") or -1) if sound is not None else -1
        if samples >= window > 1 and stride > 0:
            frames, bins = 1 + (samples - window) // stride, (1 << (window - 1).bit_length()) // 2 + 1
    return (1, frames, int(attributes.get("dct_coefficient_count") or 13) if node.op == "Mfcc" else bins)


def decoders_of(network: Network, begins: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The settings of the decoders that were cut off, by their operator: windows and frequencies of a sound."""
    found: dict[str, dict[str, Any]] = {}
    names = [entry.source[0] for entry in begins]
    while names:
        node = network.nodes.get(names.pop())
        if node is not None and node.op in entries.DECODERS and node.op not in found:
            plain = {key: value for key, value in node.attributes.items() if isinstance(value, bool | int | float)}
            found[node.op] = plain
            names.extend(name for name, _ in node.inputs)
    return found


def _opened(declared: Sequence[Entry]) -> list[Entry] | None:
    """The inputs with an open batch, where all of them have the same fixed one."""
    batched = [entry for entry in declared if entry.shape is not None and len(entry.shape) >= 2]
    firsts = {entry.shape[0] for entry in batched if entry.shape is not None}
    if len(firsts) != 1 or not isinstance(next(iter(firsts)), int) or len(batched) != len(declared):
        return None
    return [replace(entry, shape=(BATCH, *entry.shape[1:])) for entry in batched if entry.shape is not None]


def _leads_with_batch(output: Any) -> bool:
    dims = output.type.tensor_type.shape.dim
    return bool(dims) and dims[0].dim_param == BATCH


def _written(
    network: Network, begins: Sequence[Entry], ends: Sequence[Source], notes: Sequence[str], named: bool
) -> ImportedGraph:
    """The graph from these inputs to these ends; `named`: somebody asked for just these."""
    walk = Walk(network, begins, [entries.shown(end) for end in ends])
    values = walk.demand(ends)
    found: list[tuple[Source, Value]] = list(zip(ends, values, strict=True))
    if not named:
        found = [pair for end in ends for pair in walk.all_outputs(end)]
    walk.faults.check()
    outputs = []
    for end, value in found:
        if not isinstance(value, str):
            raise ImportFailed(f"{network.file}: the output {entries.shown(end)!r} is no tensor. Name another one.")
        outputs.append(entries.shown(end))
        walk.graph.output(entries.shown(end), walk.layout.last(value))
    inputs = list(walk.begins.values())
    if not walk.begins:
        notes = [*notes, "The network reads no input: what it gives is constant."]
    shape = begins[0].shape if len(begins) == 1 else None
    one_picture = shape is not None and len(shape) == 4
    known = dict(network.known)
    if decoders := decoders_of(network, begins):
        known["decoders"] = decoders
    if shape is not None and one_picture:
        sizes = [shape[axis] for axis in entries.picture_axes(shape)]
        if all(isinstance(size, int) for size in sizes):
            known["size"] = sizes
    return ImportedGraph(
        walk.graph.model(),
        {"image": inputs[0]} if one_picture else {name: name for name in inputs},
        {"scores": outputs[0]} if one_picture and len(outputs) == 1 else {name: name for name in outputs},
        tuple(dict.fromkeys([*notes, *walk.notes])),
        tuple(walk.graph.layers),
        known,
    )


class Scope:
    """The values of nodes: those of the network, or those of one step of a loop, above the scope around it."""

    def __init__(self, around: Scope | None = None) -> None:
        self.around = around
        self.values: dict[str, tuple[Value, ...]] = {}
        self.depth: int = 0 if around is None else around.depth + 1

    def find(self, name: str) -> tuple[Value, ...] | None:
        """The outputs of a node that is written in this scope; None where it is not."""
        return self.values.get(name)


class Walk:
    """Writes the nodes that are demanded, each once (in a loop: once a step), after what they read."""

    def __init__(self, network: Network, begins: Sequence[Entry], reserved: Iterable[str]) -> None:
        self.network = network
        self.nodes = network.nodes
        self.graph = GraphWriter(PurePosixPath(network.file).stem)
        self.layout = Layout(self.graph)
        self.faults = Faults(network.file)
        self.notes: list[str] = []
        self.begins: dict[Source, str] = {}
        self.top = Scope()
        self._frames = frames_of(network.nodes)
        self._written = self._computed = self._loops = 0
        self._reserved = {*reserved, *(entry.name for entry in begins)}
        for entry in begins:
            assert entry.shape is not None
            shape = [size if size is not None else f"{entry.name}_{axis}" for axis, size in enumerate(entry.shape)]
            self.begins[entry.source] = self.graph.input(entry.name, shape, entry.dtype)
        for entry in begins:
            outputs = max(index for name, index in self.begins if name == entry.source[0]) + 1
            known = [self.begins.get((entry.source[0], index), Failed()) for index in range(outputs)]
            self.top.values[entry.source[0]] = tuple(known)

    def demand(self, targets: Sequence[Source], scope: Scope | None = None) -> list[Value]:
        """The values of tensors; what they are computed from is written first. Raises ImportFailed for circles."""
        scope = scope or self.top
        line = [name for name, _ in reversed(targets)]
        under_way: set[str] = set()
        while line:
            name = line[-1]
            if scope.find(name) is not None:
                line.pop()
                continue
            missing = [read for read in self._reads(name) if scope.find(read) is None]
            if not missing:
                scope.values[name] = self._write(name, scope)
                under_way.discard(name)
                continue
            if name in under_way or not under_way.isdisjoint(missing):
                raise ImportFailed(
                    f"{self.network.file}: {name[:200]!r} is computed from itself: a loop of a form that is not known."
                )
            under_way.add(name)
            line.extend(missing)
        return [self._pick(target, scope) for target in targets]

    def all_outputs(self, end: Source) -> list[tuple[Source, Value]]:
        """Every output of a node that nobody reads, or the one that is meant."""
        values = self.top.values[end[0]]
        if self.nodes[end[0]].op in _FIRST_ONLY:
            values = values[:1]
        return [((end[0], index), value) for index, value in enumerate(values) if not isinstance(value, Dead)]

    def _reads(self, name: str) -> list[str]:
        """The nodes that must be written before."""
        node = self.nodes.get(name)
        if node is None:
            raise ImportFailed(f"{self.network.file}: a node reads {name[:200]!r}, which the file does not hold.")
        if name in self._frames.of_exit:
            return [enter.inputs[0][0] for enter in self._frames.of_exit[name].enters]
        return [read for read, _ in node.inputs]

    def _pick(self, target: Source, scope: Scope) -> Value:
        values = scope.find(target[0])
        assert values is not None
        if values and isinstance(values[0], Failed):
            return values[0]
        if target[1] >= len(values):
            raise ImportFailed(f"{entries.shown(target)!r} is read, and its node gives {len(values)} tensors.")
        return values[target[1]]

    def _write(self, name: str, scope: Scope) -> tuple[Value, ...]:
        """The outputs of a node, now that its inputs are there."""
        node = self.nodes[name]
        self._written += 1
        if self._written > MAX_WRITTEN:
            raise ImportFailed(f"{self.network.file}: more than {MAX_WRITTEN} operators, its loops unrolled.")
        if name in self._frames.of_exit:
            return self._loop(name, scope)
        with self.faults.of(name, node.op):
            values = [self._pick(read, scope) for read in node.inputs]
            if any(isinstance(value, Failed) for value in values):
                raise Missing("its input failed")
            if any(isinstance(value, Dead) for value in values) and node.op not in ("Merge", "RefMerge"):
                return (Dead(),) * 8
            if name in self._frames.of_switch:
                return (values[0], values[0])
            if node.op in NEXTS | ENTERS | EXITS:
                raise ImportFailed("a loop of a form that is not known")
            if node.op in ("Const", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault"):
                return (self._source(node, values, scope),)
            if scope.depth or node.op in _SILENT:  # a loop's steps would fill the table
                return self._called(node, values)
            with self.graph.layer(name, node.op):
                return self._called(node, values)
        return (Failed(),)

    def _called(self, node: Node, values: Sequence[Value]) -> tuple[Value, ...]:
        rule = RULES.get(node.op)
        if node.op in DATED:
            raise unsupported("a loop or condition of TensorFlow 2, whose body is a function,")
        if rule is None:
            raise unsupported("the operator")
        hint = f"{node.name}/{node.op}" if node.name in self._reserved else node.name
        try:
            given = rule(Call(node, values, self.graph, self.layout, hint, self.notes))
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, MemoryError) as error:
            raise ImportFailed(
                f"its inputs or attributes do not fit ({str(error)[:200]}); the file is damaged"
            ) from None
        outputs = (given,) if isinstance(given, str | Elements | Dead | Failed) else tuple(given)
        self._count(outputs)
        return outputs

    def _count(self, outputs: Sequence[Value]) -> None:
        """Raise ImportFailed where the constants that were computed grow beyond measure."""
        for output in outputs:
            value = self.layout.value(output) if isinstance(output, str) else None
            self._computed += value.size if value is not None else 0
        if self._computed > MAX_COMPUTED:
            raise ImportFailed(f"more than {MAX_COMPUTED} numbers are computed from constants")

    def _source(self, node: Node, values: Sequence[Value], scope: Scope) -> Value:
        """A constant, or a placeholder that is a setting with a default."""
        if node.op == "Const":
            found = self.top.find(node.name)  # inside a loop it is still one
            if found is None:
                self.top.values[node.name] = found = (self._constant(node),)
            return found[0]
        if node.op == "PlaceholderWithDefault" and values:
            self.notes.append(f"The setting {node.name!r} has its default.")
            return values[0]
        if entries.is_setting(node):
            self.notes.append(f"The setting {node.name!r} is false: a network that answers does not train.")
            return self.graph.constant(f"{node.name}/false", np.array(False))
        if node.attributes.get("dtype") == STRING:
            raise ImportFailed("an input that is text is not supported; name the tensor behind it: the option `inputs`")
        raise ImportFailed("it is needed and was cut off; name it, or what is computed from it, among the `inputs`")

    def _constant(self, node: Node) -> str:
        hint = f"{node.name}/Const" if node.name in self._reserved else node.name
        if node.name in self.network.values:
            value = self.network.values[node.name]
            value = value.astype("float32") if value.dtype.kind == "f" else value
            return self.graph.constant(hint, finite(value))
        if not hasattr(node.attributes.get("value"), "tensor_shape"):
            raise ImportFailed("the numbers of a constant are missing; the file is damaged, or it is not frozen")
        return self.graph.constant(hint, decode(node.attributes["value"]))

    # -- loops ---------------------------------------------------------------------------------------------------------

    def _loop(self, name: str, scope: Scope) -> tuple[Value, ...]:
        """All steps of the loop that an Exit ends; the values of all its Exits are set."""
        frame = self._frames.of_exit[name]
        for exit_name in frame.exits:
            scope.values[exit_name] = (Failed(),)
        with self.faults.of(frame.name, "while_loop"), self.graph.layer(frame.name, "while_loop"):
            state = self._steps(frame, scope)
            for exit_name, merge in frame.exits.items():
                scope.values[exit_name] = (state[merge],)
        return scope.values[name]

    def _steps(self, frame: Frame, scope: Scope) -> dict[str, Value]:
        """The variables after the last step, by their Merge."""
        if scope.depth >= MAX_DEPTH or frame.condition is None:
            raise ImportFailed("a loop of a form that is not known")
        fixed = {enter.name: (self._pick(enter.inputs[0], scope),) for enter in frame.enters}
        if any(isinstance(value[0], Failed) for value in fixed.values()):
            raise Missing("its input failed")
        state = {merge: fixed[enter][0] for merge, (enter, _) in frame.variables.items()}
        for _ in range(MAX_STEPS):
            step = Scope(scope)
            step.values.update(fixed)
            step.values.update({merge: (value,) for merge, value in state.items()})
            (condition,) = self.demand([frame.condition], step)
            if isinstance(condition, Failed):
                raise Missing("its condition failed")
            taken = self.graph.value(condition) if isinstance(condition, str) else None
            if taken is None or taken.size != 1:
                raise ImportFailed(
                    "the number of steps of the loop depends on the input; only a loop of known length is supported: "
                    "give the option `input_size`, with all sizes"
                )
            if not taken.ravel()[0]:
                return state
            following = self.demand([last for _, last in frame.variables.values()], step)
            if any(isinstance(value, Failed) for value in following):
                raise Missing("its body failed")
            state = dict(zip(frame.variables, following, strict=True))
        raise ImportFailed(f"a loop of more than {MAX_STEPS} steps is not supported")
